//! This node leaves its cluster: drained, removed from etcd's list and from the cluster's record, its Node deleted, its
//! state cleared at the next boot. What cannot be done because nobody answers is said and passed over: the node leaves.

use super::super::api::Api;
use super::super::book::Book;
use super::super::etcd::Etcd;
use super::super::phases::ADMIN;
use super::{Request, config, refused, remove};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::image::Role;
use nodeimg_init_core::kubeadm;
use nodeimg_init_core::node_config::NodeConfig;
use std::process::{Command, Stdio};

/// Does the cluster's part and asks PID 1 for the rest. Gives what was done, a line each.
pub fn reset() -> Result<Vec<String>, Fault> {
    let config = config()?;
    let mut said = Vec::new();
    let role = config.role.value;
    let others = if role == Role::ControlPlane { remove::others(&config) } else { Vec::new() };
    if role == Role::ControlPlane {
        said.push(drain(&config));
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
        Role::Etcd | Role::Lb => {}
    }
    if matches!(role, Role::ControlPlane | Role::Etcd) && config.external_etcd.is_none() {
        said.push(leave_etcd(&config).unwrap_or_else(|f| format!("etcd's member stays: {}", f.cause)));
    }
    Ok(said)
}

fn leave(config: &NodeConfig, api: &Api) -> Vec<String> {
    let name = config.name.value.as_str();
    let told = |what: &str, done: Result<bool, Fault>| match done {
        Ok(true) => format!("{what}: done"),
        Ok(false) => format!("{what}: nothing to do"),
        Err(fault) => format!("{what}: {}", fault.cause),
    };
    vec![
        told(
            "ConfigMap kube-public/nodeimg without this node",
            remove::forget(&Book::Api(api.clone()), name),
        ),
        told("Node deleted", remove::delete_node(api, name)),
    ]
}

/// Another member takes this one out; the last member stays, for there is nobody to ask.
fn leave_etcd(config: &NodeConfig) -> Result<String, Fault> {
    let own = config.address.ok_or_else(|| refused("this node has no address".into()))?;
    let etcd = Etcd::connect().map_err(refused)?;
    let list = etcd.members(own).map_err(refused)?;
    let Some(member) = list.members.iter().find(|m| m.address == own) else {
        return Ok("etcd does not list this node".into());
    };
    let mut why = "this is etcd's last member".to_owned();
    for other in list.members.iter().filter(|m| m.address != own && !m.learner) {
        match etcd.remove(other.address, member.id) {
            Ok(()) => return Ok("etcd's member is removed".into()),
            Err(e) => why = e,
        }
    }
    Err(refused(why))
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
