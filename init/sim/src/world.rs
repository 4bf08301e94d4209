//! The world: machines, the network between them, time, and what is true of every token whatever the disks say.

use crate::diagram::Ways;
use crate::etcd::{Change, Data, Listed, Log, Truth};
use crate::machine::{Machine, cannot_say};
use crate::mutant::Mutant;
use crate::random::Random;
use nodeimg_contract::birth::{BirthId, Incarnation, Method, Permit};
use nodeimg_init_core::formation::{
    ClusterRecord, ClusterStep, Event, Kind, Listed as ListedNode, Now, Rules, Seeded, State, step,
};
use nodeimg_init_core::kubeadm::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A quorum went on without an entry that had been acknowledged, or with another one in its place.
    Lost,
    /// A member's folder was made twice.
    StartedTwice,
    /// A birth has a quorum while data of another, which had one, lives.
    TwoBirths,
    /// A node was the first to start a birth while the disk of another listed node has started another.
    TwoStarted,
    /// A node was the first to start a birth although a living member of another one answered it behind the endpoint, or
    /// had asked it from outside of the list.
    Heedless,
    /// A member was removed that lived when its remover looked.
    Evicted,
    /// A gate opened without a record for it.
    GateWithoutRecord,
    /// A step was run by the holder of the Lease although the cluster had recorded it.
    StepAgain,
    /// The adversary has stopped, and a node neither ends steady nor has a reason that the damage explains.
    Stuck(String),
}

/// What a schedule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Nodes in the seed's list.
    pub listed: usize,
    /// How participants are chosen.
    pub method: Method,
    /// Answers and acknowledgements that get lost, of 100.
    pub loss: usize,
    /// The endpoint's name leads to the listed nodes alone.
    pub narrow: bool,
    /// What the last machine is, which has no etcd: a worker, or a load balancer.
    pub guest: Kind,
    /// Which mistake is built in.
    pub mutant: Option<Mutant>,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) setting: Setting,
    pub(crate) random: Random,
    /// Milliseconds.
    pub(crate) time: u64,
    pub(crate) machines: Vec<Machine>,
    /// Which machine is at an address, by slot.
    pub(crate) owner: Vec<usize>,
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    pub(crate) lists: Vec<Vec<Listed>>,
    pub(crate) records: Vec<ClusterRecord>,
    pub(crate) tokens: Vec<BirthId>,
    pub(crate) truth: Vec<Truth>,
    pub(crate) made: BTreeMap<(usize, u64), usize>,
    pub(crate) next_id: u64,
    pub(crate) writes: u32,
    pub(crate) incarnations: u32,
    pub(crate) calm: bool,
    pub(crate) consent: BTreeSet<usize>,
    /// The moment of the last durable change.
    pub(crate) changed: u64,
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// What happened, for people; kept only when it is asked for.
    pub trace: Option<Vec<String>>,
    /// Ways between the machine's places; kept only when they are asked for.
    pub(crate) ways: Option<Ways>,
}

/// Machines but clones: the listed, one or (to grow from one to three) two that are added later, and a
/// guest (worker or load balancer).
pub const fn machines(listed: usize) -> usize {
    listed + if listed == 1 { 3 } else { 2 }
}

impl World {
    /// All machines off and blank.
    pub fn new(setting: Setting, seed: u64) -> Self {
        let slots = machines(setting.listed);
        let machines = (0..slots).map(|slot| Machine::new(slot, seeded(&setting, slot), false)).collect();
        Self {
            random: Random::new(seed),
            time: 0,
            machines,
            owner: (0..slots).collect(),
            cuts: BTreeSet::new(),
            lists: Vec::new(),
            records: Vec::new(),
            tokens: Vec::new(),
            truth: Vec::new(),
            made: BTreeMap::new(),
            next_id: 10_000,
            writes: 0,
            incarnations: 0,
            calm: false,
            consent: BTreeSet::new(),
            changed: 0,
            violation: None,
            trace: None,
            ways: None,
            setting,
        }
    }

    /// One moment: one machine does one thing, or etcd does something by itself.
    pub fn moment(&mut self) {
        self.time += 20;
        let awake: Vec<usize> = (0..self.machines.len())
            .filter(|m| {
                self.machines[*m].power
                    && self.machines[*m].wakes <= self.time
                    && self.machines[*m].action.is_some()
            })
            .collect();
        let etcds = self.machines.iter().filter(|m| m.running().is_some()).count();
        if etcds > 0 && (awake.is_empty() || self.random.chance(12)) && (!self.calm || self.random.chance(50))
        {
            self.etcd_moment();
        }
        self.members_ask();
        match awake.len() {
            0 => {
                let next =
                    self.machines.iter().filter(|m| m.power && m.action.is_some()).map(|m| m.wakes).min();
                if let Some(next) = next {
                    self.time = self.time.max(next);
                }
            }
            n => {
                let m = awake[self.random.below(n)];
                self.perform(m);
            }
        }
    }

    pub(crate) fn violate(&mut self, what: Violation) {
        if self.trace.is_some() {
            self.note(&format!("VIOLATION {what:?}"));
        }
        self.violation.get_or_insert(what);
    }

    pub(crate) fn note(&mut self, text: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} ms  {text}", self.time));
        }
    }

    pub(crate) fn rules(&self) -> Rules {
        self.setting.mutant.map_or(Rules::ALL, Mutant::rules)
    }
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.setting.mutant == Some(mutant)
    }

    pub(crate) fn now(&self, m: usize) -> Now {
        let wall = START + (self.time / 1000) as i64 + self.machines[m].skew;
        Now {
            monotonic: Duration::from_millis(self.time),
            wall: jiff::Timestamp::from_second(wall).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    /// Tells a machine what happened.
    pub(crate) fn tell(&mut self, m: usize, event: Event) {
        let Some(state) = &self.machines[m].state else { return };
        let (state, actions) = step(state, event, self.now(m));
        if let Some(ways) = &mut self.ways
            && let Some(before) = &self.machines[m].state
        {
            ways.note((before, self.machines[m].action.as_ref()), (&state, actions.first()));
        }
        let standing = state.standing();
        let machine = &mut self.machines[m];
        machine.standing = standing;
        machine.state = Some(state);
        machine.action = actions.into_iter().next();
        machine.progress = crate::machine::Progress::Begun;
        if self.trace.is_some() {
            let text = format!("{} wants {:?}", self.name(m), self.machines[m].action);
            self.note(&text);
        }
    }

    pub(crate) fn name(&self, m: usize) -> String {
        let machine = &self.machines[m];
        format!("{}{}", machine.seeded.name, if machine.clone { "'" } else { "" })
    }

    /// Power on: the disks are read.
    pub(crate) fn power_on(&mut self, m: usize) {
        if self.machines[m].power {
            return;
        }
        self.incarnations += 1;
        let fresh = Incarnation(format!("{:032x}", self.incarnations));
        let rules = self.rules();
        let time = self.time;
        let absent_is_blank = self.is(Mutant::AbsentIsBlank);
        let machine = &mut self.machines[m];
        machine.power = true;
        machine.boots += 1;
        machine.on_since = time;
        machine.wakes = time;
        if machine.detached.is_some() {
            machine.standing = cannot_say("its disk is absent");
            if !absent_is_blank || machine.detached == Some(false) {
                return;
            }
            if machine.shelf.is_none() {
                machine.shelf =
                    Some((std::mem::take(&mut machine.etcd_disk), std::mem::take(&mut machine.state_disk)));
            }
        }
        machine.state = Some(State::with_rules(machine.seeded.clone(), rules));
        let event = machine.disks(fresh);
        self.tell(m, event);
    }

    pub(crate) fn power_off(&mut self, m: usize) {
        self.stamp();
        let kept = self.random.chance(50);
        self.machines[m].power_off(kept);
    }

    /// Whether a message from one machine reaches another, and the answer comes back: it goes to whoever has the address.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        let (a, b) = (from.min(to), from.max(to));
        self.machines[from].power
            && self.machines[to].power
            && self.owner[self.machines[to].slot] == to
            && !self.cuts.contains(&(a, b))
    }

    /// Everybody notes whose etcd it hears now.
    pub(crate) fn stamp(&mut self) {
        for to in 0..self.machines.len() {
            let Some(token) = self.machines[to].running().map(|d| d.token) else { continue };
            let Some(incarnation) =
                self.machines[to].etcd_disk.record.as_ref().map(|r| r.incarnation().clone())
            else {
                continue;
            };
            for from in 0..self.machines.len() {
                let same = self.machines[from].running().is_some_and(|d| d.token == token);
                if from != to && same && self.reaches(from, to) {
                    self.machines[from].contact.insert(incarnation.clone(), self.time);
                }
            }
        }
    }

    pub(crate) fn token(&mut self, birth: &BirthId) -> usize {
        if self.is(Mutant::FixedToken) && !self.tokens.is_empty() {
            return 0;
        }
        if let Some(n) = self.tokens.iter().position(|t| t == birth) {
            return n;
        }
        self.tokens.push(birth.clone());
        self.truth.push(Truth::default());
        self.tokens.len() - 1
    }

    pub(crate) fn list(&mut self, members: Vec<Listed>) -> usize {
        self.lists.push(members);
        self.lists.len() - 1
    }

    /// Makes a member's folder: once in the life of an id.
    pub(crate) fn make(&mut self, m: usize, token: usize, id: u64, base: usize) {
        if self.made.insert((token, id), m).is_some() {
            self.violate(Violation::StartedTwice);
        }
        self.machines[m].etcd_disk.data = Some(Data { token, id, term: 0, base, log: Log::default() });
        self.machines[m].etcd_runs = true;
        self.changed = self.time;
        if self.trace.is_some() {
            let text = format!("{}: etcd begins as member {id} of birth {token}", self.name(m));
            self.note(&text);
        }
    }

    /// Something that etcd does by itself.
    fn etcd_moment(&mut self) {
        for m in 0..self.machines.len() {
            self.start_etcd(m);
        }
        let running: Vec<usize> =
            (0..self.machines.len()).filter(|m| self.machines[*m].running().is_some()).collect();
        if running.is_empty() {
            return;
        }
        let from = running[self.random.below(running.len())];
        let Some(token) = self.machines[from].running().map(|d| d.token) else { return };
        if self.publish(from, token) {
            return;
        }
        if !self.calm && self.writes < 30 {
            self.writes += 1;
            self.commit(from, token, Change::Write(self.writes));
        } else {
            self.read(from, token);
        }
    }
}

/// The simulated calendar begins here: 2026-01-01.
pub const START: i64 = 1_767_225_600;
/// The permit ends this many seconds later.
pub const PERMIT: i64 = 7 * 86_400;

/// The address of a slot.
pub fn address(slot: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, slot as u8 + 1))
}

/// The slot of an address.
pub fn slot_of(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(v4) => usize::from(v4.octets()[3]).checked_sub(1),
        IpAddr::V6(_) => None,
    }
}

/// The name of a slot.
pub fn name(slot: usize) -> String {
    format!("n{slot}")
}

fn seeded(setting: &Setting, slot: usize) -> Seeded {
    let permit = Permit {
        cluster: "c".into(),
        nonce: "n".into(),
        not_after: jiff::Timestamp::from_second(START + PERMIT).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
    };
    let guest = slot + 1 == machines(setting.listed);
    let list = (0..setting.listed).map(|s| ListedNode { name: name(s), address: address(s) }).collect();
    Seeded {
        name: name(slot),
        address: address(slot),
        kind: if guest { setting.guest } else { Kind::StackedControlPlane },
        listed: if guest { Vec::new() } else { list },
        permit: (slot < setting.listed).then_some(permit),
        method: setting.method,
        without: BTreeSet::new(),
        adopt: false,
        steps: vec![ClusterStep::Kubeadm(Phase::UploadConfig), ClusterStep::Rbac],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        for slot in 0..9 {
            assert_eq!(slot_of(address(slot)), Some(slot));
        }
    }
}
