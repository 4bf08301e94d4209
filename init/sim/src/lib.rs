//! Formation under an adversary: the real machine (`nodeimg_init_core::formation::step`) on one, three or five listed nodes, those
//! that are added later and a guest, in a simulated world: disks with synced and unsynced writes, an asynchronous lossy
//! network, an abstract etcd and API, clocks, and an [`adversary`] whose docs say what is beyond protection.
//!
//! Takes a [`Schedule`], gives an [`Outcome`]. Pure: a schedule always goes the same way. Touches nothing.
//!
//! Checked at every moment: no acknowledged write is lost or forked, no member is begun twice, at most one birth has a
//! quorum while data of another lives, nobody starts a birth that could know of another or beside a disk that has started one, no living member is evicted, no gate opens without a record, no recorded step is
//! run again under the Lease. At the end: everybody is steady, or has a reason by name that the damage explains.

// An event carries what a node would have read; errors of it are values of the simulation, made rarely.
#![allow(clippy::result_large_err)]

pub mod adversary;
mod cluster;
pub mod diagram;
pub mod etcd;
pub mod machine;
pub mod mutant;
mod perform;
mod plan;
mod questions;
pub mod random;
pub mod schedule;
pub mod verdict;
pub mod world;

pub use mutant::Mutant;
pub use schedule::Schedule;
pub use verdict::Outcome;
pub use world::{Setting, Violation};

use std::collections::BTreeMap;

/// Lengths of the seed's list, in turn.
pub const NODES: [usize; 5] = [3, 5, 3, 1, 5];

/// What a run of many schedules gave.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each outcome came.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The first schedule that violated a property.
    pub worst: Option<Schedule>,
    /// One seed of each outcome.
    pub seeds: BTreeMap<Outcome, u64>,
}

impl Tally {
    /// How many schedules were run.
    pub fn schedules(&self) -> u64 {
        self.outcomes.values().sum()
    }
}

/// Runs the schedules of these seeds on `threads` threads. Stops at the first violation if `stop`.
pub fn run(
    seeds: std::ops::Range<u64>,
    nodes: &[usize],
    mutant: Option<Mutant>,
    threads: u64,
    stop: bool,
) -> Tally {
    let found = std::sync::atomic::AtomicBool::new(false);
    let one = |thread: u64| {
        let mut tally = Tally::default();
        for seed in seeds.clone().filter(|s| s % threads == thread) {
            if stop && found.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            let listed = nodes.get(seed as usize % nodes.len().max(1)).copied().unwrap_or(3);
            let schedule = Schedule::of(seed, listed, mutant);
            let (outcome, _) = schedule.run(false);
            if matches!(outcome, Outcome::Violated(_)) {
                found.store(true, std::sync::atomic::Ordering::Relaxed);
                tally.worst.get_or_insert(schedule);
            }
            tally.seeds.entry(outcome.clone()).or_insert(seed);
            *tally.outcomes.entry(outcome).or_default() += 1;
        }
        tally
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|t| scope.spawn(move || one(t))).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        for (outcome, count) in tally.outcomes {
            *all.outcomes.entry(outcome).or_default() += count;
        }
        for (outcome, seed) in tally.seeds {
            all.seeds.entry(outcome).and_modify(|s| *s = seed.min(*s)).or_insert(seed);
        }
        if let Some(schedule) = tally.worst
            && all.worst.as_ref().is_none_or(|w| schedule.seed < w.seed)
        {
            all.worst = Some(schedule);
        }
    }
    all
}
