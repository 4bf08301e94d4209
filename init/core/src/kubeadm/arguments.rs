//! Arguments of the components (`extraArgs`): the seed's, and what nodeimg adds.

use crate::node_config::ArgName;
use nodeimg_contract::birth::{Birth, Participant};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What the controller manager may ask of the API server, where the seed says nothing else. It has an account and a token
/// for each of some forty controllers, and its own default (20 requests a second) makes that five seconds at every
/// birth and every change of leader.
const CONTROLLER_MANAGER: [(&str, &str); 2] = [("kube-api-burst", "200"), ("kube-api-qps", "100")];

#[derive(Serialize)]
pub(super) struct Arg {
    pub(super) name: String,
    pub(super) value: String,
}

/// The seed's.
pub(super) fn args(said: &BTreeMap<ArgName, String>) -> Vec<Arg> {
    said.iter().map(|(name, value)| Arg { name: name.to_string(), value: value.clone() }).collect()
}

/// The controller manager's: the seed's stand over ours.
pub(super) fn controller_manager(said: &BTreeMap<ArgName, String>) -> Vec<Arg> {
    let mut all = args(said);
    for (name, value) in CONTROLLER_MANAGER {
        if all.iter().all(|a| a.name != name) {
            all.push(Arg { name: name.to_owned(), value: value.to_owned() });
        }
    }
    all
}

/// A member that was added to a running etcd: the list as that etcd has it.
pub(super) fn joining_args(members: &[(String, String)]) -> [Arg; 2] {
    let list: Vec<_> = members.iter().map(|(name, url)| format!("{name}={url}")).collect();
    [
        Arg { name: "initial-cluster".into(), value: list.join(",") },
        Arg { name: "initial-cluster-state".into(), value: "existing".into() },
    ]
}

/// What makes a member of a birth: its list, and its hash as the token that keeps two births apart.
pub(super) fn birth_args(birth: &Birth) -> [Arg; 3] {
    let member = |p: &Participant| format!("{}=https://{}", p.name, SocketAddr::new(p.address, 2380));
    let list: Vec<_> = birth.participants().iter().map(member).collect();
    [
        Arg { name: "initial-cluster".into(), value: list.join(",") },
        Arg { name: "initial-cluster-state".into(), value: "new".into() },
        Arg { name: "initial-cluster-token".into(), value: birth.id().0 },
    ]
}
