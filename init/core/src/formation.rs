//! How a node with a seed becomes part of one cluster: the one-node case of the design's section 5.
//!
//! [`step`] takes a state, what happened ([`Event`]) and [`Now`]; it gives the next state and what is to be done
//! ([`Action`]). It does nothing itself. Every action may be done twice, and each is asked for again until its event
//! comes: after a power cut the machine starts from what the disks say ([`Event::Disks`]) and goes on.
//!
//! What keeps which property:
//!
//! - *At most one birth a disk*: a birth goes into a [`Record`] in one place (`Progress::birth`), and only when the
//!   record is blank; a started birth is never replaced (`Record::start` takes the promised one).
//! - *The kubelet never runs before the gate*: [`Action::OpenGate`] holds a [`Gate`], which only `Progress::next` makes,
//!   behind a record that is started, an incarnation that is the pinned one, and manifests that are written and synced.
//! - *A lost or swapped etcd disk never starts afresh*: the incarnation is pinned on the state partition before a birth
//!   is promised; a record that is missing, damaged or of another incarnation ends in [`Refusal`].
//! - *Nothing is born without leave*: blank becomes promised, and promised becomes started, only under a valid permit.
//! - *Once per cluster is once*: a step that the cluster's own record ([`ClusterRecord`]) holds is never run again.

mod cluster_record;
mod machine;
mod record;
mod refusal;
mod standing;

pub use cluster_record::{BadClusterRecord, ClusterRecord, ClusterStep};
pub use machine::{Action, Event, Gate, Now, State, step};
pub use record::{BadRecord, NodeRecord, Record, RecordFile};
pub use refusal::Refusal;
pub use standing::{Answer, Standing};

use crate::node_config::NodeConfig;
use nodeimg_contract::birth::{Method, Permit};
use std::net::IpAddr;

/// What formation must know of the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded {
    /// This node's name.
    pub name: String,
    /// Its address in the list: etcd's.
    pub address: IpAddr,
    /// Leave for one birth.
    pub permit: Option<Permit>,
    /// How participants are chosen.
    pub method: Method,
    /// What is done once per cluster, in order.
    pub steps: Vec<ClusterStep>,
}

impl Seeded {
    /// From a decided NodeConfig and the image's add-ons. [`crate::node_config::decide`] refuses a list of more than
    /// one name; so the birth has one participant.
    pub fn new(config: &NodeConfig, addons: &[String]) -> Self {
        let mut steps = ClusterStep::KUBEADM.to_vec();
        steps.push(ClusterStep::CoreDns { forward: config.knows_dns() });
        steps.extend(addons.iter().cloned().map(ClusterStep::Addon));
        Self {
            name: config.name.value.to_string(),
            address: config.address,
            permit: config.permit.clone(),
            method: config.method.value,
            steps,
        }
    }
}

#[cfg(test)]
mod tests;
