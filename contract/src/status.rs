//! What a node is doing, as one value.
//!
//! nodeinit writes it as one JSON object a line to the virtio-serial port [`crate::paths::STATUS_PORT`] and, whole,
//! to [`crate::paths::STATUS`].

use crate::fault::Fault;
use serde::{Deserialize, Serialize};

/// The stages of a boot, in order. (DESIGN: identity, network, seed, time, storage, services, formation, steady.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Mounts, modules.
    Early,
    /// Root found, verified, mounted.
    Root,
    /// machine-id, hostname, udev.
    Identity,
    /// Links and addresses.
    Network,
    /// Looking for and reading the seed.
    Seed,
    /// Clock checked.
    Time,
    /// State partition.
    Storage,
    /// containerd and friends.
    Services,
    /// Birth, kubeadm phases, join.
    Formation,
    /// Nothing left to do but to watch.
    Steady,
    /// Going down.
    Shutdown,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Early => "early",
            Phase::Root => "root",
            Phase::Identity => "identity",
            Phase::Network => "network",
            Phase::Seed => "seed",
            Phase::Time => "time",
            Phase::Storage => "storage",
            Phase::Services => "services",
            Phase::Formation => "formation",
            Phase::Steady => "steady",
            Phase::Shutdown => "shutdown",
        })
    }
}

/// The node's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Format of this document.
    pub schema: u32,
    /// Counts up with every change.
    pub sequence: u64,
    /// Milliseconds since the kernel started (CLOCK_BOOTTIME).
    pub uptime_ms: u64,
    /// The node's name, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where in the boot it is.
    pub phase: Phase,
    /// What it waits for, if it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// What stands in the way now; gone when its cause is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Things that a person should know and that stop nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Points in time that were passed, in order.
    pub milestones: Vec<Milestone>,
    /// The Kubernetes Node's Ready condition, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
}

/// A wait with a name and a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What for, as a person would say it.
    pub what: String,
    /// Since this uptime, in milliseconds.
    pub since_ms: u64,
    /// When a fault is raised (the wait goes on), uptime in milliseconds.
    pub deadline_ms: u64,
}

/// One point of the boot timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Milestone {
    /// Which.
    pub name: String,
    /// Uptime in milliseconds.
    pub at_ms: u64,
}

/// Names of the milestones that `nodeimg bench boot` draws.
pub mod milestone {
    /// nodeinit's first instruction as `/init`.
    pub const INIT: &str = "init";
    /// Root verified and mounted.
    pub const ROOT: &str = "root";
    /// PID 1 from the sealed root.
    pub const STAGE2: &str = "stage2";
    /// Addresses are set.
    pub const NETWORK: &str = "network";
    /// Seed read.
    pub const SEED: &str = "seed";
    /// State partition mounted.
    pub const STORAGE: &str = "storage";
    /// containerd was started.
    pub const CONTAINERD_LAUNCHED: &str = "containerd-launched";
    /// containerd answers.
    pub const CONTAINERD: &str = "containerd";
    /// Every required node has promised the same birth, or a cluster to join is found.
    pub const BIRTH: &str = "birth";
    /// Keys, certificates, kubeconfigs and manifests are written.
    pub const FILES: &str = "files";
    /// kubelet was started.
    pub const KUBELET: &str = "kubelet";
    /// The API server's first answer.
    pub const APISERVER: &str = "apiserver";
    /// `/readyz` says ok.
    pub const READYZ: &str = "readyz";
    /// etcd has made this node's learner a voter.
    pub const VOTER: &str = "voter";
    /// The Node is Ready.
    pub const READY: &str = "ready";
    /// Steady.
    pub const STEADY: &str = "steady";
}
