//! The ways that the machine goes between its places, as a Mermaid state diagram and two tables: the docs' picture of
//! formation is made from the code that runs.
//!
//! Takes schedules, gives text. A way is drawn if some schedule went it; what a node waits for, and what it refuses, is
//! listed by the place where it did so.

use crate::Schedule;
use nodeimg_contract::fault::Code;
use nodeimg_init_core::formation::{Action, GivingUp, Place, State, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Of the page in the docs.
pub const SCHEDULES: u64 = 3_000;

/// What was seen in one or many schedules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    ways: BTreeMap<(Place, Place), BTreeSet<&'static str>>,
    stops: BTreeMap<(Place, bool), BTreeSet<(Code, &'static str)>>,
}

impl Ways {
    /// One step of one machine: what was known and being done, what is known and wanted now.
    pub(crate) fn note(&mut self, from: (&State, Option<&Action>), to: (&State, Option<&Action>)) {
        let (before, after) = (from.0.place(from.1), to.0.place(to.1));
        if before != after {
            let done = from.1.map_or("reads its disks", done);
            self.ways.entry((before, after)).or_default().insert(done);
        }
        match to.1 {
            Some(Action::Wait(wait)) => {
                self.stops.entry((after, true)).or_default().insert((wait.fault().code, waits_for(wait)));
            }
            Some(Action::Refuse(refusal)) => {
                let fault = refusal.fault();
                self.stops.entry((after, false)).or_default().insert((fault.code, fault.code.title()));
            }
            _ => {}
        }
    }

    fn add(&mut self, other: Ways) {
        for (way, done) in other.ways {
            self.ways.entry(way).or_default().extend(done);
        }
        for (stop, what) in other.stops {
            self.stops.entry(stop).or_default().extend(what);
        }
    }

    /// What so many schedules of three listed nodes, one added and a guest go through.
    pub fn of(schedules: u64) -> Self {
        let mut all = Ways::default();
        for seed in 1..=schedules {
            all.add(Schedule::of(seed, 3, None).ways());
        }
        all
    }

    /// The page.
    pub fn page(&self, schedules: u64) -> String {
        let mut page = String::from(HEAD);
        page.push_str("```mermaid\nstateDiagram-v2\n    [*] --> Dark\n");
        for ((from, to), done) in &self.ways {
            let done: Vec<&str> = done.iter().copied().collect();
            // Mermaid ends a label at a colon or semicolon; the words have neither.
            let _ = writeln!(page, "    {from:?} --> {to:?} : {}", done.join(" / "));
        }
        page.push_str("```\n");
        for (waits, title) in [(true, "What a node waits for"), (false, "What a node refuses")] {
            let _ = writeln!(page, "\n## {title}\n\n| where | what |\n| --- | --- |");
            for ((place, is_wait), what) in &self.stops {
                if *is_wait == waits {
                    let what: Vec<String> =
                        what.iter().map(|(code, words)| format!("{words} ({code})")).collect();
                    let _ = writeln!(page, "| {place:?} | {} |", what.join("<br>"));
                }
            }
        }
        let _ = writeln!(
            page,
            "\nDrawn from {schedules} schedules of `formation-sim`. A power cut leads from everywhere to `Dark`, and is left out."
        );
        page
    }
}

const HEAD: &str = "# The states of formation\n\n\
    Made from the code: `cargo run -p nodeimg-formation-sim --bin formation-sim -- --diagram > docs/formation-states.md`; \
    a test compares.\nWhat each place means: `init/core/src/formation/place.rs`; what each fault means: \
    [faults.md](faults.md); the story: [formation.md](formation.md).\n\n";

/// What has been done when an action's event came.
fn done(action: &Action) -> &'static str {
    match action {
        Action::WriteRecord(_) => "record synced",
        Action::WriteNodeRecord(_) => "pin synced",
        Action::AskPeers => "peers answered",
        Action::LookAtCluster(_) => "cluster seen",
        Action::RemoveMember(_) => "stale member removed",
        Action::AddLearner => "learner added",
        Action::Promote => "promoted",
        Action::Render(_) | Action::RenderKubelet => "files written",
        Action::SettleEtcd => "manifest says existing",
        Action::StartAfresh(GivingUp::Removed) => "cleared, was removed",
        Action::StartAfresh(GivingUp::Worthless) => "cleared, held nothing",
        Action::OpenGate(_) => "gate opened",
        Action::CloseGate => "gate closed",
        Action::AwaitApi => "API server ready",
        Action::AskExternalEtcd => "etcd answered",
        Action::ReadClusterRecord => "cluster record read",
        Action::WriteClusterRecord(_) => "cluster record written",
        Action::HoldLease => "lease held",
        Action::RunSteps(_) => "cluster set up",
        Action::RunNodeSteps => "own last steps done",
        Action::RemoveSuperAdmin => "super-admin.conf removed",
        Action::AwaitNode => "Node is Ready",
        Action::Steady => "watched",
        Action::Wait(_) => "waited",
        Action::Refuse(_) => "refused",
    }
}

fn waits_for(wait: &Wait) -> &'static str {
    match wait {
        Wait::Peers(_) => "an answer from everybody in the list",
        Wait::Promises(_) => "the others to promise the same birth",
        Wait::Participant(_) => "the one participant to start",
        Wait::Cluster(_) => "the cluster to answer",
        Wait::SickMember { .. } => "a sick member of etcd",
        Wait::Outside(_) => "the cluster outside of the list to let it in",
        Wait::ClusterRecord => "the cluster to publish its birth",
        Wait::Learner(_) => "another learner to become a voter",
        Wait::NodeStillReady => "the Node of this name to be NotReady",
        Wait::StaleMember(_) => "leave to remove its old member",
        Wait::Promotion(_) => "etcd to promote it",
        Wait::OwnEtcd => "its own etcd to begin",
        Wait::Lease(_) => "the holder of the Lease to set up the cluster",
        Wait::Quorum(_) => "lost disks, or an operator's recover",
    }
}
