//! The driver: does what the machine asks for, in moments between which anything may happen. The same rules as nodeinit's:
//! a write is synced before its event, what fails is answered with a tick after a pause, what needs the API and does not
//! reach it with `ApiNotYet`.

use crate::etcd::{Change, Data, Listed};
use crate::machine::{Manifest, Progress, Unsynced};
use crate::mutant::Mutant;
use crate::world::{Violation, World, slot_of};
use nodeimg_contract::birth::BirthId;
use nodeimg_init_core::formation::{Action, ClusterRecord, EtcdData, EtcdStart, Event, GivingUp};

/// Between two looks of a node that is steady, or whose gate stays shut.
const LOOK: u64 = 10_000;
/// After an action that failed.
const PAUSE: u64 = 1_000;
/// How long a Lease holds.
const LEASE: u64 = 15_000;

impl World {
    /// One moment of what a machine does.
    pub(crate) fn perform(&mut self, m: usize) {
        let Some(action) = self.machines[m].action.clone() else { return };
        match action {
            Action::WriteRecord(r) => self.write(m, Unsynced::Record(r.clone()), Event::RecordWritten(r)),
            Action::WriteNodeRecord(n) => {
                self.write(m, Unsynced::Node(n.clone()), Event::NodeRecordWritten(n))
            }
            Action::AskPeers => self.ask(m),
            Action::LookAtCluster(birth) => self.look(m, &birth),
            Action::RemoveMember(id) => self.remove(m, id),
            Action::AddLearner => self.add(m),
            Action::Promote => self.promote(m),
            Action::Render(start) => self.render(m, start),
            Action::RenderKubelet => self.tell(m, Event::Rendered),
            Action::SettleEtcd => {
                if let Some(manifest) = &mut self.machines[m].state_disk.manifest {
                    manifest.existing = true;
                }
                self.tell(m, Event::EtcdSettled);
            }
            Action::StartAfresh(why) => self.start_afresh(m, why),
            Action::OpenGate(gate) => {
                let machine = &self.machines[m];
                let birth = if machine.seeded.kind.has_etcd() {
                    machine.etcd_disk.record.as_ref().and_then(|r| r.cluster())
                } else {
                    machine.state_disk.node.as_ref().and_then(|n| n.birth().cloned())
                };
                if birth.as_ref() != Some(gate.birth()) {
                    self.violate(Violation::GateWithoutRecord);
                }
                self.machines[m].kubelet = true;
                self.start_etcd(m);
                self.tell(m, Event::GateOpened);
            }
            Action::CloseGate => {
                self.machines[m].kubelet = false;
                self.tell(m, Event::GateClosed);
            }
            Action::AwaitApi => {
                self.start_etcd(m);
                match self.own(m) {
                    Some(_) => self.tell(m, Event::ApiReady),
                    None => self.late(m),
                }
            }
            Action::AskExternalEtcd => self.pause(m, LOOK),
            Action::ReadClusterRecord => self.read_record(m),
            Action::WriteClusterRecord(record) => self.write_record(m, record),
            Action::HoldLease => self.hold_lease(m),
            Action::RunSteps(steps) => {
                let Some(token) = self.own(m) else { return self.late(m) };
                let Some(data) = self.read(m, token) else { return self.late(m) };
                let recorded = data.record().map(|r| &self.records[r]);
                let again = steps.iter().any(|s| recorded.is_some_and(|r| r.has(s)));
                if again && data.lease().is_some_and(|(holder, end)| holder == m && end > self.time) {
                    self.violate(Violation::StepAgain);
                }
                self.tell(m, Event::StepsDone(steps));
            }
            Action::RunNodeSteps => self.with_api(m, Event::NodeStepsDone),
            Action::RemoveSuperAdmin => self.tell(m, Event::SuperAdminRemoved),
            Action::AwaitNode => self.with_api(m, Event::NodeReady),
            Action::Steady | Action::Refuse(_) => self.pause(m, LOOK),
            Action::Wait(wait) => self.pause(m, wait.pause().as_millis() as u64),
        }
    }

    /// Ticks after a while.
    fn pause(&mut self, m: usize, long: u64) {
        if matches!(self.machines[m].progress, Progress::Begun) {
            // Once the adversary has stopped, nodes may be lazier: it saves moments.
            let long = if self.calm { long * 4 } else { long };
            self.machines[m].progress = Progress::Written;
            self.machines[m].wakes = self.time + long;
            self.machines[m].last = self.machines[m].action.clone();
        } else {
            self.tell(m, Event::Tick);
        }
    }

    /// A read or change that did not work, or whose answer was lost.
    fn fails(&mut self, m: usize) {
        self.machines[m].wakes = self.time + PAUSE;
        self.machines[m].last = None;
        self.tell(m, Event::Tick);
    }

    fn late(&mut self, m: usize) {
        self.machines[m].wakes = self.time + PAUSE;
        let holds = self.machines[m].etcd_disk.holds();
        self.tell(m, Event::ApiNotYet(holds));
    }

    pub(crate) fn is_lost(&mut self) -> bool {
        !self.calm && self.random.chance(self.setting.loss)
    }

    /// The token of the own etcd, if it is a voter of a quorum.
    fn own(&mut self, m: usize) -> Option<usize> {
        let data = self.machines[m].running()?;
        let (token, id) = (data.token, data.id);
        let seen = self.read(m, token)?;
        let votes = self.lists[seen.members()].iter().any(|l| l.id == id && !l.learner);
        if !votes {
            return None;
        }
        // A read through the own etcd waits until it has what was acknowledged.
        if let Some(d) = &mut self.machines[m].etcd_disk.data {
            d.log = seen.log;
        }
        Some(token)
    }

    fn with_api(&mut self, m: usize, event: Event) {
        let is_guest = !self.machines[m].seeded.kind.has_etcd();
        let token = if is_guest {
            let birth = self.machines[m].state_disk.node.as_ref().and_then(|n| n.birth().cloned());
            birth.map(|b| self.token(&b)).and_then(|t| self.through(m, t))
        } else {
            self.own(m)
        };
        match token {
            Some(_) => self.tell(m, event),
            None if is_guest => self.fails(m),
            None => self.late(m),
        }
    }

    fn write(&mut self, m: usize, write: Unsynced, event: Event) {
        self.changed = self.time;
        if matches!(self.machines[m].progress, Progress::Begun) {
            if let Some(earlier) = self.machines[m].unsynced.take() {
                self.machines[m].store(earlier);
            }
            self.machines[m].unsynced = Some(write);
            self.machines[m].progress = Progress::Written;
            // The mistake: the event comes before the sync.
            if !(self.is(Mutant::DeedsFirst) && matches!(event, Event::RecordWritten(_))) {
                return;
            }
        } else {
            self.machines[m].unsynced = None;
            self.machines[m].store(write);
        }
        self.tell(m, event);
    }

    fn joins(&mut self, m: usize) -> Option<usize> {
        let birth = self.machines[m].etcd_disk.record.as_ref()?.cluster()?;
        Some(self.token(&birth))
    }

    fn look(&mut self, m: usize, birth: &BirthId) {
        let token = self.token(birth);
        let hidden = |world: &mut World| world.tell(m, Event::ClusterHidden("nobody has a quorum".into()));
        if self.is_lost() {
            return hidden(self);
        }
        match self.through(m, token).and_then(|via| self.view(m, via, token)) {
            Some(view) => self.tell(m, Event::ClusterSeen(Box::new(view))),
            None => hidden(self),
        }
    }

    /// Changes etcd's list through whoever lets this node.
    fn change(
        &mut self,
        m: usize,
        event: Event,
        edit: impl FnOnce(&mut World, &mut Vec<Listed>) -> Result<bool, Event>,
    ) {
        let Some(token) = self.joins(m) else { return self.fails(m) };
        let Some(via) = self.through(m, token) else { return self.fails(m) };
        let Some(data) = self.read(via, token) else { return self.fails(m) };
        let mut list = self.lists[data.members()].clone();
        let done = match edit(self, &mut list) {
            Err(other) => return self.tell(m, other),
            Ok(false) => true,
            Ok(true) => {
                let list = self.list(list);
                self.commit(via, token, Change::Members(list))
            }
        };
        if done && !self.is_lost() { self.tell(m, event) } else { self.fails(m) }
    }

    fn remove(&mut self, m: usize, id: u64) {
        let lived = self.machines[m].lived.contains(&id);
        let lives = (0..self.machines.len())
            .any(|o| o != m && self.machines[o].running().is_some_and(|d| d.id == id));
        self.change(m, Event::MembersChanged, |world, list| {
            let before = list.len();
            list.retain(|l| l.id != id);
            if list.len() < before && lived && lives {
                world.violate(Violation::Evicted);
            }
            Ok(list.len() < before)
        });
    }

    fn add(&mut self, m: usize) {
        let slot = self.machines[m].slot;
        self.change(m, Event::MembersChanged, |world, list| {
            // A listed address is skipped, and there is one learner at a time.
            if list.iter().any(|l| l.slot == slot || l.learner) {
                return Ok(false);
            }
            world.next_id += 1;
            list.push(Listed { id: world.next_id, slot, learner: true, published: false });
            Ok(true)
        });
    }

    fn promote(&mut self, m: usize) {
        self.start_etcd(m);
        let own = self.machines[m].running().map(|d| (d.id, d.log.len()));
        let Some(token) = self.joins(m) else { return self.fails(m) };
        let slot = self.machines[m].slot;
        let behind = self.through(m, token).and_then(|via| self.read(via, token)).map(|d| d.log.len());
        let caught_up = own.is_some_and(|(_, len)| Some(len) == behind);
        if behind.is_none() {
            return self.fails(m);
        }
        self.change(m, Event::Promoted, |_, list| {
            let mine = list.iter_mut().find(|l| l.slot == slot && Some(l.id) == own.map(|(id, _)| id));
            match mine {
                Some(l) if !l.learner => Ok(false),
                Some(l) if caught_up => {
                    l.learner = false;
                    Ok(true)
                }
                _ => Err(Event::NotPromoted("it is behind".into())),
            }
        });
    }

    fn render(&mut self, m: usize, start: EtcdStart) {
        let (token, list, existing): (usize, Vec<Listed>, bool) = match start {
            EtcdStart::Born(birth) => {
                let token = self.token(&birth.id());
                let list = birth
                    .participants()
                    .iter()
                    .filter_map(|p| slot_of(p.address))
                    .map(|slot| Listed {
                        id: crate::cluster::born_id(token, slot),
                        slot,
                        learner: false,
                        published: true,
                    })
                    .collect();
                (token, list, false)
            }
            EtcdStart::Joins { birth, members } => {
                let list = members
                    .iter()
                    .filter_map(|m| {
                        let slot = slot_of(m.address)?;
                        Some(Listed { id: m.id, slot, learner: m.learner, published: !m.name.is_empty() })
                    })
                    .collect();
                (self.token(&birth), list, true)
            }
            EtcdStart::External(_) => return self.tell(m, Event::Rendered),
        };
        let mut members: Vec<u64> = list.iter().map(|l| l.id).collect();
        members.sort_unstable();
        let list = self.list(list);
        // What an earlier try left is cleared.
        self.machines[m].etcd_disk.data = None;
        self.write(m, Unsynced::Manifest(Manifest { token, members, list, existing }), Event::Rendered);
    }

    fn start_afresh(&mut self, m: usize, why: GivingUp) {
        let part = if let Progress::Cleared(part) = self.machines[m].progress { part } else { 0 };
        (self.machines[m].kubelet, self.machines[m].etcd_runs) = (false, false);
        self.changed = self.time;
        match part {
            0 if why == GivingUp::Worthless
                && self.machines[m].etcd_disk.holds() == EtcdData::Present
                && !self.is(Mutant::GivesUpData) =>
            {
                self.machines[m].kubelet = true;
                self.start_etcd(m);
                return self.tell(m, Event::ApiNotYet(EtcdData::Present));
            }
            0 => {
                if why == GivingUp::Worthless && self.holds_the_last_copy(m) {
                    self.violate(Violation::Lost);
                }
                self.machines[m].etcd_disk.data = None;
                self.machines[m].etcd_disk.folder = false;
            }
            1 => self.machines[m].etcd_disk.record = None,
            _ => {
                self.machines[m].state_disk = crate::machine::StateDisk::default();
                self.machines[m].power_off(false);
                return self.power_on(m);
            }
        }
        self.machines[m].progress = Progress::Cleared(part + 1);
    }

    /// Of an acknowledged write, no other disk has it.
    fn holds_the_last_copy(&self, m: usize) -> bool {
        let Some(own) = &self.machines[m].etcd_disk.data else { return false };
        let acknowledged = &self.truth[own.token].acknowledged;
        let disks = self.machines.iter().enumerate().flat_map(|(o, machine)| {
            let shelf = machine.shelf.as_ref().map(|(etcd, _)| etcd);
            [(o != m).then_some(&machine.etcd_disk), shelf]
        });
        let others: Vec<&Data> =
            disks.flatten().filter_map(|d| d.data.as_ref()).filter(|d| d.token == own.token).collect();
        acknowledged.iter().enumerate().any(|(n, entry)| {
            let has = |d: &Data| d.log.get(n) == Some(entry);
            matches!(entry.change, Change::Write(_)) && has(own) && !others.iter().any(|d| has(d))
        })
    }

    fn read_record(&mut self, m: usize) {
        if !self.machines[m].seeded.kind.has_etcd() {
            // Through the endpoint: whoever it leads to.
            let there: Vec<usize> = (0..self.machines.len())
                .filter(|v| self.machines[*v].running().is_some() && self.reaches(m, *v))
                .collect();
            if there.is_empty() || self.is_lost() {
                return self.fails(m);
            }
            let via = there[self.random.below(there.len())];
            let Some(token) = self.machines[via].running().map(|d| d.token) else { return };
            let Some(data) = self.read(via, token) else { return self.fails(m) };
            let read = data.record().map(|r| self.records[r].at_version(r.to_string()));
            return self.tell(m, Event::ClusterRecordRead(read));
        }
        let Some(token) = self.own(m) else { return self.late(m) };
        let Some(data) = self.read(m, token) else { return self.late(m) };
        let read = data.record().map(|r| self.records[r].at_version(r.to_string()));
        self.tell(m, Event::ClusterRecordRead(read));
    }

    fn write_record(&mut self, m: usize, record: ClusterRecord) {
        let Some(token) = self.joins(m) else { return self.fails(m) };
        let Some(via) = self.through(m, token) else { return self.fails(m) };
        let Some(data) = self.read(via, token) else { return self.fails(m) };
        let stands = data.record().map(|r| r.to_string());
        if record.resource_version() != stands.as_deref() {
            return self.tell(m, Event::ClusterRecordConflict);
        }
        self.records.push(record.clone());
        let done = self.commit(via, token, Change::Record(self.records.len() - 1));
        if done && !self.is_lost() {
            self.tell(m, Event::ClusterRecordWritten(record));
        } else {
            self.fails(m);
        }
    }

    fn hold_lease(&mut self, m: usize) {
        let Some(token) = self.own(m) else { return self.late(m) };
        let Some(data) = self.read(m, token) else { return self.late(m) };
        match data.lease().filter(|(holder, end)| *holder != m && *end > self.time) {
            Some((holder, _)) => {
                let holder = self.name(holder);
                self.tell(m, Event::LeaseElsewhere(holder));
            }
            None => {
                if self.commit(m, token, Change::Lease(m, self.time + LEASE)) {
                    self.tell(m, Event::LeaseHeld);
                } else {
                    self.fails(m);
                }
            }
        }
    }
}
