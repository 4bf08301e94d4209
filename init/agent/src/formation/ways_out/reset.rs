//! This node leaves its cluster: drained, removed from etcd's list and from the cluster's record, its Node deleted, its
//! state cleared at the next boot.
//!
//! etcd goes first: what it refuses stops everything, unless the operator gives the cluster up. A power cut after that leaves
//! a member that etcd has removed; such a node becomes blank by itself. What else cannot be done because nobody answers is
//! said and passed over.

use super::super::api::Api;
use super::super::book::Book;
use super::super::etcd::Etcd;
use super::super::phases::ADMIN;
use super::super::{files, records};
use super::{MAX_BYTES, Request, config, refused, remove};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::image::Role;
use nodeimg_contract::paths;
use nodeimg_init_core::etcd_gateway::Member;
use nodeimg_init_core::formation::{EtcdData, Record};
use nodeimg_init_core::kubeadm;
use nodeimg_init_core::node_config::NodeConfig;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Does the cluster's part and asks PID 1 for the rest. `force`: also where etcd does not let this node go. Gives what was
/// done, a line each.
pub fn reset(force: bool) -> Result<Vec<String>, Fault> {
    let config = config()?;
    let mut said = Vec::new();
    let role = config.role.value;
    let others = remove::others(&config);
    let given_up = |why: &str| {
        format!(
            "{why}; if this cluster is given up, say --force: whatever is left of it may end with this disk"
        )
    };
    let has_etcd = matches!(role, Role::ControlPlane | Role::Etcd) && config.external_etcd.is_none();
    // Asked before anything is done: a node that cannot be spared keeps its pods.
    let place = match has_etcd.then(|| Place::of(&config, &others)) {
        Some(Err(why)) if !force => return Err(refused(given_up(&why))),
        place => place,
    };
    if role == Role::ControlPlane {
        said.push(drain(&config));
    }
    match place.map(|place| place.and_then(Place::leave)) {
        None => {}
        Some(Ok(left)) => said.push(left),
        Some(Err(why)) if force => said.push(format!("etcd's member stays: {why}")),
        Some(Err(why)) => {
            let help = "its pods may have moved elsewhere, and it takes no new ones (kubectl uncordon); nothing else was changed";
            return Err(Fault { help: help.into(), ..refused(given_up(&why)) });
        }
    }
    // From here on the node is cleared, whatever happens.
    Request::Reset.write()?;
    said.push("the state of this node is cleared at its next boot".into());
    match role {
        Role::ControlPlane => {
            let through = others.iter().find_map(|a| {
                Api::at(&config, *a).ok().filter(|api| api.get("/readyz").is_ok_and(|r| r.status == 200))
            });
            match through {
                Some(api) => said.extend(leave(&config, &api)),
                None => said.push("no other control plane answers: this was the last one, or run \"nodeinit remove-member\" on another one later".into()),
            }
        }
        Role::Worker => {
            said.push(format!("on a control plane: kubectl delete node {}", config.name.value));
        }
        Role::Etcd => {
            let book = others.iter().find_map(|a| Book::in_etcd(*a).ok().filter(|b| b.read().is_ok()));
            said.extend(
                book.map(|b| forgotten(&config, &b, "etcd's record of its members without this node")),
            );
        }
        Role::Lb => {}
    }
    Ok(said)
}

fn leave(config: &NodeConfig, api: &Api) -> Vec<String> {
    let deleted = told("Node deleted", remove::delete_node(api, config.name.value.as_str()));
    vec![
        forgotten(config, &Book::Api(api.clone()), "ConfigMap kube-public/nodeimg without this node"),
        deleted,
    ]
}

fn forgotten(config: &NodeConfig, book: &Book, what: &str) -> String {
    told(what, remove::forget(book, config.name.value.as_str()))
}

fn told(what: &str, done: Result<bool, Fault>) -> String {
    match done {
        Ok(true) => format!("{what}: done"),
        Ok(false) => format!("{what}: nothing to do"),
        Err(fault) => format!("{what}: {}", fault.cause),
    }
}

/// This node's place in etcd.
enum Place {
    /// There is nobody to ask, and nothing to leave; why.
    None(&'static str),
    /// A member, and the voters who can take it out.
    Member { etcd: Etcd, id: u64, through: Vec<IpAddr> },
}

impl Place {
    /// Looks, and changes nothing. Why etcd cannot spare this node is the error.
    fn of(config: &NodeConfig, others: &[IpAddr]) -> Result<Self, String> {
        let own = config.address.ok_or("this node has no address")?;
        let bytes = files::read(paths::RECORD, MAX_BYTES).map_err(|f| f.cause)?;
        let record = bytes.and_then(|b| Record::from_bytes(&b).ok());
        let is_blank = record.is_none_or(|r| r.cluster().is_none());
        if is_blank && records::etcd_data(Path::new(paths::ETCD)) == EtcdData::Absent {
            return Ok(Place::None("this node has started and joined nothing"));
        }
        let etcd = Etcd::connect()?;
        // A learner, or an etcd that never ran, does not say who the members are.
        let mut why = "nobody says who etcd's members are".to_owned();
        let list = std::iter::once(own).chain(others.iter().copied()).find_map(|a| match etcd.members(a) {
            Ok(list) => Some(list),
            Err(e) => {
                why = format!("etcd at {a} says: {e}");
                None
            }
        });
        let Some(list) = list else { return Err(why) };
        let Some(member) = list.members.iter().find(|m| m.address == own) else {
            return Ok(Place::None("etcd does not list this node"));
        };
        let voters: Vec<&Member> = list.members.iter().filter(|m| m.address != own && !m.learner).collect();
        if voters.is_empty() {
            return Ok(Place::None("this is etcd's last member: its data goes with it"));
        }
        if !member.learner
            && let Some(sick) = voters.iter().find(|m| !remove::is_healthy(&etcd, m.address))
        {
            return Err(format!(
                "another member, {} at {}, is not healthy: mend or remove it first",
                sick.name, sick.address
            ));
        }
        let through = voters.iter().map(|m| m.address).collect();
        Ok(Place::Member { etcd, id: member.id, through })
    }

    /// Another member takes this one out.
    fn leave(self) -> Result<String, String> {
        let (etcd, id, through) = match self {
            Place::None(why) => return Ok(why.to_owned()),
            Place::Member { etcd, id, through } => (etcd, id, through),
        };
        remove::take_out(&through, |voter| etcd.remove(voter, id))?;
        Ok(format!("etcd's member {id:x} is removed"))
    }
}

/// Pods go elsewhere, as far as they can.
fn drain(config: &NodeConfig) -> String {
    let mut command = Command::new("/usr/bin/kubectl");
    command
        .arg(format!("--kubeconfig={ADMIN}"))
        .arg(format!("--server={}", kubeadm::local_api(config)))
        .args(["drain", config.name.value.as_str()])
        .args(["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => "drained".into(),
        _ => "not all pods could be moved elsewhere".into(),
    }
}
