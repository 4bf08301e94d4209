//! What every step of a build tells the person who waits.
//!
//! Takes: names of steps, bytes done, notes. Gives: bars with rate and time left on a terminal, plain lines
//! elsewhere, and a summary of time by step. May touch standard error, nothing else.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Plain lines about a step's bytes come at most this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shared by all steps of a run; cheap to clone.
#[derive(Clone)]
pub struct Progress {
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mode,
    finished: Mutex<Vec<Finished>>,
}

enum Mode {
    Bars(MultiProgress),
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
    /// Bytes worked on, where the step counts them.
    pub bytes: u64,
    /// Whether the cache had it.
    pub outcome: Outcome,
}

impl Progress {
    /// Bars on a terminal, plain lines elsewhere, on standard error.
    pub fn stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self::with(Mode::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8))))
        } else {
            Self::with(Mode::Plain)
        }
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
        let bar = match &self.inner.mode {
            Mode::Bars(all) => {
                let bar = all.add(ProgressBar::new_spinner().with_style(style(false)));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            Mode::Plain | Mode::Silent => None,
        };
        Step {
            progress: self.clone(),
            name: name.to_owned(),
            start: Instant::now(),
            bar,
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            said: Mutex::new(Instant::now()),
        }
    }
    /// A line of its own, above the bars.
    pub fn line(&self, text: &str) {
        match &self.inner.mode {
            Mode::Bars(all) => drop(all.println(text)),
            Mode::Plain => eprintln!("{text}"),
            Mode::Silent => {}
        }
    }
    /// The steps that have finished, in order.
    pub fn finished(&self) -> Vec<Finished> {
        self.inner.finished.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
    /// The table of time by step, one line a step.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for step in self.finished() {
            let how = match step.outcome {
                Outcome::Cached => "from the cache",
                Outcome::Built => "",
            };
            let bytes = if step.bytes > 0 { bytes(step.bytes) } else { String::new() };
            text.push_str(&format!(
                "{:<22} {:>8.2} s  {bytes:>10}  {how}",
                step.name,
                step.time.as_secs_f64()
            ));
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

fn style(with_total: bool) -> ProgressStyle {
    let form = if with_total {
        "{prefix:<22} {bar:24} {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12} ETA {eta:<5} {wide_msg}"
    } else {
        "{prefix:<22} {spinner} {elapsed:>4} {wide_msg}"
    };
    ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Bytes as a person reads them, in powers of 1000.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A step under way. Dropped without `finish`: it failed, and the error says why.
pub struct Step {
    progress: Progress,
    name: String,
    start: Instant,
    bar: Option<ProgressBar>,
    total: AtomicU64,
    done: AtomicU64,
    said: Mutex<Instant>,
}

impl Step {
    /// How many bytes there are to do, once known.
    pub fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_style(style(true));
            bar.set_length(bytes);
        }
    }
    /// More bytes done.
    pub fn add(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if let Mode::Plain = self.progress.inner.mode {
            let mut said = self.said.lock().unwrap_or_else(|e| e.into_inner());
            if said.elapsed() >= PLAIN_INTERVAL {
                *said = Instant::now();
                let rate = done as f64 / self.start.elapsed().as_secs_f64().max(0.001);
                let total = self.total.load(Ordering::Relaxed);
                let left = if total > done && rate > 0.0 {
                    format!(" of {}, {:.0} s left", bytes(total), (total - done) as f64 / rate)
                } else {
                    String::new()
                };
                eprintln!("{}: {}{left}, {}/s", self.name, bytes(done), bytes(rate as u64));
            }
        }
    }
    /// What is being worked on now.
    pub fn note(&self, text: &str) {
        match (&self.bar, &self.progress.inner.mode) {
            (Some(bar), _) => bar.set_message(text.to_owned()),
            (None, Mode::Plain) => eprintln!("{}: {text}", self.name),
            (None, _) => {}
        }
    }
    /// Ends the step.
    pub fn finish(self, outcome: Outcome) {
        let time = self.start.elapsed();
        let bytes = self.done.load(Ordering::Relaxed);
        let line = format!(
            "{}: {} in {:.1} s",
            self.name,
            if outcome == Outcome::Cached { "from the cache" } else { "done" },
            time.as_secs_f32()
        );
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.line(&line);
        let mut list = self.progress.inner.finished.lock().unwrap_or_else(|e| e.into_inner());
        list.push(Finished { name: self.name.clone(), time, bytes, outcome });
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_what_came_from_the_cache() {
        let p = Progress::silent();
        p.step("fetch").finish(Outcome::Cached);
        let seal = p.step("seal");
        seal.add(2_500_000);
        seal.finish(Outcome::Built);
        let text = p.summary();
        assert!(text.lines().next().is_some_and(|l| l.starts_with("fetch") && l.ends_with("from the cache")));
        assert!(text.contains("2.5 MB"), "{text}");
    }

    #[test]
    fn a_failed_step_is_not_in_the_summary() {
        let p = Progress::silent();
        drop(p.step("seal"));
        assert!(p.finished().is_empty());
    }
}
