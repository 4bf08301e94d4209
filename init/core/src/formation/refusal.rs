//! Why the gate stays shut.

use super::record::BadRecord;
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
    /// As a node shows it.
    pub fn fault(&self) -> Fault {
        let (code, object, help) = match self {
            Refusal::NoPermit | Refusal::PermitExpired { .. } => (
                Code::PermitMissing,
                "nodeimg.formation.permit",
                "make a new seed with \"nodeimg cluster new\"; if the clock is wrong, set it",
            ),
            Refusal::EtcdDiskLost | Refusal::EtcdDiskSwapped | Refusal::StateLost => (
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
                Code::RecordMismatch,
                "ConfigMap kube-public/nodeimg",
                "look which cluster the endpoint leads to; nothing was written to it",
            ),
        };
        Fault { code, object: object.into(), cause: self.to_string(), help: help.into() }
    }
}
