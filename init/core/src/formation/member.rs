//! What a node with an etcd file system does next: a control plane with stacked etcd, or a node of role `etcd`.

use super::agreement::{self, Agreement, Round};
use super::machine::{Disks, EtcdStart, Look, Run};
use super::membership::{ClusterView, Membership, membership};
use super::once::{kept_by_etcd, once_per_cluster};
use super::record::{BadRecord, RecordFile};
use super::rules::Rules;
use super::started;
use super::wait::Wait;
use super::{Action, EtcdData, Gate, GivingUp, Kind, NodeRecord, Now, Record, Refusal, Seeded, Standing};
use nodeimg_contract::birth::{Birth, BirthId, Participant};
use std::collections::BTreeMap;

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
        if let Some(action) = self.giving_up() {
            return Ok(action);
        }
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

    /// What the node may say of itself.
    pub fn standing(&self) -> Standing {
        if self.giving_up().is_some() {
            return Standing::CannotSay { reason: "it gives up what it had started".into() };
        }
        if let Err(refusal) = self.checked_record() {
            return Standing::CannotSay { reason: refusal.to_string() };
        }
        let has_served = matches!(&self.disks.record, RecordFile::Good(r) if r.joined().is_some());
        let unknown = self.run.gate_open && !self.run.sampled;
        Standing::of(&self.disks.record, has_served || unknown || self.disks.etcd == EtcdData::Present)
    }

    /// A clearing that was begun goes on, whatever it has cleared so far; unless etcd turned out to hold something.
    fn giving_up(&self) -> Option<Action> {
        let RecordFile::Good(node) = &self.disks.node else { return None };
        let giving_up = node.giving_up()?;
        let own = match &self.disks.record {
            RecordFile::Good(record) => node.pinned() == Some(record.incarnation()),
            RecordFile::Missing => self.disks.etcd == EtcdData::Absent,
            RecordFile::Bad(_) => false,
        };
        let holds = self.disks.etcd == EtcdData::Present && self.rules.data_is_never_given_up;
        match giving_up {
            _ if !own => None,
            GivingUp::Worthless if holds => Some(Action::WriteNodeRecord(node.with_giving_up(None))),
            _ => Some(Action::StartAfresh(giving_up)),
        }
    }

    fn give_up(&self, node: &NodeRecord, why: GivingUp) -> Action {
        Action::WriteNodeRecord(node.with_giving_up(Some(why)))
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
            // Every opening of the gate is counted here first, then there.
            (RecordFile::Good(record), RecordFile::Good(node))
                if record.starts() < node.starts() && self.rules.starts_are_counted =>
            {
                Err(Refusal::EtcdDiskRolledBack)
            }
            (RecordFile::Good(record), RecordFile::Good(_))
                if record.joined().is_some()
                    && d.etcd != EtcdData::Present
                    && self.rules.pins_are_compared =>
            {
                Err(Refusal::EtcdDiskLost)
            }
            // Rendering clears what an earlier try left: never below a member, which may have voted.
            (RecordFile::Good(record), RecordFile::Good(node))
                if record.cluster().is_some_and(|b| node.rendered() != Some(&b))
                    && d.etcd != EtcdData::Absent
                    && record.recovered_from().is_none()
                    && self.rules.pins_are_compared =>
            {
                Err(Refusal::StateLost)
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

    /// A node that has neither started nor joined: the agreement. Alone in its list it still asks the endpoint.
    fn blank(&self, record: &Record) -> Result<Action, Refusal> {
        let Some(answers) = &self.run.answers else { return Ok(Action::AskPeers) };
        let round = Round { answers, endpoint: &self.run.endpoint };
        let next = match agreement::agree(self.seeded, record, round, self.now, self.rules)? {
            Agreement::Wait(wait) => return Ok(Action::Wait(wait)),
            Agreement::Promise(birth) => record.promise(birth),
            Agreement::Start => record.start(),
            Agreement::Join { birth, outside } => record.begin_join(birth, outside),
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
                self.open(record, node, birth.id())
            });
        }
        if !self.run.api_ready {
            return self.late(record, node, &birth.id());
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

    /// Counts this boot's start on both disks, then opens the gate: an etcd file system that is put back later knows of
    /// fewer starts.
    fn open(&self, record: &Record, node: &NodeRecord, birth: BirthId) -> Action {
        if record.starts() > node.starts() {
            Action::WriteNodeRecord(node.with_starts(record.starts()))
        } else if !self.run.counted {
            Action::WriteRecord(record.counted())
        } else {
            Action::OpenGate(Gate::of(birth))
        }
    }

    /// The gate is open and the API server is not ready: wait; after a while ask the others whether what this node started
    /// is worth anything, whether a majority can ever come back, and whether the cluster still has this node.
    fn late(&self, record: &Record, node: &NodeRecord, birth: &BirthId) -> Result<Action, Refusal> {
        if !self.run.api_late {
            return Ok(Action::AwaitApi);
        }
        let Some(answers) = &self.run.answers else { return Ok(Action::AskPeers) };
        let is_alone = self.run.voters.iter().all(|v| v.name == self.seeded.name);
        if is_alone && self.seeded.others().next().is_none() {
            return Ok(Action::AwaitApi);
        }
        if let Some(action) = self.hopeless(record, node, birth, answers)? {
            return Ok(action);
        }
        if !started::has_company(birth, answers) {
            return Ok(Action::Wait(Wait::Cluster("nobody else of it answers".into())));
        }
        match &self.run.look {
            None => Ok(Action::LookAtCluster(birth.clone())),
            Some(Look::Seen(view)) if view.has_replaced(self.seeded, birth, record.incarnation()) => {
                Err(Refusal::Replaced)
            }
            Some(Look::Seen(_)) => {
                Ok(Action::Wait(Wait::Cluster("it has a leader; this node is behind".into())))
            }
            Some(Look::Hidden(why)) => Ok(Action::Wait(Wait::Cluster(why.clone()))),
        }
    }

    /// Whether waiting for the cluster has no end.
    fn hopeless(
        &self,
        record: &Record,
        node: &NodeRecord,
        birth: &BirthId,
        answers: &BTreeMap<String, super::Answer>,
    ) -> Result<Option<Action>, Refusal> {
        let empty = self.disks.etcd != EtcdData::Present;
        let holds_nothing = record.started().is_none() && !self.has_begun();
        if holds_nothing && !self.run.gate_open && started::is_superseded(birth, answers) {
            return Ok(Some(self.give_up(node, GivingUp::Worthless)));
        }
        if started::is_worth_nothing(self.seeded, record, empty, answers, self.rules) {
            return Ok(Some(self.give_up(node, GivingUp::Worthless)));
        }
        if let Some(names) = started::lost_majority(record, &self.run.voters, answers) {
            return Ok(Some(Action::Wait(Wait::Quorum(names))));
        }
        match started::other_birth(birth, answers) {
            Some(other) => Err(Refusal::TwoBirths { one: self.seeded.name.clone(), other: other.clone() }),
            None => Ok(None),
        }
    }

    /// A node that joins, or joined, a cluster in whose birth it has no part.
    fn joining(&self, record: &Record, node: &NodeRecord, birth: &BirthId) -> Result<Action, Refusal> {
        let running = self.run.gate_open;
        // A learner that never started is rendered again: the list of members may have changed since.
        let never_started = !running && !self.has_begun() && !self.run.rendered;
        let is_rendered = node.rendered() == Some(birth) && !never_started;
        if is_rendered && !running {
            // Joined, or a learner that had started: the others may need its vote, so it asks nobody.
            return Ok(self.open(record, node, birth.clone()));
        }
        if record.joined().is_some() {
            return if self.run.api_ready {
                self.after_the_gate(record, node, birth, &[])
            } else {
                self.late(record, node, birth)
            };
        }
        let view = match &self.run.look {
            None => return Ok(Action::LookAtCluster(birth.clone())),
            Some(Look::Seen(view)) => view,
            Some(Look::Hidden(_)) if running && !self.run.api_late && !self.run.api_ready => {
                // Says what etcd's folder holds by now.
                return Ok(Action::AwaitApi);
            }
            Some(Look::Hidden(why)) => {
                let Some(answers) = &self.run.answers else { return Ok(Action::AskPeers) };
                let hopeless = self.hopeless(record, node, birth, answers)?;
                let wait = if record.joins_outside() { Wait::Outside } else { Wait::Cluster };
                return Ok(hopeless.unwrap_or_else(|| Action::Wait(wait(why.clone()))));
            }
        };
        if never_started && view.record.as_ref().is_some_and(|r| r.birth() != birth) {
            let Some(answers) = &self.run.answers else { return Ok(Action::AskPeers) };
            if started::is_superseded(birth, answers) {
                return Ok(self.give_up(node, GivingUp::Worthless));
            }
        }
        let next = membership(self.seeded, birth, record.incarnation(), running, view, self.rules)?;
        let render = || EtcdStart::Joins { birth: birth.clone(), members: view.members.clone() };
        let rendered = || {
            if never_started {
                Some(Action::Render(render()))
            } else {
                self.rendered(node, birth.clone(), render)
            }
        };
        Ok(match next {
            // etcd never takes that member back.
            Membership::Gone => self.give_up(node, GivingUp::Removed),
            Membership::Remove(id) => Action::RemoveMember(id),
            Membership::Claim(record) => Action::WriteClusterRecord(record),
            Membership::AddLearner => Action::AddLearner,
            Membership::Wait(wait) => Action::Wait(wait),
            Membership::Learner(member) => match rendered() {
                Some(action) => action,
                // A member that may have begun is not begun again.
                None if member.name.is_empty() && self.has_old_list(view) => Action::RemoveMember(member.id),
                None => match &self.run.not_promoted {
                    Some(why) => Action::Wait(Wait::Promotion(why.clone())),
                    None => Action::Promote,
                },
            },
            Membership::Voter(member) => match rendered() {
                Some(action) => action,
                // A participant that had promised another birth by then is listed as a voter before its etcd has begun:
                // "joined" without data would mean a lost disk at the next boot.
                None if self.disks.etcd != EtcdData::Present && !self.run.api_ready => {
                    if !self.run.api_late {
                        Action::AwaitApi
                    } else if !self.has_begun() && !member.healthy && self.has_old_list(view) {
                        Action::RemoveMember(member.id)
                    } else {
                        Action::Wait(Wait::OwnEtcd)
                    }
                }
                None => Action::WriteRecord(record.join().ok_or(IMPOSSIBLE)?),
            },
        })
    }

    /// Whether its etcd ever became a member.
    fn has_begun(&self) -> bool {
        !matches!(self.disks.etcd, EtcdData::Absent | EtcdData::Unstarted)
    }

    /// Whether the manifest that this boot wrote names other members than the cluster has now. An etcd that has not begun
    /// never does with other addresses; where a member was only replaced at its own, it is removed and joins anew for nothing.
    fn has_old_list(&self, view: &ClusterView) -> bool {
        self.run.rendered_members.as_ref().is_some_and(|list| *list != view.member_ids())
    }

    fn after_the_gate(
        &self,
        record: &Record,
        node: &NodeRecord,
        birth: &BirthId,
        participants: &[Participant],
    ) -> Result<Action, Refusal> {
        let recovered = record.recovered_from().map(|from| (from, participants));
        if self.seeded.kind == Kind::Etcd {
            return kept_by_etcd(self.run, birth, participants, recovered);
        }
        once_per_cluster(self.seeded, self.run, node, birth, participants, recovered)
    }
}
