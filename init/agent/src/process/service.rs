//! One program that is kept running.

use super::backoff::{Backoff, GOOD_RUN};
use super::{Exit, Processes, RotatingLog, cgroup, kill_group};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodeimg_contract::fault::{Code, Fault};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of a failed run that go to the console.
const CONSOLE_LINES: usize = 5;

/// What to keep running.
pub struct ServiceSpec {
    /// Short name; also that of its cgroup leaf.
    pub name: &'static str,
    /// Makes the command, anew for every start.
    pub command: Box<dyn Fn() -> Command + Send>,
    /// Where its output goes, usually `/var/log/nodeimg/NAME.log`.
    pub log: PathBuf,
    /// `oom_score_adj` of its process, -1000 to 1000.
    pub oom_score_adj: Option<i16>,
}

/// A running service; clones are handles of the same one. It runs on when all handles are gone.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Mutex<Shared>>,
    orders: Sender<Stop>,
}

#[derive(Default)]
struct Shared {
    pid: Option<u32>,
    starts: u64,
    ended: bool,
}

/// End for good, with this much grace.
struct Stop(Duration);

impl Service {
    pub(super) fn start(processes: Processes, spec: ServiceSpec) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (orders, inbox) = channel();
        let service = Self { shared: shared.clone(), orders };
        let name = format!("keep-{}", spec.name);
        let keeper =
            Keeper { processes, log: Arc::new(Mutex::new(RotatingLog::open(&spec.log))), spec, shared };
        let _ = std::thread::Builder::new().name(name).spawn(move || keeper.keep(&inbox));
        service
    }

    /// Its process, while it runs.
    #[cfg(test)]
    pub fn pid(&self) -> Option<u32> {
        self.shared().pid
    }

    /// How often it was started.
    #[cfg(test)]
    pub fn starts(&self) -> u64 {
        self.shared().starts
    }

    /// Ends it for good: SIGTERM, and after `grace` SIGKILL to its process group. Returns when it has ended.
    pub fn stop(&self, grace: Duration) {
        let _ = self.orders.send(Stop(grace));
        super::poll(grace + Duration::from_secs(5), Duration::from_millis(20), || self.shared().ended);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread behind a service.
struct Keeper {
    processes: Processes,
    spec: ServiceSpec,
    log: Arc<Mutex<RotatingLog>>,
    shared: Arc<Mutex<Shared>>,
}

/// What comes after a run.
enum Next {
    Again(Option<Exit>),
    End,
}

impl Keeper {
    fn keep(&self, inbox: &Receiver<Stop>) {
        let mut backoff = Backoff::default();
        loop {
            let begun = Instant::now();
            let next = self.run_once(inbox);
            self.set_pid(None);
            let pause = match next {
                Next::End => break,
                Next::Again(exit) => {
                    let pause = backoff.ended(begun.elapsed());
                    self.complain(exit, begun.elapsed(), pause, backoff.keeps_failing());
                    pause
                }
            };
            match inbox.recv_timeout(pause) {
                Ok(Stop(_)) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(pause),
            }
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.ended = true;
    }

    fn run_once(&self, inbox: &Receiver<Stop>) -> Next {
        let mut command = (self.spec.command)();
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(leaf) = cgroup::leaf(self.spec.name) {
            cgroup::enter(&mut command, &leaf);
        }
        let (mut child, exit) = match self.processes.spawn(&mut command) {
            Ok(started) => started,
            Err(e) => {
                use std::error::Error;
                let cause = e.source().map(ToString::to_string).unwrap_or_default();
                self.log().write(format!("{e}: {cause}\n").as_bytes());
                return Next::Again(None);
            }
        };
        let pid = child.id();
        if let Some(adjust) = self.spec.oom_score_adj {
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), adjust.to_string());
        }
        self.set_pid(Some(pid));
        if let Some(out) = child.stdout.take() {
            self.copy(out);
        }
        if let Some(err) = child.stderr.take() {
            self.copy(err);
        }
        self.watch(pid, &exit, inbox)
    }

    fn watch(&self, pid: u32, exit: &Receiver<Exit>, inbox: &Receiver<Stop>) -> Next {
        let begun = Instant::now();
        let mut good = false;
        loop {
            match exit.recv_timeout(Duration::from_millis(100)) {
                Ok(status) => return Next::Again(Some(status)),
                Err(RecvTimeoutError::Disconnected) => return Next::Again(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !good && begun.elapsed() >= GOOD_RUN {
                good = true;
                self.processes.reporter().clear_fault_of(Code::ServiceFailed, self.spec.name);
            }
            if let Ok(Stop(grace)) = inbox.try_recv() {
                end(pid, exit, grace);
                return Next::End;
            }
        }
    }

    fn set_pid(&self, pid: Option<u32>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.pid = pid;
        shared.starts += u64::from(pid.is_some());
    }

    fn log(&self) -> MutexGuard<'_, RotatingLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self, mut from: impl Read + Send + 'static) {
        let log = self.log.clone();
        let _ = std::thread::Builder::new().name(format!("log-{}", self.spec.name)).spawn(move || {
            let mut buffer = [0u8; 16 << 10];
            loop {
                match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => {
                        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                        log.write(buffer.get(..n).unwrap_or_default());
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
    }

    fn complain(&self, exit: Option<Exit>, ran: Duration, pause: Duration, keeps_failing: bool) {
        let name = self.spec.name;
        let how = exit.map_or_else(|| "could not be started".to_owned(), |e| format!("ended with {e}"));
        // The last lines may still be on their way from the pipe to the log.
        std::thread::sleep(Duration::from_millis(50));
        let tail = self.log().tail();
        let reporter = self.processes.reporter();
        reporter.line(format!(
            "{name} {how} after {:.1} s, starts again in {:.1} s",
            ran.as_secs_f32(),
            pause.as_secs_f32()
        ));
        for line in tail.iter().skip(tail.len().saturating_sub(CONSOLE_LINES)) {
            reporter.line(format!("  {name}: {line}"));
        }
        if keeps_failing {
            reporter.fault(Fault {
                code: Code::ServiceFailed,
                object: name.to_owned(),
                cause: format!("it {how}; last line: {}", tail.last().map_or("(none)", String::as_str)),
                help: format!("its log is {} (nodeinit logs {name})", self.spec.log.display()),
            });
        }
    }
}

/// SIGTERM to the process, after `grace` SIGKILL to its group.
fn end(pid: u32, exit: &Receiver<Exit>, grace: Duration) {
    if let Ok(raw) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(raw), Signal::SIGTERM);
    }
    if exit.recv_timeout(grace).is_err() {
        kill_group(pid);
        let _ = exit.recv_timeout(Duration::from_secs(5));
    }
}
