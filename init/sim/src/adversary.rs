//! The adversary: what it may do, and when.
//!
//! # What is beyond protection, and so not done here
//!
//! - *Both disks of a node put back together*, or one of them put back and the other wiped, after its etcd acknowledged writes: nothing on the machine knows better. (An
//!   etcd file system put back alone to before the last boot is noticed, by the openings of the gate that both disks
//!   count; one put back to a moment of the boot that has just ended is not: copies are taken of a machine that is off,
//!   and the node has been on since.)
//! - *A copy of a disk that holds data*, run beside the original or in its place: the same thing.
//! - *False consent*: `without` names a node that is off and has never started a birth. An operator who names a node that
//!   holds the cluster's data gives up that data. Consent names the same nodes everywhere in the end, though seeds with
//!   and without it may be in use at once. Who wipes a node gives it a seed that does not name one that came after all:
//!   where all others are wiped, nobody is left who knows that it did.
//! - *A cluster that nobody hears of*: its data lives only on nodes outside of the seed's list, and these are off, or cut
//!   off from every node that starts a birth, when all listed nodes have been wiped while their permit holds. So only disks
//!   of listed nodes count for "data of another birth lives"; whoever could know starts nothing (`Heedless`).
//! - *Two machines under one name while nobody else of the list knows of a birth*: a clone of a seed is switched on once
//!   another node holds the cluster's data, one that it can know of (in the list, or behind the endpoint), and never with a
//!   list of one. After that it may come and go, and have the address or not, until nobody else holds data.
//! - *A machine that is exchanged twice within one round of questions*: an exchange takes a power cycle.
//! - *A forged certificate*, a disk that lies about a sync, hands in the record or in etcd.

use crate::machine::{EtcdDisk, Machine, StateDisk};
use crate::world::{PERMIT, World, machines, name};
use nodeimg_contract::birth::Method;
use nodeimg_init_core::formation::{EtcdData, Event};
use std::collections::BTreeSet;

/// One thing that the adversary does. Machines by number: the listed, those that are added later, the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The power goes, and comes back after so many moments (0: not by itself).
    Cut(usize, usize),
    /// It comes.
    On(usize),
    /// Both disks are wiped.
    Wipe(usize),
    /// Both disks of every listed node are.
    WipeListed,
    /// The etcd file system alone is wiped.
    WipeEtcd(usize),
    /// The state partition alone is wiped.
    WipeState(usize),
    /// The etcd file system (`true`: both) is absent from the next boot on, until it is attached.
    Detach(usize, bool),
    /// It is back.
    Attach(usize),
    /// Copies of both disks are taken while it is off.
    Copy(usize),
    /// The etcd file system is put back to its copy.
    RollbackEtcd(usize),
    /// The state partition is.
    RollbackState(usize),
    /// Two machines hear each other no more, or again.
    Link(usize, usize),
    /// Everybody hears everybody.
    Heal,
    /// A clock goes past the permit's end, or comes back.
    Clock(usize),
    /// The operator says that a node is dead; the seed of one machine says so (or of all: the number of machines).
    Consent(usize, usize),
    /// A second machine with the seed of a node.
    Clone(usize),
    /// The address of a node goes to its clone, or back.
    Address(usize),
}

impl Blow {
    /// Reads its `Debug` form.
    pub fn from_text(text: &str, listed: usize) -> Option<Self> {
        let (name, rest) = text.split_once('(').unwrap_or((text, ")"));
        let words: Vec<&str> = rest.strip_suffix(')')?.split(", ").collect();
        let machine = |n: usize| words.get(n)?.parse::<usize>().ok().filter(|m| *m < machines(listed));
        let number = |n: usize| words.get(n)?.parse::<usize>().ok();
        Some(match name {
            "Cut" => Blow::Cut(machine(0)?, number(1)?),
            "On" => Blow::On(machine(0)?),
            "Wipe" => Blow::Wipe(machine(0)?),
            "WipeListed" => Blow::WipeListed,
            "WipeEtcd" => Blow::WipeEtcd(machine(0)?),
            "WipeState" => Blow::WipeState(machine(0)?),
            "Detach" => Blow::Detach(machine(0)?, *words.get(1)? == "true"),
            "Attach" => Blow::Attach(machine(0)?),
            "Copy" => Blow::Copy(machine(0)?),
            "RollbackEtcd" => Blow::RollbackEtcd(machine(0)?),
            "RollbackState" => Blow::RollbackState(machine(0)?),
            "Link" => Blow::Link(machine(0)?, machine(1)?),
            "Heal" => Blow::Heal,
            "Clock" => Blow::Clock(machine(0)?),
            "Consent" => Blow::Consent(machine(0)?, number(1)?),
            "Clone" => Blow::Clone(machine(0)?),
            "Address" => Blow::Address(machine(0)?),
            _ => return None,
        })
    }
}

impl World {
    /// Does it, or nothing if it is not possible now. Gives the moments until the power comes back by itself.
    pub fn strike(&mut self, blow: Blow) -> Option<(usize, usize)> {
        if self.trace.is_some() {
            self.note(&format!("== {blow:?}"));
        }
        self.stamp();
        match blow {
            Blow::Cut(m, back) => {
                self.power_off(m);
                return (back > 0).then_some((m, back));
            }
            Blow::On(m) => self.power_on(m),
            Blow::Wipe(m) => self.wipe(m),
            Blow::WipeListed => (0..self.setting.listed).for_each(|m| self.wipe(m)),
            Blow::WipeEtcd(m) if !self.machines[m].put_back => self.with_disks(m, |machine| {
                machine.copies = None;
                machine.hurt |= machine.state_disk.node.is_some();
                machine.etcd_disk = EtcdDisk::default();
            }),
            Blow::WipeState(m) if !self.machines[m].put_back => self.with_disks(m, |machine| {
                machine.copies = None;
                machine.hurt |= machine.etcd_disk.record.is_some();
                machine.state_disk = StateDisk::default();
            }),
            Blow::Detach(m, both) => {
                if self.machines[m].detached.is_none() {
                    self.power_off(m);
                    self.machines[m].detached = Some(both);
                    self.power_on(m);
                }
            }
            Blow::Attach(m) => self.attach(m),
            Blow::Copy(m) => {
                if self.machines[m].detached.is_none() {
                    self.power_off(m);
                    let machine = &mut self.machines[m];
                    machine.copies = Some((machine.etcd_disk.clone(), machine.state_disk.clone()));
                    self.power_on(m);
                }
            }
            Blow::RollbackEtcd(m) => {
                if let Some((etcd, _)) = self.machines[m].copies.take() {
                    self.with_disks(m, |machine| {
                        machine.hurt |= machine.etcd_disk != etcd;
                        machine.etcd_disk = etcd;
                        machine.put_back = true;
                    });
                }
            }
            Blow::RollbackState(m) => {
                if let Some((_, state)) = self.machines[m].copies.take() {
                    self.with_disks(m, |machine| {
                        machine.hurt |= machine.state_disk != state;
                        machine.state_disk = state;
                        machine.put_back = true;
                    });
                }
            }
            Blow::Link(a, b) if a != b => {
                let link = (a.min(b), a.max(b));
                if !self.cuts.remove(&link) {
                    self.cuts.insert(link);
                }
            }
            Blow::Link(..) | Blow::WipeEtcd(_) | Blow::WipeState(_) => {}
            Blow::Heal => self.cuts.clear(),
            Blow::Clock(m) => {
                self.machines[m].skew = if self.machines[m].skew == 0 { 2 * PERMIT } else { 0 };
            }
            Blow::Consent(dead, at) => self.consent_to(dead, at),
            Blow::Clone(m) => self.clone_of(m),
            Blow::Address(m) => {
                let clone =
                    (0..self.machines.len()).find(|c| self.machines[*c].clone && self.machines[*c].slot == m);
                if let Some(clone) = clone {
                    self.owner[m] = if self.owner[m] == m { clone } else { m };
                }
            }
        }
        None
    }

    fn wipe(&mut self, m: usize) {
        self.with_disks(m, |machine| {
            machine.etcd_disk = EtcdDisk::default();
            machine.state_disk = StateDisk::default();
            (machine.hurt, machine.put_back, machine.copies) = (false, false, None);
        });
        // Who wipes a machine gives it a seed of today: consent is withdrawn from whoever came after all.
        let has_begun = |d: &usize| self.machines[*d].has_begun();
        let over: Vec<usize> = self.consent.iter().copied().filter(has_begun).collect();
        over.iter().for_each(|d| {
            self.consent.remove(d);
        });
        self.reseed(m);
        self.end_clones_of_nobody();
    }

    /// With the last data that others hold goes the clone: it would be one address and two machines.
    fn end_clones_of_nobody(&mut self) {
        for clone in 0..self.machines.len() {
            let slot = self.machines[clone].slot;
            if self.machines[clone].clone && !self.others_hold(slot) {
                self.power_off(clone);
                self.owner[slot] = slot;
            }
        }
    }

    /// Another machine than this one holds the cluster's data, one that it can know of.
    fn others_hold(&self, m: usize) -> bool {
        let known = |o: usize| o != m && (o < self.setting.listed || !self.setting.narrow);
        let holds = |c: &Machine| !c.clone && c.etcd_disk.holds() == EtcdData::Present;
        self.machines.iter().enumerate().any(|(o, c)| known(o) && holds(c))
    }

    fn with_disks(&mut self, m: usize, change: impl FnOnce(&mut Machine)) {
        if self.machines[m].detached.is_some() {
            return;
        }
        let was_on = self.machines[m].power;
        self.power_off(m);
        change(&mut self.machines[m]);
        self.changed = self.time;
        if was_on {
            self.power_on(m);
        }
    }

    fn attach(&mut self, m: usize) {
        if self.machines[m].detached.is_none() {
            return;
        }
        let was_on = self.machines[m].power;
        self.power_off(m);
        self.machines[m].detached = None;
        if let Some((etcd, state)) = self.machines[m].shelf.take() {
            self.machines[m].etcd_disk = etcd;
            self.machines[m].state_disk = state;
        }
        if was_on {
            self.power_on(m);
        }
    }

    /// Honest: the node is off, and its disk has never started anything. One name of three, two of five.
    fn consent_to(&mut self, dead: usize, at: usize) {
        let machine = &self.machines[dead];
        let started = machine.has_begun();
        let room = self.consent.contains(&dead) || (self.consent.len() + 1) * 2 < self.setting.listed;
        if self.setting.method == Method::Recover
            || machine.power
            || started
            || machine.detached.is_some()
            || !room
        {
            return;
        }
        self.consent.insert(dead);
        let seeds: Vec<usize> =
            (0..self.machines.len()).filter(|m| at == self.setting.listed || *m == at).collect();
        for m in seeds {
            self.reseed(m);
        }
    }

    /// Gives a machine the seed with the consent of today.
    pub(crate) fn reseed(&mut self, m: usize) {
        if !self.machines[m].seeded.kind.has_etcd() {
            return;
        }
        let without: BTreeSet<String> = self.consent.iter().map(|s| name(*s)).collect();
        if self.machines[m].seeded.without == without {
            return;
        }
        self.machines[m].seeded.without = without;
        let seeded = Box::new(self.machines[m].seeded.clone());
        self.tell(m, Event::Reseeded(seeded));
    }

    fn clone_of(&mut self, m: usize) {
        let exists = self.machines.iter().any(|c| c.clone);
        if exists || !self.others_hold(m) || self.setting.listed == 1 {
            return;
        }
        let seeded = self.machines[m].seeded.clone();
        self.machines.push(Machine::new(m, seeded, true));
        let clone = self.machines.len() - 1;
        if self.random.chance(50) {
            self.owner[m] = clone;
        }
        self.power_on(clone);
    }

    /// The adversary stops: clones are gone, disks are back, everybody hears everybody, everybody is on.
    pub fn calm_down(&mut self) {
        self.note("== the adversary stops");
        self.calm = true;
        self.changed = self.time;
        self.cuts.clear();
        for m in 0..self.machines.len() {
            if self.machines[m].clone {
                self.power_off(m);
                continue;
            }
            self.attach(m);
            self.machines[m].skew = 0;
        }
        for m in 0..self.machines.len() {
            if self.machines[m].clone {
                continue;
            }
            if m < self.owner.len() {
                self.owner[m] = m;
            }
            self.reseed(m);
            self.power_on(m);
        }
    }
}
