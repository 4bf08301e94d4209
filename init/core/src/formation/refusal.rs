//! Why the gate stays shut.

use super::record::BadRecord;
use nodeimg_contract::birth::BirthId;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;

/// Why the kubelet is not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A blank node whose seed has no permit.
    #[error("this node is blank and its seed has no permit for a birth")]
    NoPermit,
    /// A blank node whose permit is over.
    #[error("this node is blank and its seed's permit ended at {not_after}; it is {now}")]
    PermitExpired {
        /// The permit's end.
        not_after: jiff::Timestamp,
        /// The node's clock.
        now: jiff::Timestamp,
    },
    /// The state partition knows an incarnation, the etcd file system has none.
    #[error("the etcd file system is empty, but this node formed with another one")]
    EtcdDiskLost,
    /// Another incarnation than the pinned one.
    #[error("the etcd file system is another one than this node formed with")]
    EtcdDiskSwapped,
    /// A record that promised or started, without a pin on the state partition.
    #[error("the etcd file system has a history, but the state partition is new")]
    StateLost,
    /// etcd's data without a record.
    #[error("the etcd folder holds data that nodeimg did not start")]
    ForeignData,
    /// A record that cannot be read.
    #[error("{0}")]
    BadRecord(BadRecord),
    /// The record was made for another name or address.
    #[error("the record was made for {name} at {address}")]
    AnotherNode {
        /// Name in the record.
        name: String,
        /// Address in the record.
        address: std::net::IpAddr,
    },
    /// The state partition knows more of this node's birth than the etcd file system does.
    #[error(
        "the etcd file system is older than what the state partition knows of it: it was put back to an earlier state"
    )]
    EtcdDiskRolledBack,
    /// A listed address answers, but not as the node that is listed.
    #[error("{name}: {why}")]
    Untrusted {
        /// Listed name.
        name: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// A peer belongs to a cluster of another UUID.
    #[error("{name} belongs to another cluster than this node's seed")]
    AnotherCluster {
        /// Which peer.
        name: String,
    },
    /// Two peers belong to two births.
    #[error("{one} and {other} belong to two different births of this cluster")]
    TwoBirths {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// Seeds differ.
    #[error("the seed of {name} differs in {}", fields.join(", "))]
    Disagree {
        /// The peer.
        name: String,
        /// Fields of the seed.
        fields: Vec<String>,
    },
    /// Images that must not be born together.
    #[error("{name} has Kubernetes {versions}: the nodes of one birth have one minor version")]
    PeerVersion {
        /// The peer.
        name: String,
        /// Both versions.
        versions: String,
    },
    /// One incarnation at two nodes.
    #[error("{one} and {other} run from copies of one disk")]
    Copy {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// The cluster has another incarnation under this node's name, or none.
    #[error("the cluster has removed this node's etcd member, or another machine took its place")]
    Replaced,
    /// The image does not fit the cluster.
    #[error("{0}")]
    VersionSkew(String),
    /// The cluster that answers was born otherwise.
    #[error("the cluster that answers has birth {found}, this node's is {own}")]
    AnotherBirth {
        /// The cluster's, first digits.
        found: String,
        /// This node's, first digits.
        own: String,
    },
}

impl Refusal {
    pub(super) fn another_birth(found: &BirthId, own: &BirthId) -> Self {
        let short = |id: &BirthId| id.0.chars().take(12).collect();
        Refusal::AnotherBirth { found: short(found), own: short(own) }
    }

    /// As a node shows it.
    pub fn fault(&self) -> Fault {
        let (code, object, help) = match self {
            Refusal::NoPermit => (
                Code::PermitMissing,
                "nodeimg.formation.permit",
                "if its cluster exists, power that on; if it was never born, boot all control planes with the new seeds of \
                 \"nodeimg cluster permit DIR\"",
            ),
            Refusal::PermitExpired { .. } => (
                Code::PermitMissing,
                "nodeimg.formation.permit",
                "if the clock is wrong, set it; else boot all control planes with the new seeds of \
                 \"nodeimg cluster permit DIR\"",
            ),
            Refusal::EtcdDiskLost
            | Refusal::EtcdDiskSwapped
            | Refusal::EtcdDiskRolledBack
            | Refusal::StateLost => (
                Code::RecordMismatch,
                paths::ETCD,
                "attach the disk that this node formed with; if it is gone for good, wipe the state disk (nodeimg.disk)",
            ),
            Refusal::ForeignData => (
                Code::RecordMismatch,
                paths::ETCD,
                "move the data away, or wipe the state disk (nodeimg.disk)",
            ),
            Refusal::BadRecord(_) => (
                Code::RecordMismatch,
                paths::RECORD,
                "restore the disk, or wipe the state disk (nodeimg.disk)",
            ),
            Refusal::AnotherNode { .. } => (
                Code::RecordMismatch,
                paths::RECORD,
                "give this node its own disk and seed back, or wipe the state disk (nodeimg.disk)",
            ),
            Refusal::AnotherBirth { .. } => (
                Code::AnotherCluster,
                "ConfigMap kube-public/nodeimg",
                "look which cluster the endpoint leads to; nothing was written to it",
            ),
            Refusal::AnotherCluster { .. } | Refusal::TwoBirths { .. } => (
                Code::AnotherCluster,
                "nodeimg.controlPlanes",
                "give all nodes seeds of one \"nodeimg cluster new\"; a node that changes its cluster is wiped first",
            ),
            Refusal::Untrusted { .. } => (
                Code::PeerUntrusted,
                "nodeimg.controlPlanes",
                "look which machine has that address; if a certificate has ended or is of another cluster, set the clock, or boot \
                 with the new seed of \"nodeimg cluster seed DIR NAME\"; boot images of one release",
            ),
            Refusal::Disagree { .. } => (
                Code::PeersDisagree,
                "nodeimg",
                "give both nodes seeds of one \"nodeimg cluster new\" (or \"cluster permit\")",
            ),
            Refusal::Copy { .. } => {
                (Code::PeerDuplicate, paths::RECORD, "switch one of them off, and wipe the copy's disk")
            }
            Refusal::Replaced => (
                Code::StaleMember,
                "etcd's member list",
                "if another machine runs under this name, switch this one off; else wipe its state disk (nodeimg.disk), and it joins anew",
            ),
            Refusal::PeerVersion { .. } => (
                Code::VersionSkew,
                "the image",
                "boot all nodes of the list from images of one Kubernetes version; nothing has begun",
            ),
            Refusal::VersionSkew(_) => (
                Code::VersionSkew,
                "the image",
                "boot an image of a version that fits, or upgrade the cluster first",
            ),
        };
        Fault { code, object: object.into(), cause: self.to_string(), help: help.into() }
    }
}
