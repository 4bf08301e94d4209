//! What a cluster keeps of its formation: the ConfigMap `nodeimg` in kube-public, with the birth ID and every step that
//! was done once for the cluster.

use super::Seeded;
use crate::kubeadm::Phase;
use nodeimg_contract::birth::{BirthId, Incarnation};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// An add-on is applied.
    Addon(String),
}

impl ClusterStep {
    /// kubeadm's, in kubeadm's order. The two that are a node's own (mark-control-plane, kubelet-finalize) stand here
    /// as long as a cluster has one node: one kubeadm process runs them all.
    pub const KUBEADM: [ClusterStep; 5] = [
        ClusterStep::Kubeadm(Phase::UploadConfig),
        ClusterStep::Kubeadm(Phase::MarkControlPlane),
        ClusterStep::Kubeadm(Phase::BootstrapToken),
        ClusterStep::Kubeadm(Phase::KubeletFinalize),
        ClusterStep::Kubeadm(Phase::Addon),
    ];

    /// The word in the ConfigMap.
    pub fn text(&self) -> String {
        match self {
            ClusterStep::Kubeadm(phase) => format!("kubeadm/{}", phase.text()),
            ClusterStep::CoreDns { .. } => "coredns".into(),
            ClusterStep::Addon(name) => format!("addon/{name}"),
        }
    }
}

/// The ConfigMap's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    birth: BirthId,
    done: BTreeSet<String>,
    members: BTreeMap<String, Incarnation>,
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
struct Metadata {
    name: String,
    namespace: String,
}
#[derive(Serialize, Deserialize)]
struct Data {
    schema: String,
    birth: String,
    done: String,
    members: String,
}

impl ClusterRecord {
    /// Namespace of the ConfigMap: everyone may read it, as joining nodes must.
    pub const NAMESPACE: &'static str = "kube-public";
    /// Name of the ConfigMap.
    pub const NAME: &'static str = "nodeimg";

    pub(super) fn new(birth: BirthId, name: String, incarnation: Incarnation) -> Self {
        Self { birth, done: BTreeSet::new(), members: [(name, incarnation)].into() }
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
            metadata: Metadata { name: Self::NAME.into(), namespace: Self::NAMESPACE.into() },
            data: Data {
                schema: SCHEMA.into(),
                birth: self.birth.0.clone(),
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
            done: map.data.done.lines().map(str::to_owned).collect(),
            members: serde_json::from_str(&map.data.members).map_err(|_| BadClusterRecord)?,
        })
    }
}
