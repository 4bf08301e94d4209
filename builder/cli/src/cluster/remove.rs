//! `nodeimg cluster remove-node`: what the operator's machine can do to take a node out of a cluster.
//!
//! Cordon, drain and delete the Node through the API, then take it out of the folder's list. etcd's members are not
//! touched from here: a node that runs (`nodeinit reset`), or a healthy control plane (`nodeinit remove-member`), does it.

use super::ClusterError;
use super::api::Api;
use super::args::ClusterRemoveArgs;
use super::kept::Kept;
use nodeimg_contract::image::Role;
use serde_json::Value;
use std::fmt;

/// A node that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// What it was.
    pub role: Role,
    /// What the cluster did; none: it was not asked.
    pub online: Option<Online>,
    /// Control planes that are left.
    pub control_planes: usize,
}

/// What the cluster did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// Pods that could not be evicted in time.
    pub left: Vec<String>,
    /// Whether the node was Ready; if not, it was not drained.
    pub ready: bool,
    /// Whether there was a Node object.
    pub deleted: bool,
}

/// Takes a node out.
pub fn remove(args: &ClusterRemoveArgs) -> Result<Removed, ClusterError> {
    let mut kept = Kept::open(&args.folder)?;
    let node = kept.node(&args.name, "give the name of a node of the cluster")?.clone();
    let others = kept.spec.of(node.role).count() - 1;
    if others == 0 && matches!(node.role, Role::ControlPlane | Role::Etcd) {
        return Err(ClusterError::Value {
            what: "node",
            value: node.name,
            wanted: "one of several: it is the last that holds the cluster's data",
            help: "to destroy the cluster: docs/operations.md, \"Destroy a cluster\"",
        });
    }
    let online = if args.offline || node.role == Role::Etcd || node.role == Role::Lb {
        None
    } else {
        let api = Api::connect(&args.folder, &kept.spec)?;
        Some(online(&api, &node.name, args.drain_timeout)?)
    };
    kept.spec.nodes.retain(|n| n.name != node.name);
    kept.save()?;
    kept.retire_seed(&node.name)?;
    let control_planes = kept.spec.of(Role::ControlPlane).count();
    Ok(Removed { name: node.name, role: node.role, online, control_planes })
}

fn online(api: &Api, name: &str, limit: std::time::Duration) -> Result<Online, ClusterError> {
    let Some(object) = api.node(name)? else {
        return Ok(Online { left: Vec::new(), ready: false, deleted: false });
    };
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    api.cordon(name)?;
    let left = if ready { api.drain(name, limit)? } else { Vec::new() };
    let deleted = api.delete_node(name)?;
    Ok(Online { left, ready, deleted })
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        writeln!(
            f,
            "Removed \"{name}\" ({}) from the cluster's folder; its seed lies in replaced/.",
            self.role
        )?;
        match &self.online {
            None => {
                writeln!(f, "The cluster was not asked: a Node object, if there is one, is still there.")?
            }
            Some(Online { deleted: false, .. }) => {
                writeln!(f, "The cluster has no Node object of that name.")?
            }
            Some(Online { ready: false, .. }) => {
                writeln!(
                    f,
                    "Its Node object is deleted. It was not Ready: no pod could be moved in good order."
                )?;
            }
            Some(Online { left, .. }) if left.is_empty() => {
                writeln!(f, "Its pods were evicted, its Node object is deleted.")?;
            }
            Some(Online { left, .. }) => {
                writeln!(
                    f,
                    "Its Node object is deleted; these pods did not leave in time: {}.",
                    left.join(", ")
                )?;
            }
        }
        match self.role {
            Role::ControlPlane | Role::Etcd => {
                writeln!(f, "\nIts etcd member is still one. Next, whichever fits:")?;
                writeln!(f, "  on {name}, if it runs: nodeinit reset --yes --poweroff")?;
                writeln!(f, "  on a healthy node with etcd, if it does not: nodeinit remove-member {name}")?;
                write!(f, "Then take its seed away from the machine: with it, it would join again.")?;
                if self.role == Role::ControlPlane && self.control_planes.is_multiple_of(2) {
                    write!(
                        f,
                        "\n{} control planes are left, an even number: add one, or remove another.",
                        self.control_planes
                    )?;
                }
                Ok(())
            }
            Role::Worker | Role::Lb => {
                write!(
                    f,
                    "\nNext, on {name}, if it runs: nodeinit reset --yes --poweroff\nThen take its seed away from the machine: \
                     with it, it would join again."
                )
            }
        }
    }
}
