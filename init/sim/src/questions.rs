//! Questions in this world: the rounds of a node, what answers behind the endpoint, and members that ask others. Here is
//! the check that nobody starts a birth although it could know of another.
//!
//! The endpoint's name leads to every control plane, or to the listed ones alone ([`crate::Setting::narrow`]); an API
//! server answers there as long as its etcd runs, with a quorum or without. A connection to it is not lost (TCP tries
//! again); questions of peers are.

use crate::machine::{Machine, Progress};
use crate::mutant::Mutant;
use crate::world::{Violation, World, address, name, slot_of};
use nodeimg_contract::birth::BirthId;
use nodeimg_init_core::formation::{Action, Answer, Endpoint, Event, Listed, Standing};
use nodeimg_init_core::peer::Asker;
use std::collections::{BTreeMap, BTreeSet};

/// How long a member's question counts (milliseconds).
const HEARD: u64 = 30_000;
/// Between two rounds of a member's questions to the list, at most.
const ASKS: u64 = 10_000;

/// A member's question, as the one remembers it who was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The machine that asked.
    pub from: usize,
    /// What it said of itself: with the mutant `hearsay` all of it, else what fits into a question's header.
    pub standing: Standing,
    /// When.
    pub at: u64,
}

impl World {
    /// One peer's answer; when all are there, the endpoint's, and the event.
    pub(crate) fn ask(&mut self, m: usize) {
        let (mut slots, mut answers) =
            match std::mem::replace(&mut self.machines[m].progress, Progress::Begun) {
                Progress::Asking(slots, answers) => (slots, answers),
                _ => {
                    let others = self.machines[m].seeded.others().map(|l| l.address);
                    let voters = self.remembered_voters(m).into_iter().map(|v| v.address);
                    let slots: BTreeSet<usize> = others.chain(voters).filter_map(slot_of).collect();
                    let own = self.machines[m].slot;
                    (slots.into_iter().filter(|slot| *slot != own).collect(), BTreeMap::new())
                }
            };
        if slots.is_empty() {
            return self.end_of_round(m, answers);
        }
        let slot = slots.swap_remove(self.random.below(slots.len()));
        let answer = self.answer(m, slot);
        answers.insert(name(slot), answer);
        self.machines[m].progress = Progress::Asking(slots, answers);
    }

    /// As the own etcd knows them, with a quorum or without.
    fn remembered_voters(&self, m: usize) -> Vec<Listed> {
        let Some(data) = self.machines[m].running() else { return Vec::new() };
        let voters = self.lists[data.members()].iter().filter(|l| !l.learner);
        voters.map(|l| Listed { name: name(l.slot), address: address(l.slot) }).collect()
    }

    fn answer(&mut self, m: usize, slot: usize) -> Answer {
        let peer = self.owner[slot];
        if !self.reaches(m, peer) || self.is_lost() {
            return Answer::Silent("no answer".into());
        }
        let mut differs = Vec::new();
        if self.machines[m].seeded.without != self.machines[peer].seeded.without {
            differs.push("nodeimg.formation.without".into());
        }
        let standing = self.machines[peer].standing.clone();
        self.contact(m, &standing);
        Answer::Said { standing, differs }
    }

    fn contact(&mut self, m: usize, standing: &Standing) {
        if let Standing::Started { incarnation, .. } | Standing::Member { incarnation, .. } = standing {
            self.machines[m].contact.insert(incarnation.clone(), self.time);
        }
    }

    fn end_of_round(&mut self, m: usize, mut answers: BTreeMap<String, Answer>) {
        let endpoint = self.endpoint(m);
        self.askers_among(m, &mut answers);
        let before = self.started(m);
        let said: BTreeSet<usize> = (0..self.setting.listed)
            .filter(|slot| answers.get(&name(*slot)).is_some_and(|a| a.standing().is_some()))
            .collect();
        let voters = self.remembered_voters(m);
        self.tell(m, Event::PeersAnswered { answers, endpoint, voters });
        let Some(Action::WriteRecord(record)) = &self.machines[m].action else { return };
        let Some(birth) = record.started().filter(|_| before.is_none()).map(|b| b.id()) else { return };
        let is_first = (0..self.machines.len()).all(|o| self.started(o).as_ref() != Some(&birth));
        if is_first && self.could_know_of_another(m, &birth) {
            self.violate(Violation::Heedless);
        }
        if is_first && self.another_is_started(m, &birth, &said) {
            self.violate(Violation::TwoStarted);
        }
    }

    fn started(&self, m: usize) -> Option<BirthId> {
        self.machines[m].etcd_disk.record.as_ref().and_then(|r| r.started()).map(|b| b.id())
    }

    /// Whether the disk of a listed node says that it has started another birth. (With two machines under one name, a disk
    /// that was put back, or consent in its own seed to do without the silent node, it may.) `said`: who
    /// answered in the round, or had asked of late.
    fn another_is_started(&self, starter: usize, birth: &BirthId, said: &BTreeSet<usize>) -> bool {
        let without = &self.machines[starter].seeded.without;
        let started = |m: &Machine| {
            let shelf = m.shelf.as_ref().map(|(etcd, _)| etcd);
            let record = shelf.unwrap_or(&m.etcd_disk).record.as_ref();
            record.and_then(|r| r.started()).is_some_and(|b| b.id() != *birth)
        };
        let counts = |m: &&Machine| {
            let consent = without.contains(&name(m.slot)) && !said.contains(&m.slot);
            m.slot < self.setting.listed && !m.hurt && !consent
        };
        let mut listed = self.machines.iter().filter(counts);
        !self.machines.iter().any(|m| m.clone) && listed.any(started)
    }

    /// Who asked of late as a member takes part in the round: asked back, or by what it said. Of the list only where it
    /// gives no answer.
    fn askers_among(&mut self, m: usize, answers: &mut BTreeMap<String, Answer>) {
        let since = self.time.saturating_sub(HEARD);
        self.machines[m].askers.retain(|_, asked| asked.at >= since);
        for (slot, asked) in self.machines[m].askers.clone() {
            let silent = !matches!(answers.get(&name(slot)), Some(Answer::Said { .. }));
            let back = match slot < self.setting.listed {
                true => Answer::Silent("no answer".into()),
                false => self.answer(m, slot),
            };
            let answer = match back {
                Answer::Said { standing, .. } => {
                    // As long as it answers as a member, it is not forgotten.
                    if let Some(says) = self.says_when_it_asks(&standing)
                        && let Some(asked) = self.machines[m].askers.get_mut(&slot)
                    {
                        (asked.standing, asked.at) = (says, self.time);
                    }
                    Answer::Said { standing, differs: Vec::new() }
                }
                _ if self.is(Mutant::FormerLife) => {
                    Answer::Said { standing: asked.standing, differs: Vec::new() }
                }
                _ => Answer::Remembered(asked.standing),
            };
            if silent {
                answers.insert(name(slot), answer);
            }
        }
    }

    /// What a member tells of itself with a question.
    fn says_when_it_asks(&self, standing: &Standing) -> Option<Standing> {
        let says = Asker::of(standing)?.standing();
        Some(if self.is(Mutant::Hearsay) { standing.clone() } else { says })
    }

    /// API servers that a machine finds behind the endpoint.
    fn behind_the_endpoint(&self, m: usize) -> Vec<usize> {
        let is_there = |v: &usize| {
            let machine = &self.machines[*v];
            *v != m
                && machine.kubelet
                && machine.running().is_some()
                && (machine.slot < self.setting.listed || !self.setting.narrow)
                && self.reaches(m, *v)
        };
        (0..self.machines.len()).filter(is_there).collect()
    }

    fn endpoint(&mut self, m: usize) -> Endpoint {
        let there = self.behind_the_endpoint(m);
        for v in &there {
            let Some(token) = self.machines[*v].running().map(|d| d.token) else { continue };
            if let Some(record) = self.read(*v, token).and_then(|d| d.record()) {
                return Endpoint::Ours(Ok(self.records[record].birth().clone()));
            }
        }
        match there.is_empty() {
            true => Endpoint::Nothing,
            false => Endpoint::Ours(Err("its etcd has no leader, or no record yet".into())),
        }
    }

    /// Whether a living member of another birth answered behind the endpoint, or has asked from outside of the list.
    fn could_know_of_another(&self, m: usize, birth: &BirthId) -> bool {
        let other = |v: usize| {
            let data = self.machines[v].etcd_disk.data.as_ref().filter(|d| !d.log.is_empty());
            data.is_some_and(|d| {
                self.tokens[d.token] != *birth && !self.truth[d.token].acknowledged.is_empty()
            })
        };
        let said = |asked: &Asked| match &asked.standing {
            Standing::Started { birth: said, .. } => said.id() != *birth,
            Standing::Member { birth: said, holds, .. } => *holds && said != birth,
            Standing::Blank { .. } | Standing::CannotSay { .. } => false,
        };
        let mut askers = self.machines[m].askers.iter();
        self.behind_the_endpoint(m).into_iter().any(other)
            || askers.any(|(slot, a)| *slot >= self.setting.listed && said(a) && other(a.from))
    }

    /// Members ask the list again and again, and say what they are.
    pub(crate) fn members_ask(&mut self) {
        for from in 0..self.machines.len() {
            let machine = &self.machines[from];
            let is_due = machine.kubelet && machine.asks_at <= self.time && machine.state.is_some();
            if !is_due || !machine.seeded.kind.has_etcd() {
                continue;
            }
            let standing = machine.standing.clone();
            let soon = if self.calm { ASKS } else { 1 + self.random.below(ASKS as usize) as u64 };
            self.machines[from].asks_at = self.time + soon;
            let Some(says) = self.says_when_it_asks(&standing) else { continue };
            for to in (0..self.setting.listed).map(|slot| self.owner[slot]).collect::<Vec<_>>() {
                if from == to || !self.reaches(from, to) || self.is_lost() {
                    continue;
                }
                let asked = Asked { from, standing: says.clone(), at: self.time };
                let slot = self.machines[from].slot;
                self.machines[to].askers.insert(slot, asked);
                let answer = self.machines[to].standing.clone();
                self.contact(from, &answer);
            }
        }
    }
}
