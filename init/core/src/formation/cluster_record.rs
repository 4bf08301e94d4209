//! What a cluster keeps of its formation: the ConfigMap `nodeimg` in kube-public, with the birth ID and every step that
//! was done once for the cluster.

use super::Seeded;
use crate::kubeadm::Phase;
use nodeimg_contract::birth::{BirthId, Incarnation, Participant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const SCHEMA: &str = "1";

/// Something that is done once for a cluster, and never again except by command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterStep {
    /// A kubeadm phase.
    Kubeadm(Phase),
    /// CoreDNS' Corefile keeps its `forward` or loses it, as the node that applied it knew a DNS server or did not. A
    /// later boot that knows better changes nothing: an operator may have edited it.
    CoreDns {
        /// Whether it stays.
        forward: bool,
    },
    /// Who joins may read the ConfigMap of the birth.
    Rbac,
    /// An add-on is applied.
    Addon(String),
}

impl ClusterStep {
    /// kubeadm's, in kubeadm's order.
    pub const KUBEADM: [ClusterStep; 3] = [
        ClusterStep::Kubeadm(Phase::UploadConfig),
        ClusterStep::Kubeadm(Phase::BootstrapToken),
        ClusterStep::Kubeadm(Phase::Addon),
    ];

    /// The word in the ConfigMap.
    pub fn text(&self) -> String {
        match self {
            ClusterStep::Kubeadm(phase) => format!("kubeadm/{}", phase.text()),
            ClusterStep::CoreDns { .. } => "coredns".into(),
            ClusterStep::Rbac => "rbac".into(),
            ClusterStep::Addon(name) => format!("addon/{name}"),
        }
    }
}

/// The ConfigMap's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    birth: BirthId,
    /// Births whose place this one took, the oldest first: recoveries by an operator.
    formerly: Vec<BirthId>,
    done: BTreeSet<String>,
    members: BTreeMap<String, RecordedMember>,
    /// Where the API's object stood when it was read: a write of something older is refused by the API server.
    resource_version: Option<String>,
}

/// One line of the ConfigMap's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordedMember {
    /// Address that API server and etcd advertise.
    pub address: IpAddr,
    /// The etcd file system that was last started under the name.
    pub incarnation: Incarnation,
    /// etcd's id of the member that this incarnation alone may start; `None`: a participant of the birth, or a node that
    /// is about to be added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<u64>,
}

/// A ConfigMap that cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ConfigMap kube-public/nodeimg is not what nodeimg writes")]
pub struct BadClusterRecord;

#[derive(Serialize, Deserialize)]
struct ConfigMap {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: Metadata,
    data: Data,
}
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
}
#[derive(Serialize, Deserialize)]
struct Data {
    schema: String,
    birth: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    formerly: String,
    done: String,
    members: String,
}

impl ClusterRecord {
    /// Namespace of the ConfigMap: everyone may read it, as joining nodes must.
    pub const NAMESPACE: &'static str = "kube-public";
    /// Name of the ConfigMap.
    pub const NAME: &'static str = "nodeimg";

    pub(super) fn new(birth: BirthId, participants: &[Participant]) -> Self {
        let member = |p: &Participant| {
            (
                p.name.clone(),
                RecordedMember { address: p.address, incarnation: p.incarnation.clone(), member: None },
            )
        };
        Self {
            birth,
            formerly: Vec::new(),
            done: BTreeSet::new(),
            members: participants.iter().map(member).collect(),
            resource_version: None,
        }
    }
    /// The first record of a cluster that nodeimg did not make, with the node that joins it. What kubeadm did once is done,
    /// and its add-ons are somebody's: this node's are not laid over them.
    pub(super) fn adopted(birth: BirthId, seeded: &Seeded, incarnation: Incarnation) -> Self {
        let own = |s: &&ClusterStep| !matches!(s, ClusterStep::Rbac);
        let done = seeded.steps.iter().filter(own).map(ClusterStep::text).collect();
        Self { done, ..Self::new(birth, &[]) }.with_member(&seeded.name, seeded.address, incarnation)
    }
    /// The record of a cluster that goes on under a birth of its own: what was done stays done.
    pub(super) fn reborn(&self, birth: BirthId, participants: &[Participant]) -> Self {
        let formerly = self.formerly.iter().chain([&self.birth]).cloned().collect();
        Self {
            formerly,
            done: self.done.clone(),
            resource_version: self.resource_version.clone(),
            ..Self::new(birth, participants)
        }
    }
    pub(super) fn with_member(&self, name: &str, address: IpAddr, incarnation: Incarnation) -> Self {
        let mut next = self.clone();
        next.members.insert(name.to_owned(), RecordedMember { address, incarnation, member: None });
        next
    }
    /// The member of this id belongs to the incarnation that stands under the name.
    pub(super) fn with_bound(&self, name: &str, member: u64) -> Self {
        let mut next = self.clone();
        if let Some(m) = next.members.get_mut(name) {
            m.member = Some(member);
        }
        next
    }
    /// Without a member that an operator removed.
    pub fn without_member(&self, name: &str) -> Self {
        let mut next = self.clone();
        next.members.remove(name);
        next
    }
    /// Every member by name: the current control planes (of a stacked etcd).
    pub fn members(&self) -> &BTreeMap<String, RecordedMember> {
        &self.members
    }
    /// The incarnation that runs, or ran last, under a name.
    pub fn incarnation_of(&self, name: &str) -> Option<&Incarnation> {
        self.members.get(name).map(|m| &m.incarnation)
    }
    /// Under which name, and with which etcd file system, the member of this id or address runs or ran last.
    pub fn owner_of(&self, member: u64, address: IpAddr) -> Option<(&str, &Incarnation)> {
        let find = |its: &dyn Fn(&RecordedMember) -> bool| self.members.iter().find(|(_, m)| its(m));
        // Who is bound to the member stands over a line that has nothing but its address.
        find(&|m| m.member == Some(member))
            .or_else(|| find(&|m| m.member.is_none() && m.address == address))
            .map(|(name, m)| (name.as_str(), &m.incarnation))
    }
    /// As it stands in the API at this version of the object.
    pub fn at_version(&self, version: String) -> Self {
        Self { resource_version: Some(version), ..self.clone() }
    }
    /// Where the API's object stood; `None`: it was not read from the API.
    pub fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }
    pub(super) fn with_done(&self, steps: &[ClusterStep]) -> Self {
        let mut next = self.clone();
        next.done.extend(steps.iter().map(ClusterStep::text));
        next
    }
    /// The cluster's birth.
    pub fn birth(&self) -> &BirthId {
        &self.birth
    }
    /// Whether this cluster went on from that birth: an operator recovered it.
    pub fn goes_on_from(&self, birth: &BirthId) -> bool {
        self.formerly.contains(birth)
    }
    /// Every birth that it went on from, the oldest first.
    pub(super) fn formerly(&self) -> &[BirthId] {
        &self.formerly
    }
    /// Whether a step was done.
    pub fn has(&self, step: &ClusterStep) -> bool {
        self.done.contains(&step.text())
    }
    pub(super) fn pending(&self, seeded: &Seeded) -> Vec<ClusterStep> {
        seeded.steps.iter().filter(|s| !self.has(s)).cloned().collect()
    }

    /// The ConfigMap as JSON, for the API.
    pub fn to_json(&self) -> Result<Vec<u8>, BadClusterRecord> {
        let map = ConfigMap {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            metadata: Metadata {
                name: Self::NAME.into(),
                namespace: Self::NAMESPACE.into(),
                resource_version: self.resource_version.clone(),
            },
            data: Data {
                schema: SCHEMA.into(),
                birth: self.birth.0.clone(),
                formerly: self.formerly.iter().map(|b| b.0.as_str()).collect::<Vec<_>>().join("\n"),
                done: self.done.iter().cloned().collect::<Vec<_>>().join("\n"),
                members: serde_json::to_string(&self.members).map_err(|_| BadClusterRecord)?,
            },
        };
        serde_json::to_vec(&map).map_err(|_| BadClusterRecord)
    }

    /// Reads the API's answer.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BadClusterRecord> {
        let map: ConfigMap = serde_json::from_slice(bytes).map_err(|_| BadClusterRecord)?;
        if map.data.schema != SCHEMA || map.data.birth.len() != 64 {
            return Err(BadClusterRecord);
        }
        Ok(Self {
            birth: BirthId(map.data.birth),
            formerly: map.data.formerly.lines().map(|b| BirthId(b.to_owned())).collect(),
            done: map.data.done.lines().map(str::to_owned).collect(),
            members: serde_json::from_str(&map.data.members).map_err(|_| BadClusterRecord)?,
            resource_version: map.metadata.resource_version,
        })
    }
}
