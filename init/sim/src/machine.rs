//! One machine: two disks (the state partition and the etcd file system), each with what is synced and what is not, and
//! what runs on it until the power goes.

use crate::etcd::Data;
use crate::questions::Asked;
use nodeimg_contract::birth::Incarnation;
use nodeimg_init_core::formation::{
    Action, Answer, EtcdData, Event, NodeRecord, Record, RecordFile, Seeded, Standing, State,
};
use std::collections::BTreeMap;

/// etcd's static pod, as it was rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Token: a place in the table of tokens.
    pub token: usize,
    /// Ids of the list, in order.
    pub members: Vec<u64>,
    /// The table's place of that list.
    pub list: usize,
    /// `existing`: an empty folder is filled by the cluster's leader.
    pub existing: bool,
}

/// The state partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDisk {
    /// `formation.json`.
    pub node: Option<NodeRecord>,
    /// etcd's manifest.
    pub manifest: Option<Manifest>,
}

/// The etcd file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcdDisk {
    /// `record.json`.
    pub record: Option<Record>,
    /// etcd's own folder.
    pub data: Option<Data>,
    /// The folder was made; a member came into it only if there is data.
    pub folder: bool,
}

impl EtcdDisk {
    /// What etcd's folder holds.
    pub fn holds(&self) -> EtcdData {
        match &self.data {
            None if self.folder => EtcdData::Unstarted,
            None => EtcdData::Absent,
            Some(d) if d.log.is_empty() => EtcdData::Empty,
            Some(_) => EtcdData::Present,
        }
    }
}

/// A write that is in the page cache only.
#[derive(Debug, Clone)]
pub enum Unsynced {
    /// `record.json`.
    Record(Record),
    /// `formation.json`.
    Node(NodeRecord),
    /// The manifest.
    Manifest(Manifest),
}

/// How far an action that takes several moments has come.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Not begun.
    Begun,
    /// Slots still to ask, answers so far.
    Asking(Vec<usize>, BTreeMap<String, Answer>),
    /// Parts of a clearing that are done.
    Cleared(u8),
    /// The write is in the page cache.
    Written,
}

/// One machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Which name and address it has.
    pub slot: usize,
    /// Its seed.
    pub seeded: Seeded,
    /// On.
    pub power: bool,
    /// Its state partition; gone while it is detached.
    pub state_disk: StateDisk,
    /// Its etcd file system.
    pub etcd_disk: EtcdDisk,
    /// The etcd file system (and the state partition, if `.1`) cannot be seen.
    pub detached: Option<bool>,
    /// A mutant's: the detached disks, while empty ones stand in for them.
    pub shelf: Option<(EtcdDisk, StateDisk)>,
    /// In the page cache.
    pub unsynced: Option<Unsynced>,
    /// The machine, since it read its disks.
    pub state: Option<State>,
    /// What it says to others.
    pub standing: Standing,
    /// What it does now.
    pub action: Option<Action>,
    /// How far.
    pub progress: Progress,
    /// Nothing before this moment (milliseconds).
    pub wakes: u64,
    /// When it was powered on.
    pub on_since: u64,
    /// Its etcd runs.
    pub etcd_runs: bool,
    /// The kubelet runs: it starts etcd whenever it is not running.
    pub kubelet: bool,
    /// When it last heard of an incarnation (by its digits' number).
    pub contact: BTreeMap<Incarnation, u64>,
    /// How far its wall clock is off, seconds.
    pub skew: i64,
    /// When it asks the list again, as a member.
    pub asks_at: u64,
    /// Members that asked it, by slot.
    pub askers: BTreeMap<usize, Asked>,
    /// Members that lived when it last looked, its own left out.
    pub lived: Vec<u64>,
    /// Copies of the etcd file system and the state partition, taken while it was off, with the openings of its gate then.
    pub copies: Option<(EtcdDisk, StateDisk)>,
    /// Power-ons so far.
    pub boots: u32,
    /// A second machine with the seed of a slot.
    pub clone: bool,
    /// What the adversary did to its disks that no node can heal.
    pub hurt: bool,
    /// One of its disks was put back to an earlier state.
    pub put_back: bool,
    /// What it last waited for, refused, or was content with.
    pub last: Option<Action>,
}

impl Machine {
    /// It has started a birth or gone to join one, or its etcd has begun.
    pub fn has_begun(&self) -> bool {
        let disk = &self.etcd_disk;
        disk.record.as_ref().is_some_and(|r| r.cluster().is_some()) || disk.holds() != EtcdData::Absent
    }

    /// Off, with empty disks.
    pub fn new(slot: usize, seeded: Seeded, clone: bool) -> Self {
        Self {
            slot,
            seeded,
            power: false,
            state_disk: StateDisk::default(),
            etcd_disk: EtcdDisk::default(),
            detached: None,
            shelf: None,
            unsynced: None,
            state: None,
            standing: cannot_say("off"),
            action: None,
            progress: Progress::Begun,
            wakes: 0,
            on_since: 0,
            etcd_runs: false,
            kubelet: false,
            contact: BTreeMap::new(),
            skew: 0,
            asks_at: 0,
            askers: BTreeMap::new(),
            lived: Vec::new(),
            copies: None,
            boots: 0,
            clone,
            hurt: false,
            put_back: false,
            last: None,
        }
    }

    /// The power goes: what is not synced is lost, or (`kept`) had reached the disk.
    pub fn power_off(&mut self, kept: bool) {
        if let Some(write) = self.unsynced.take().filter(|_| kept) {
            self.store(write);
        }
        self.power = false;
        self.state = None;
        self.standing = cannot_say("off");
        self.action = None;
        self.progress = Progress::Begun;
        self.etcd_runs = false;
        self.kubelet = false;
        self.contact.clear();
        self.askers.clear();
        self.lived.clear();
        self.last = None;
    }

    /// Puts a write on its disk.
    pub fn store(&mut self, write: Unsynced) {
        match write {
            Unsynced::Record(r) => self.etcd_disk.record = Some(r),
            Unsynced::Node(n) => self.state_disk.node = Some(n),
            Unsynced::Manifest(m) => self.state_disk.manifest = Some(m),
        }
    }

    /// What it reads after power-on.
    pub fn disks(&self, fresh: Incarnation) -> Event {
        Event::Disks {
            record: self.etcd_disk.record.clone().map_or(RecordFile::Missing, RecordFile::Good),
            node: self.state_disk.node.clone().map_or(RecordFile::Missing, RecordFile::Good),
            etcd: self.etcd_disk.holds(),
            fresh,
        }
    }

    /// The data of an etcd that runs.
    pub fn running(&self) -> Option<&Data> {
        self.etcd_disk.data.as_ref().filter(|_| self.power && self.etcd_runs)
    }
}

/// A node that says nothing of its record.
pub fn cannot_say(why: &str) -> Standing {
    Standing::CannotSay { reason: why.into() }
}
