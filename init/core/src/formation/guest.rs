//! What a node without an etcd file system does next: a worker, a load balancer, a control plane of an external etcd. It
//! pins the birth of the first cluster that it meets, and starts its kubelet for no other.

use super::machine::{Disks, EtcdStart, Run};
use super::once::once_per_cluster;
use super::record::RecordFile;
use super::wait::Wait;
use super::{Action, ClusterRecord, Gate, Kind, NodeRecord, Refusal, Seeded};
use nodeimg_contract::birth::BirthId;

/// Which cluster an external etcd is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalCluster {
    birth: BirthId,
    /// Other names of the same data: births that it went on from, and etcd's own id.
    formerly: Vec<BirthId>,
}

impl ExternalCluster {
    /// By the record that its nodes keep in it; by etcd's own id (`named`) where somebody else runs it, which names nothing
    /// that lasts: a recovery changes it.
    pub fn of(named: BirthId, record: Option<&ClusterRecord>) -> Self {
        match record {
            Some(record) => Self {
                birth: record.birth().clone(),
                formerly: record.formerly().iter().cloned().chain([named]).collect(),
            },
            None => Self { birth: named, formerly: Vec::new() },
        }
    }
}

pub(super) struct Guest<'a> {
    pub seeded: &'a Seeded,
    pub disks: &'a Disks,
    pub run: &'a Run,
}

impl Guest<'_> {
    pub fn next(&self) -> Result<Action, Refusal> {
        let pinned = match &self.disks.node {
            RecordFile::Bad(bad) => return Err(Refusal::BadRecord(*bad)),
            RecordFile::Missing => None,
            RecordFile::Good(node) => Some(node),
        };
        let found = match self.found()? {
            Ok(found) => found,
            Err(look) => return Ok(look),
        };
        let Some(node) = pinned else { return Ok(Action::WriteNodeRecord(NodeRecord::pin_birth(found))) };
        if node.birth().is_some_and(|own| *own != found && self.goes_on_from(own)) {
            return Ok(Action::WriteNodeRecord(node.goes_on_as(found)));
        }
        if node.birth() != Some(&found) {
            if self.run.gate_open {
                return Ok(Action::CloseGate);
            }
            return Err(match node.birth() {
                Some(own) => Refusal::another_birth(&found, own),
                None => Refusal::EtcdDiskLost,
            });
        }
        if self.seeded.kind == Kind::Lb {
            return Ok(Action::Steady);
        }
        if node.rendered() != Some(&found) {
            return Ok(match (self.run.rendered, self.seeded.kind) {
                (true, _) => Action::WriteNodeRecord(node.with_rendered(found)),
                (false, Kind::ExternalControlPlane) => Action::Render(EtcdStart::External(found)),
                (false, _) => Action::RenderKubelet,
            });
        }
        if !self.run.gate_open {
            return Ok(Action::OpenGate(Gate::of(found)));
        }
        if self.seeded.kind == Kind::ExternalControlPlane {
            if !self.run.api_ready {
                return Ok(Action::AwaitApi);
            }
            // The ConfigMap's birth goes on as the etcd's does.
            let before = self.run.cluster.iter().flatten().map(ClusterRecord::birth);
            let recovered = before.filter(|b| self.goes_on_from(b)).map(|b| (b, &[][..])).next();
            return once_per_cluster(self.seeded, self.run, node, &found, &[], recovered);
        }
        Ok(if self.run.node_ready { Action::Steady } else { Action::AwaitNode })
    }

    /// Whether what this node is connected to took that birth's place: an operator recovered it.
    fn goes_on_from(&self, birth: &BirthId) -> bool {
        match (self.seeded.kind, &self.run.external, &self.run.cluster) {
            (Kind::ExternalControlPlane, Some(external), _) => external.formerly.contains(birth),
            (Kind::ExternalControlPlane, None, _) => false,
            (_, _, Some(Some(cluster))) => cluster.goes_on_from(birth),
            _ => false,
        }
    }

    /// The birth of what this node is connected to, or how to find it out.
    fn found(&self) -> Result<Result<BirthId, Action>, Refusal> {
        if self.seeded.kind == Kind::ExternalControlPlane {
            let external = self.run.external.as_ref().map(|e| e.birth.clone());
            return Ok(external.ok_or(Action::AskExternalEtcd));
        }
        Ok(match &self.run.cluster {
            None => Err(Action::ReadClusterRecord),
            Some(None) => Err(Action::Wait(Wait::ClusterRecord)),
            Some(Some(cluster)) => Ok(cluster.birth().clone()),
        })
    }
}
