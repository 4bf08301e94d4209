//! etcd in this world: who leads, what is acknowledged, what a node may see and change through it.

use crate::etcd::{Change, Data, Entry, Listed, Log};
use crate::machine::Machine;
use crate::world::{Violation, World, address, name};
use nodeimg_contract::birth::Incarnation;
use nodeimg_init_core::formation::{ClusterView, EtcdMember, NodeSeen, Silence};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A majority, and the one of it that leads.
struct Quorum {
    leader: usize,
    voters: Vec<usize>,
}

impl World {
    fn data(&self, m: usize) -> Option<&Data> {
        self.machines[m].etcd_disk.data.as_ref()
    }

    /// The quorum that an etcd at `from` finds, if any: not always the largest.
    fn quorum(&mut self, from: usize, token: usize) -> Option<Quorum> {
        let there: Vec<usize> = (0..self.machines.len())
            .filter(|m| {
                self.machines[*m].running().is_some_and(|d| d.token == token)
                    && (*m == from || self.reaches(from, *m))
                    && self.owner[self.machines[*m].slot] == *m
            })
            .collect();
        if !self.calm && there.len() > 1 && self.random.chance(40) {
            let mut fewer = there.clone();
            fewer.remove(self.random.below(fewer.len()));
            if let Some(quorum) = self.majority_of(&fewer) {
                return Some(quorum);
            }
        }
        self.majority_of(&there)
    }

    fn majority_of(&self, there: &[usize]) -> Option<Quorum> {
        let id = |m: usize| self.data(m).map(|d| d.id);
        let list = |m: usize| self.data(m).map(|d| &self.lists[d.members()]);
        let votes = |m: usize, list: &[Listed]| list.iter().any(|l| Some(l.id) == id(m) && !l.learner);
        // Who has the longest log of all that vote by their own list leads, if its list's majority is there.
        let leader = there
            .iter()
            .copied()
            .filter(|m| list(*m).is_some_and(|l| votes(*m, l)))
            .max_by_key(|m| self.data(*m).map(Data::end))?;
        let list = list(leader)?;
        let voters: Vec<usize> = there.iter().copied().filter(|m| votes(*m, list)).collect();
        let of = list.iter().filter(|l| !l.learner).count();
        (voters.len() * 2 > of).then_some(Quorum { leader, voters })
    }

    /// Has etcd take an entry. `true`: acknowledged.
    pub(crate) fn commit(&mut self, from: usize, token: usize, change: Change) -> bool {
        let Some(Quorum { leader, voters }) = self.quorum(from, token) else { return false };
        let term =
            voters.iter().filter_map(|m| self.data(*m)).map(|d| d.term.max(d.end().0)).max().unwrap_or(0) + 1;
        // Who leads in a term has a majority's votes for it, whatever comes of its entry.
        for m in &voters {
            if let Some(d) = &mut self.machines[*m].etcd_disk.data {
                d.term = term;
            }
        }
        let Some(mut log) = self.data(leader).map(|d| d.log.clone()) else { return false };
        Arc::make_mut(&mut log).push(Entry { term, change });
        let fails = !self.calm && self.random.chance(5);
        let minority =
            self.lists[self.data(leader).map_or(0, Data::members)].iter().filter(|l| !l.learner).count() / 2;
        let reached: Vec<usize> = if fails {
            // The leader and fewer than make a majority: nothing is acknowledged, but it lies there.
            let few = self.random.below(minority.max(1));
            std::iter::once(leader).chain(voters.into_iter().filter(|v| *v != leader).take(few)).collect()
        } else {
            voters
        };
        if fails && reached.len() > minority {
            return false;
        }
        for m in &reached {
            if let Some(d) = &mut self.machines[*m].etcd_disk.data {
                d.log.clone_from(&log);
            }
        }
        if fails {
            return false;
        }
        self.acknowledge(token, &log);
        self.feed_learners(leader, &log);
        true
    }

    /// A linearizable read: the leader's data.
    pub(crate) fn read(&mut self, from: usize, token: usize) -> Option<Data> {
        let Quorum { leader, voters } = self.quorum(from, token)?;
        let log = self.data(leader)?.log.clone();
        // A leader knows what is committed once an entry of its own is: nothing is read from an empty log.
        let settled = !log.is_empty()
            && voters.iter().all(|m| self.data(*m).is_some_and(|d| d.log == log))
            && self.truth[token].acknowledged == log;
        if settled {
            self.feed_learners(leader, &log);
        } else if !self.commit(from, token, Change::Nothing) {
            return None;
        }
        let mut data = self.data(leader)?.clone();
        data.log.clone_from(&self.truth[token].acknowledged);
        Some(data)
    }

    fn feed_learners(&mut self, leader: usize, log: &Log) {
        let Some(token) = self.data(leader).map(|d| d.token) else { return };
        let Some(list) = self.data(leader).map(|d| self.lists[d.members()].clone()) else { return };
        for m in 0..self.machines.len() {
            let listed = self.machines[m].running().filter(|d| d.token == token).map(|d| d.id);
            if list.iter().any(|l| Some(l.id) == listed)
                && (self.reaches(leader, m))
                && (self.calm || self.random.chance(50))
                && let Some(d) = &mut self.machines[m].etcd_disk.data
            {
                d.log = log.clone();
            }
        }
    }

    /// A majority holds this log: it must go on from everything that was ever acknowledged.
    fn acknowledge(&mut self, token: usize, log: &Log) {
        let before = std::mem::take(&mut self.truth[token].acknowledged);
        if log.len() < before.len() || log[..before.len()] != before[..] {
            self.violate(Violation::Lost);
        }
        if before.is_empty() {
            let lives = (0..self.tokens.len()).any(|other| {
                other != token && !self.truth[other].acknowledged.is_empty() && self.lives(other)
            });
            if lives {
                self.violate(Violation::TwoBirths);
            }
            if self.trace.is_some() {
                self.note(&format!("birth {token} has a quorum"));
            }
        }
        self.truth[token].acknowledged = log.clone();
        self.changed = self.time;
    }

    /// Whether any disk of a listed node, attached or not, holds data of a token. One whose address a clone has cannot be
    /// asked, so it does not count.
    pub(crate) fn lives(&self, token: usize) -> bool {
        let of = |d: &Option<Data>| d.as_ref().is_some_and(|d| d.token == token && !d.log.is_empty());
        let is_listed = |(m, machine): &(usize, &Machine)| {
            machine.slot < self.setting.listed && self.owner[machine.slot] == *m
        };
        let mut listed = self.machines.iter().enumerate().filter(is_listed);
        listed.any(|(_, m)| of(&m.etcd_disk.data) || m.shelf.as_ref().is_some_and(|s| of(&s.0.data)))
    }

    /// A member that was added and runs tells its name.
    pub(crate) fn publish(&mut self, from: usize, token: usize) -> bool {
        let Some(data) = self.read(from, token) else { return false };
        let mut list = self.lists[data.members()].clone();
        let starting = list.iter_mut().find(|l| {
            !l.published
                && self
                    .machines
                    .iter()
                    .any(|m| m.running().is_some_and(|d| d.id == l.id && !d.log.is_empty()))
        });
        let Some(member) = starting else { return false };
        member.published = true;
        let list = self.list(list);
        self.commit(from, token, Change::Members(list))
    }

    /// The kubelet's etcd: it starts when it may.
    pub(crate) fn start_etcd(&mut self, m: usize) {
        let machine = &self.machines[m];
        if !machine.power || !machine.kubelet || machine.etcd_runs {
            return;
        }
        let Some(manifest) = machine.state_disk.manifest.clone() else { return };
        let slot = machine.slot;
        // It makes its folder before it knows whether it may start.
        self.machines[m].etcd_disk.folder = true;
        if self.machines[m].etcd_disk.data.is_some() {
            self.machines[m].etcd_runs = true;
        } else if !manifest.existing {
            let id = born_id(manifest.token, slot);
            self.make(m, manifest.token, id, manifest.list);
        } else if let Some(data) =
            self.through(m, manifest.token).and_then(|via| self.read(via, manifest.token))
        {
            let list = &self.lists[data.members()];
            let mut ids: Vec<u64> = list.iter().map(|l| l.id).collect();
            ids.sort_unstable();
            if ids == manifest.members
                && let Some(id) = list.iter().find(|l| l.slot == slot).map(|l| l.id)
            {
                self.make(m, manifest.token, id, manifest.list);
            }
        }
    }

    /// A machine whose etcd has a quorum of this token and lets `m` look through it: its own, or one that it reaches.
    pub(crate) fn through(&mut self, m: usize, token: usize) -> Option<usize> {
        let mut order: Vec<usize> = (0..self.machines.len())
            .filter(|v| {
                self.machines[*v].running().is_some_and(|d| d.token == token)
                    && (*v == m || self.reaches(m, *v))
            })
            .collect();
        if !order.is_empty() {
            let n = self.random.below(order.len());
            order.rotate_left(n);
        }
        order.into_iter().find(|v| self.quorum(*v, token).is_some())
    }

    /// One look of `m` at the cluster, through `via`.
    pub(crate) fn view(&mut self, m: usize, via: usize, token: usize) -> Option<ClusterView> {
        self.stamp();
        let data = self.read(via, token)?;
        let list = self.lists[data.members()].clone();
        let record = data.record().map(|r| self.records[r].at_version(r.to_string()));
        let slot = self.machines[m].slot;
        let runs = |l: &Listed| {
            (0..self.machines.len()).find(|o| {
                self.machines[*o].running().is_some_and(|d| d.id == l.id && d.token == token)
                    && (*o == via || self.reaches(via, *o))
            })
        };
        let members: Vec<EtcdMember> = list
            .iter()
            .map(|l| EtcdMember {
                id: l.id,
                name: if l.published { name(l.slot) } else { String::new() },
                address: address(l.slot),
                learner: l.learner,
                healthy: runs(l).is_some(),
            })
            .collect();
        let owner = self.owner[slot];
        let stale = record.as_ref().and_then(|r| r.incarnation_of(&name(slot)).cloned());
        let quiet = |of: Option<&Incarnation>| {
            let voters = list.iter().filter(|l| !l.learner).filter_map(runs);
            let since = voters.map(|v| {
                let voter = &self.machines[v];
                let heard = of.and_then(|i| voter.contact.get(i)).copied().unwrap_or(0);
                self.time - heard.max(voter.on_since).min(self.time)
            });
            Duration::from_millis(since.min().unwrap_or(0))
        };
        let stale_quiet = quiet(stale.as_ref());
        // Another node's learner.
        let learner = list.iter().find(|l| l.learner && l.slot != slot).and_then(|l| {
            let (_, incarnation) = record.as_ref()?.owner_of(l.id, address(l.slot))?;
            let owner = self.owner[l.slot];
            Some(Silence { quiet: quiet(Some(incarnation)), answers: self.reaches(via, owner) })
        });
        // What is true, for the check of removals: a member lives if its etcd runs where a voter hears it.
        self.machines[m].lived =
            list.iter().filter(|l| runs(l).is_some_and(|o| o != m)).map(|l| l.id).collect();
        Some(ClusterView {
            adopted: None,
            record,
            members,
            ailments: BTreeMap::new(),
            node: match owner != m && self.machines[owner].kubelet && self.reaches(via, owner) {
                true => NodeSeen::Ready,
                false => NodeSeen::NotReady,
            },
            quiet: stale_quiet,
            learner: learner.unwrap_or_default(),
            answers_at_stale_address: owner != m && self.reaches(via, owner),
            skew: None,
        })
    }
}

/// etcd makes the id of a member of a static list from its address and the token.
pub fn born_id(token: usize, slot: usize) -> u64 {
    (token * 100 + slot + 1) as u64
}
