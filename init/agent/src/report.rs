//! What the node is doing, told to everybody who listens.
//!
//! Takes: phases, milestones, waits, faults, warnings and plain lines from every part of nodeinit.
//! Gives: lines with elapsed time on every console, [`NodeStatus`] lines on the status port, `status.json`.
//! May touch: the consoles, the status port, files below `/run/nodeimg`.
//! Never does: block on a listener, fail, or keep a fault whose cause is gone.

mod port;
mod sinks;

use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::status::{Milestone, NodeStatus, Phase, Waiting};
use sinks::Sinks;
use std::collections::BTreeSet;
#[cfg(test)]
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// More warnings than these are not kept.
const MAX_WARNINGS: usize = 32;
/// How often a wait that goes on is said again on the console.
const REMIND_MS: u64 = 30_000;
/// How often the status port is tried again when nobody read it.
const RETRY: Duration = Duration::from_millis(250);

/// Milliseconds since the kernel started (CLOCK_BOOTTIME).
pub fn uptime_ms() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map(|t| {
            u64::try_from(t.tv_sec()).unwrap_or(0) * 1000
                + u64::try_from(t.tv_nsec()).unwrap_or(0) / 1_000_000
        })
        .unwrap_or(0)
}

/// The reporter that a panic is told to.
static LAST_RESORT: OnceLock<Reporter> = OnceLock::new();

/// From now on a panic of any thread is a fault on the console; the other threads go on.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let fault = Fault {
            code: Code::BootKernel,
            object: format!("nodeinit, thread {thread}"),
            cause: format!("a bug in nodeinit at {place}"),
            help: "report it with these lines; reboot the node to try again".to_owned(),
        };
        match LAST_RESORT.get() {
            // A panic while the reporter is locked must not wait for itself.
            Some(reporter) => reporter.try_fault(fault),
            None => eprintln!("nodeinit: {fault}"),
        }
    }));
}

/// Shared by every part of nodeinit; cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    status: NodeStatus,
    faults: Vec<Fault>,
    waits: Vec<Wait>,
    seen_warnings: BTreeSet<String>,
    next_wait: u64,
    unsent: bool,
    sinks: Sinks,
}

struct Wait {
    id: u64,
    waiting: Waiting,
    fault: Fault,
    raised: bool,
    reminded_ms: u64,
}

impl Reporter {
    /// Opens the consoles that exist now and goes on with the status that an earlier stage left in `status.json`.
    pub fn start() -> Self {
        let sinks = Sinks::of_this_machine();
        let earlier = std::fs::read(nodeimg_contract::paths::STATUS)
            .ok()
            .and_then(|b| serde_json::from_slice::<NodeStatus>(&b).ok());
        let reporter = Self::with_sinks(sinks, earlier);
        let _ = LAST_RESORT.set(reporter.clone());
        reporter
    }

    /// A reporter whose lines go to standard error and whose `status.json` lies in `folder`: for tests.
    #[cfg(test)]
    pub fn quiet(folder: PathBuf) -> Self {
        Self::with_sinks(Sinks::below(folder), None)
    }

    fn with_sinks(sinks: Sinks, earlier: Option<NodeStatus>) -> Self {
        let status = earlier.unwrap_or(NodeStatus {
            schema: 1,
            sequence: 0,
            uptime_ms: uptime_ms(),
            node: None,
            phase: Phase::Early,
            waiting: None,
            fault: None,
            warnings: Vec::new(),
            milestones: Vec::new(),
            ready: None,
        });
        let state = State {
            status: NodeStatus { waiting: None, fault: None, ..status },
            faults: Vec::new(),
            waits: Vec::new(),
            seen_warnings: BTreeSet::new(),
            next_wait: 0,
            unsent: false,
            sinks,
        };
        let inner = Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() });
        let weak = Arc::downgrade(&inner);
        // Without this thread deadlines raise nothing, but the boot itself does not depend on it.
        let _ = std::thread::Builder::new().name("report".into()).spawn(move || {
            while let Some(inner) = weak.upgrade() {
                tick(&inner);
            }
        });
        Self { inner }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next stage of the boot has begun.
    pub fn phase(&self, phase: Phase) {
        let mut s = self.state();
        if s.status.phase != phase {
            s.status.phase = phase;
            s.say("");
            s.publish();
        }
    }

    /// A point of the boot timeline was passed (names: `contract::status::milestone`). The first time counts.
    pub fn milestone(&self, name: &'static str) {
        let mut s = self.state();
        if s.status.milestones.iter().any(|m| m.name == name) {
            return;
        }
        s.status.milestones.push(Milestone { name: name.to_owned(), at_ms: uptime_ms() });
        s.publish();
    }

    /// Says what is waited for. When `deadline` has passed, `fault` is shown while the wait goes on; dropping the
    /// guard ends both.
    #[must_use]
    pub fn waiting(&self, what: impl Into<String>, deadline: Duration, fault: Fault) -> WaitGuard {
        let now = uptime_ms();
        let deadline_ms = now.saturating_add(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        let mut s = self.state();
        let id = s.next_wait;
        s.next_wait += 1;
        let waiting = Waiting { what: what.into(), since_ms: now, deadline_ms };
        s.waits.push(Wait { id, waiting, fault, raised: false, reminded_ms: now });
        s.publish();
        drop(s);
        self.inner.changed.notify_all();
        WaitGuard { reporter: self.clone(), id }
    }

    /// Something stands in the way. The same code and object again replaces what was said before.
    pub fn fault(&self, fault: Fault) {
        let mut s = self.state();
        s.raise(fault);
        s.publish();
    }

    fn try_fault(&self, fault: Fault) {
        if let Ok(mut s) = self.inner.state.try_lock() {
            s.raise(fault);
            s.publish();
        } else {
            eprintln!("nodeinit: {fault}");
        }
    }

    /// The cause of every fault with this code is gone.
    pub fn clear_fault(&self, code: Code) {
        self.clear(|f| f.code == code);
    }

    /// The cause of one fault is gone.
    pub fn clear_fault_of(&self, code: Code, object: &str) {
        self.clear(|f| f.code == code && f.object == object);
    }

    fn clear(&self, gone: impl Fn(&Fault) -> bool) {
        let mut s = self.state();
        let cleared: Vec<Fault> = s.faults.iter().filter(|f| gone(f)).cloned().collect();
        if cleared.is_empty() {
            return;
        }
        s.faults.retain(|f| !gone(f));
        for f in cleared {
            s.say(&format!("{} {}: cleared", f.code, f.object));
        }
        s.publish();
    }

    /// Whether a fault with this code is shown now.
    pub fn has_fault(&self, code: Code) -> bool {
        self.state().faults.iter().any(|f| f.code == code)
    }

    /// Something that a person should know and that stops nothing. Said once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut s = self.state();
        if s.seen_warnings.len() >= MAX_WARNINGS || !s.seen_warnings.insert(text.clone()) {
            return;
        }
        s.say(&format!("warning: {text}"));
        s.status.warnings.push(text);
        s.publish();
    }

    /// One line for people.
    pub fn line(&self, text: impl AsRef<str>) {
        self.state().say(text.as_ref());
    }

    /// The node's name is known.
    pub fn node(&self, name: &str) {
        let mut s = self.state();
        if s.status.node.as_deref() != Some(name) {
            s.status.node = Some(name.to_owned());
            s.publish();
        }
    }

    /// The Node's Ready condition is known.
    pub fn ready(&self, ready: bool) {
        let mut s = self.state();
        if s.status.ready != Some(ready) {
            s.status.ready = Some(ready);
            s.say(if ready { "node is Ready" } else { "node is not Ready" });
            s.publish();
        }
    }

    /// The status as it is now.
    #[cfg(test)]
    pub fn status(&self) -> NodeStatus {
        self.state().status.clone()
    }

    /// Looks for consoles and the status port again (devices that a module has brought since).
    pub fn reopen(&self) {
        let mut s = self.state();
        s.sinks.reopen();
        s.publish();
    }
}

/// Ends its wait, and the fault that its deadline raised, when dropped.
pub struct WaitGuard {
    reporter: Reporter,
    id: u64,
}

impl WaitGuard {
    /// The same wait, for something else: its deadline runs on.
    pub fn now_for(&self, what: impl Into<String>, cause: impl Into<String>) {
        let what = what.into();
        {
            let mut s = self.reporter.state();
            let Some(w) = s.waits.iter_mut().find(|w| w.id == self.id) else { return };
            if w.waiting.what != what {
                w.waiting.what = what;
                s.publish();
            }
        }
        self.cause(cause);
    }
    /// Names the cause better than it was known when the wait began.
    pub fn cause(&self, cause: impl Into<String>) {
        let cause = cause.into();
        let mut s = self.reporter.state();
        let Some(w) = s.waits.iter_mut().find(|w| w.id == self.id) else { return };
        if w.fault.cause == cause {
            return;
        }
        w.fault.cause = cause;
        if w.raised {
            let fault = w.fault.clone();
            s.raise(fault);
            s.publish();
        }
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        let mut s = self.reporter.state();
        let Some(at) = s.waits.iter().position(|w| w.id == self.id) else { return };
        let wait = s.waits.remove(at);
        if wait.raised {
            s.faults.retain(|f| f.code != wait.fault.code || f.object != wait.fault.object);
            s.say(&format!("{} {}: cleared", wait.fault.code, wait.fault.object));
        }
        s.publish();
    }
}

impl State {
    fn raise(&mut self, fault: Fault) {
        let known = self.faults.iter().position(|f| f.code == fault.code && f.object == fault.object);
        if known.and_then(|at| self.faults.get(at)) == Some(&fault) {
            return;
        }
        if let Some(at) = known {
            self.faults.remove(at);
        }
        let text = format!(
            "FAULT {}: {}\n    object: {}\n    cause:  {}\n    help:   {}",
            fault.code,
            fault.code.title(),
            fault.object,
            fault.cause,
            fault.help
        );
        self.say(&text);
        self.faults.push(fault);
    }

    fn say(&mut self, text: &str) {
        let ms = uptime_ms();
        let head = format!("[{:>6}.{:03}] nodeimg {}", ms / 1000, ms % 1000, self.status.phase);
        let line = if text.is_empty() { head } else { format!("{head}: {text}") };
        self.sinks.line(&line);
    }

    fn publish(&mut self) {
        self.status.sequence += 1;
        self.status.uptime_ms = uptime_ms();
        self.status.waiting = self.waits.last().map(|w| w.waiting.clone());
        // A root that is not to be trusted explains everything that fails after it.
        let root = self.faults.iter().find(|f| f.code == Code::RootTampered);
        self.status.fault = root.or(self.faults.last()).cloned();
        self.unsent = !self.sinks.status(&self.status);
    }
}

fn tick(inner: &Inner) {
    let mut s = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    let now = uptime_ms();
    let mut raised = Vec::new();
    let mut reminders = Vec::new();
    for w in &mut s.waits {
        if !w.raised && now >= w.waiting.deadline_ms {
            w.raised = true;
            raised.push(w.fault.clone());
        }
        if now.saturating_sub(w.reminded_ms) >= REMIND_MS {
            w.reminded_ms = now;
            reminders.push(format!(
                "still waiting for {} ({} s)",
                w.waiting.what,
                now.saturating_sub(w.waiting.since_ms) / 1000
            ));
        }
    }
    for text in reminders {
        s.say(&text);
    }
    let any = !raised.is_empty();
    for fault in raised {
        s.raise(fault);
    }
    if any || s.unsent {
        s.publish();
    }
    let next = s
        .waits
        .iter()
        .flat_map(|w| [(!w.raised).then_some(w.waiting.deadline_ms), Some(w.reminded_ms + REMIND_MS)])
        .flatten()
        .min()
        .map_or(Duration::from_secs(5), |at| Duration::from_millis(at.saturating_sub(now).clamp(10, 5000)));
    let pause = if s.unsent { next.min(RETRY) } else { next };
    let _ = inner.changed.wait_timeout(s, pause);
}

#[cfg(test)]
mod tests;
