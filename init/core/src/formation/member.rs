//! What a node with an etcd file system does next: a control plane with stacked etcd, or a node of role `etcd`.

use super::agreement::{self, Agreement};
use super::machine::{Disks, EtcdStart, Lease, Look, Run};
use super::membership::{Membership, membership};
use super::record::{BadRecord, RecordFile};
use super::rules::Rules;
use super::wait::Wait;
use super::{
    Action, ClusterRecord, ClusterStep, EtcdData, Gate, Kind, NodeRecord, Now, Record, Refusal, Seeded,
};
use nodeimg_contract::birth::{Birth, BirthId, Participant};

pub(super) struct Member<'a> {
    pub seeded: &'a Seeded,
    pub disks: &'a Disks,
    pub run: &'a Run,
    pub now: Now,
    pub rules: Rules,
}

/// A record cannot be changed in a way that its own module refuses: the disk says something impossible.
const IMPOSSIBLE: Refusal = Refusal::BadRecord(BadRecord::Damaged);

impl Member<'_> {
    /// The next thing to do, or why nothing may be done.
    pub fn next(&self) -> Result<Action, Refusal> {
        let record = match self.checked_record()? {
            Ok(record) => record,
            Err(first) => return Ok(first),
        };
        let node = match &self.disks.node {
            RecordFile::Good(node) => node,
            // checked_record saw that the record is blank: pin before anything is promised.
            _ => return Ok(Action::WriteNodeRecord(NodeRecord::pin(record.incarnation().clone()))),
        };
        match (record.started(), record.joining()) {
            (Some(birth), _) => self.started(record, node, birth),
            (None, Some(birth)) => self.joining(record, node, birth),
            (None, None) => self.blank(record),
        }
    }

    /// The record, if it may be believed; or the action that makes a blank node's first one.
    fn checked_record(&self) -> Result<Result<&Record, Action>, Refusal> {
        let d = self.disks;
        match (&d.record, &d.node) {
            (RecordFile::Bad(bad), _) | (_, RecordFile::Bad(bad)) => Err(Refusal::BadRecord(*bad)),
            (RecordFile::Missing, RecordFile::Good(_)) if self.rules.pins_are_compared => {
                Err(Refusal::EtcdDiskLost)
            }
            (RecordFile::Missing, _) if d.etcd != EtcdData::Absent => Err(Refusal::ForeignData),
            (RecordFile::Missing, _) => Ok(Err(Action::WriteRecord(Record::blank(d.fresh.clone())))),
            (RecordFile::Good(record), RecordFile::Good(node))
                if node.pinned() != Some(record.incarnation()) && self.rules.pins_are_compared =>
            {
                Err(Refusal::EtcdDiskSwapped)
            }
            // What was rendered for a birth was rendered after that birth was written.
            (RecordFile::Good(record), RecordFile::Good(node))
                if node.rendered().is_some_and(|b| record.cluster().as_ref() != Some(b))
                    && record.recovered_from().is_none()
                    && self.rules.pins_are_compared =>
            {
                Err(Refusal::EtcdDiskRolledBack)
            }
            (RecordFile::Good(record), RecordFile::Missing)
                if record.promised().is_some() || record.cluster().is_some() =>
            {
                Err(Refusal::StateLost)
            }
            (RecordFile::Good(record), _) if record.cluster().is_none() && d.etcd != EtcdData::Absent => {
                Err(Refusal::ForeignData)
            }
            (RecordFile::Good(record), _) => Ok(Ok(record)),
        }
    }

    /// A node that has neither started nor joined: the agreement. Alone in its list it has nobody to ask.
    fn blank(&self, record: &Record) -> Result<Action, Refusal> {
        let nobody = std::collections::BTreeMap::new();
        let answers = match &self.run.answers {
            Some(answers) => answers,
            None if self.seeded.others().next().is_none() => &nobody,
            None => return Ok(Action::AskPeers),
        };
        let next = match agreement::agree(self.seeded, record, answers, self.now, self.rules)? {
            Agreement::Wait(wait) => return Ok(Action::Wait(wait)),
            Agreement::Promise(birth) => record.promise(birth),
            Agreement::Start => record.start(),
            Agreement::Join(birth) => record.begin_join(birth),
        };
        next.map(Action::WriteRecord).ok_or(IMPOSSIBLE)
    }

    /// A participant: it asks nobody before its gate.
    fn started(&self, record: &Record, node: &NodeRecord, birth: &Birth) -> Result<Action, Refusal> {
        self.is_ours(record, birth)?;
        if let Some(action) = self.rendered(node, birth.id(), || EtcdStart::Born(birth.clone())) {
            return Ok(action);
        }
        if !self.run.gate_open {
            return Ok(if record.joined().is_some() && !self.run.settled {
                Action::SettleEtcd
            } else {
                Action::OpenGate(Gate::of(birth.id()))
            });
        }
        if !self.run.api_ready {
            return Ok(self.late(record));
        }
        if record.joined().is_none() {
            // etcd has served the API server: the first good start.
            return record.join().map(Action::WriteRecord).ok_or(IMPOSSIBLE);
        }
        self.after_the_gate(record, node, &birth.id(), birth.participants())
    }

    /// A started birth that has this node in it under its present name and address.
    fn is_ours(&self, record: &Record, birth: &Birth) -> Result<(), Refusal> {
        let own = |p: &&Participant| p.incarnation == *record.incarnation();
        match birth.participants().iter().find(own) {
            Some(p) if p.name == self.seeded.name && p.address == self.seeded.address => Ok(()),
            Some(p) => Err(Refusal::AnotherNode { name: p.name.clone(), address: p.address }),
            None => Err(Refusal::EtcdDiskSwapped),
        }
    }

    fn rendered(
        &self,
        node: &NodeRecord,
        birth: BirthId,
        start: impl FnOnce() -> EtcdStart,
    ) -> Option<Action> {
        if node.rendered() == Some(&birth) {
            return None;
        }
        Some(if self.run.rendered {
            Action::WriteNodeRecord(node.with_rendered(birth))
        } else {
            Action::Render(start())
        })
    }

    /// The gate is open and the API server is not ready: wait; after a while ask the others whether what this node started
    /// is worth anything, and whether a majority can ever come back.
    fn late(&self, record: &Record) -> Action {
        if !self.run.api_late || self.seeded.others().next().is_none() {
            return Action::AwaitApi;
        }
        let Some(answers) = &self.run.answers else { return Action::AskPeers };
        self.hopeless(record, answers).unwrap_or(Action::Wait(Wait::Cluster("etcd has no leader yet".into())))
    }

    fn hopeless(
        &self,
        record: &Record,
        answers: &std::collections::BTreeMap<String, super::Answer>,
    ) -> Option<Action> {
        let empty = self.disks.etcd != EtcdData::Present;
        if agreement::is_worth_nothing(self.seeded, record, empty, answers, self.rules) {
            return Some(Action::StartAfresh);
        }
        agreement::lost_majority(record, answers).map(|names| Action::Wait(Wait::Quorum(names)))
    }

    /// A node that joins, or joined, a cluster in whose birth it has no part.
    fn joining(&self, record: &Record, node: &NodeRecord, birth: &BirthId) -> Result<Action, Refusal> {
        let is_rendered = node.rendered() == Some(birth);
        if is_rendered && !self.run.gate_open {
            // Joined, or a learner that had started: the others may need its vote, so it asks nobody.
            return Ok(Action::OpenGate(Gate::of(birth.clone())));
        }
        if record.joined().is_some() {
            return if self.run.api_ready {
                self.after_the_gate(record, node, birth, &[])
            } else {
                Ok(self.late(record))
            };
        }
        let view = match &self.run.look {
            None => return Ok(Action::LookAtCluster(birth.clone())),
            Some(Look::Seen(view)) => view,
            Some(Look::Hidden(why)) => {
                let Some(answers) = &self.run.answers else { return Ok(Action::AskPeers) };
                return Ok(self
                    .hopeless(record, answers)
                    .unwrap_or_else(|| Action::Wait(Wait::Cluster(why.clone()))));
            }
        };
        let running = self.run.gate_open;
        let next = membership(self.seeded, birth, record.incarnation(), running, view, self.rules)?;
        Ok(match next {
            // It had started as a learner and is listed no more: etcd never takes that member back.
            Membership::AddLearner | Membership::Claim(_) | Membership::Remove(_) if running => {
                Action::StartAfresh
            }
            Membership::Remove(id) => Action::RemoveMember(id),
            Membership::Claim(record) => Action::WriteClusterRecord(record),
            Membership::AddLearner => Action::AddLearner,
            Membership::Wait(wait) => Action::Wait(wait),
            Membership::Learner(members) => {
                let start = || EtcdStart::Joins { birth: birth.clone(), members };
                match self.rendered(node, birth.clone(), start) {
                    Some(action) => action,
                    None if self.run.not_promoted => Action::Wait(Wait::Promotion),
                    None => Action::Promote,
                }
            }
            Membership::Voter => {
                let members = view.members.clone();
                let start = || EtcdStart::Joins { birth: birth.clone(), members };
                match self.rendered(node, birth.clone(), start) {
                    Some(action) => action,
                    None => Action::WriteRecord(record.join().ok_or(IMPOSSIBLE)?),
                }
            }
        })
    }

    fn after_the_gate(
        &self,
        record: &Record,
        node: &NodeRecord,
        birth: &BirthId,
        participants: &[Participant],
    ) -> Result<Action, Refusal> {
        if self.seeded.kind == Kind::Etcd {
            return Ok(Action::Steady);
        }
        let recovered = record.recovered_from().map(|from| (from, participants));
        once_per_cluster(self.seeded, self.run, node, birth, participants, recovered)
    }
}

/// What every control plane does once its API server is ready. `recovered`: the birth that this one takes the place of.
pub(super) fn once_per_cluster(
    seeded: &Seeded,
    run: &Run,
    node: &NodeRecord,
    birth: &BirthId,
    participants: &[Participant],
    recovered: Option<(&BirthId, &[Participant])>,
) -> Result<Action, Refusal> {
    let cluster = match &run.cluster {
        None => return Ok(Action::ReadClusterRecord),
        Some(cluster) => cluster,
    };
    if let Some(cluster) = cluster
        && cluster.birth() != birth
    {
        return match recovered {
            Some((from, alone)) if cluster.birth() == from => {
                Ok(Action::WriteClusterRecord(cluster.reborn(birth.clone(), alone)))
            }
            _ => Err(Refusal::another_birth(cluster.birth(), birth)),
        };
    }
    let pending = cluster.as_ref().map(|c| c.pending(seeded));
    let to_do = pending.as_ref().is_none_or(|p| !p.is_empty()) || !run.unrecorded.is_empty();
    let node_steps = || {
        (node.finished() != Some(birth)).then(|| {
            if run.node_steps_done {
                Action::WriteNodeRecord(node.with_finished(birth.clone()))
            } else {
                Action::RunNodeSteps
            }
        })
    };
    if to_do {
        return Ok(match (&run.lease, cluster) {
            (Lease::Unknown, _) => Action::HoldLease,
            (Lease::Elsewhere(holder), _) => {
                // The own label and taint need nobody else.
                let own = cluster.as_ref().and_then(|_| node_steps());
                own.unwrap_or_else(|| Action::Wait(Wait::Lease(holder.clone())))
            }
            (Lease::Held, None) => {
                Action::WriteClusterRecord(ClusterRecord::new(birth.clone(), participants))
            }
            (Lease::Held, Some(cluster)) if !run.unrecorded.is_empty() => {
                Action::WriteClusterRecord(cluster.with_done(&run.unrecorded))
            }
            (Lease::Held, Some(_)) => {
                Action::RunSteps(next_batch(pending.unwrap_or_default()).unwrap_or_default())
            }
        });
    }
    if let Some(action) = node_steps() {
        return Ok(action);
    }
    Ok(if !run.super_admin_removed {
        Action::RemoveSuperAdmin
    } else if !run.node_ready {
        Action::AwaitNode
    } else {
        Action::Steady
    })
}

/// kubeadm's phases go together, in one process; everything else one by one.
fn next_batch(pending: Vec<ClusterStep>) -> Option<Vec<ClusterStep>> {
    let of_kubeadm = |s: &&ClusterStep| matches!(s, ClusterStep::Kubeadm(_));
    let together: Vec<_> = pending.iter().take_while(of_kubeadm).cloned().collect();
    if together.is_empty() { pending.into_iter().next().map(|s| vec![s]) } else { Some(together) }
}
