//! How nodes with seeds become one cluster: the design's section 5, as a pure machine.
//!
//! [`step`] takes a state, what happened ([`Event`]) and [`Now`]; it gives the next state and what is to be done
//! ([`Action`]). It does nothing itself. Every action may be done twice, and each is asked for again until its event
//! comes: after a power cut the machine starts from what the disks say ([`Event::Disks`]) and goes on.
//!
//! What keeps which property:
//!
//! - *At most one birth has a quorum*: [`agreement`] (its docs have the proof): a birth is started after one round in which
//!   everybody required promised it, and answers are dropped at every change of the own record (`State::learn`).
//! - *A member ID is never started by two incarnations*: a birth names incarnations, the birth ID is etcd's cluster token,
//!   a late start needs the incarnation that the birth names (`agreement::towards`), and a join removes an older member
//!   before it adds itself and binds the new member's id to its incarnation before it starts it ([`membership`]).
//! - *The kubelet never runs before the gate*: [`Action::OpenGate`] holds a [`Gate`], which is made in this room alone,
//!   behind a record that is started or joining, an incarnation that is the pinned one, and manifests that are synced.
//! - *A lost, swapped or older etcd disk never starts afresh*: the incarnation is pinned on the state partition before a
//!   birth is promised, what was rendered is noted there, and every opening of the gate is counted on both disks
//!   (`Member::open`); what does not fit ends in [`Refusal`]. A node whose disk is absent gets no [`Event::Disks`], and
//!   one whose disks do not fit says that it cannot say ([`State::standing`]).
//! - *No acknowledged write is lost*: data is given up only when etcd holds no entry beyond its birth's own
//!   (`started::is_worth_nothing`, and again when etcd is stopped: [`Action::StartAfresh`]), and nothing is rendered, which
//!   clears folders, over data (`Member::checked_record`).
//! - *A living node is never evicted*: `membership::may_remove`.
//! - *Nothing is born without leave*: whoever promises or starts a birth that nobody has started needs a valid permit
//!   (`agreement::permit`); one that somebody has started had it, and is started late by those in it without one.
//! - *Once per cluster is once*: a step that the cluster's own record ([`ClusterRecord`]) holds is never run again, and
//!   steps are run under a Lease, after the record was read under it (`once`).
//! - *Every wait has a name*: [`Wait`]; whatever stands in the way for good is a [`Refusal`].

mod agreement;
mod cluster_record;
mod guest;
mod learn;
mod machine;
mod member;
mod membership;
mod once;
mod place;
mod record;
mod recovery;
mod refusal;
mod rules;
mod standing;
mod started;
mod wait;

pub use cluster_record::{BadClusterRecord, ClusterRecord, ClusterStep, RecordedMember};
pub use guest::ExternalCluster;
pub use machine::{Action, EtcdData, EtcdStart, Event, Gate, Now, State, step};
pub use membership::{ClusterView, EtcdMember, NodeSeen, QUIET, Silence};
pub use place::Place;
pub use record::{BadRecord, GivingUp, NodeRecord, Record, RecordFile};
pub use recovery::{Heard, NotLost, majority_is_lost};
pub use refusal::Refusal;
pub use rules::Rules;
pub use standing::{Answer, Endpoint, KUBERNETES, Standing};
pub use wait::Wait;

use crate::node_config::NodeConfig;
use nodeimg_contract::birth::{Method, Permit};
use nodeimg_contract::image::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a node is, as formation sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// API server with etcd beside it.
    StackedControlPlane,
    /// API server; etcd runs elsewhere.
    ExternalControlPlane,
    /// etcd alone.
    Etcd,
    /// Runs pods.
    Worker,
    /// Balances; pins the birth.
    Lb,
}

impl Kind {
    /// Whether it has an etcd file system, and so a part in a birth.
    pub fn has_etcd(self) -> bool {
        matches!(self, Kind::StackedControlPlane | Kind::Etcd)
    }
    /// Whether it runs an API server.
    pub fn has_api(self) -> bool {
        matches!(self, Kind::StackedControlPlane | Kind::ExternalControlPlane)
    }
}

/// One line of the list of a birth, or of the voters of an etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Listed {
    /// Node name.
    pub name: String,
    /// Address that etcd advertises.
    pub address: IpAddr,
}

/// What formation must know of the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded {
    /// This node's name.
    pub name: String,
    /// Its address: etcd's, where it has one.
    pub address: IpAddr,
    /// What it is.
    pub kind: Kind,
    /// The list of the birth, sorted by name: control planes, or nodes of role etcd; this node may be missing from it
    /// (added later). Empty for a node without etcd.
    pub listed: Vec<Listed>,
    /// Leave for one birth.
    pub permit: Option<Permit>,
    /// How participants are chosen.
    pub method: Method,
    /// Consent to a birth without these names, while they are silent.
    pub without: BTreeSet<String>,
    /// A cluster without a record may be given one: it exists, and nodeimg did not make it.
    pub adopt: bool,
    /// What is done once per cluster, in order.
    pub steps: Vec<ClusterStep>,
}

impl Seeded {
    /// The rest of the list.
    pub fn others(&self) -> impl Iterator<Item = &Listed> {
        self.listed.iter().filter(|n| n.name != self.name)
    }

    /// From a decided NodeConfig and the image's add-ons.
    pub fn new(config: &NodeConfig, addons: &[String]) -> Self {
        // Nodes are Ready when the pod network is: its add-on goes first, and needs nothing of kubeadm's.
        let mut steps: Vec<_> = addons.iter().cloned().map(ClusterStep::Addon).collect();
        steps.extend(ClusterStep::KUBEADM);
        steps.push(ClusterStep::Rbac);
        steps.push(ClusterStep::CoreDns { forward: config.knows_dns() });
        Self {
            name: config.name.value.to_string(),
            address: config.node_ip().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            kind: match (config.role.value, &config.external_etcd) {
                (Role::ControlPlane, None) => Kind::StackedControlPlane,
                (Role::ControlPlane, Some(_)) => Kind::ExternalControlPlane,
                (Role::Etcd, _) => Kind::Etcd,
                (Role::Worker, _) => Kind::Worker,
                (Role::Lb, _) => Kind::Lb,
            },
            listed: config
                .birth_list()
                .iter()
                .map(|n| Listed { name: n.name.to_string(), address: n.address })
                .collect(),
            permit: config.permit.clone(),
            method: config.method.value,
            without: config.without.iter().map(ToString::to_string).collect(),
            adopt: config.adopt,
            steps,
        }
    }
}

#[cfg(test)]
mod tests;
