//! Every child of nodeinit.
//!
//! Takes: commands. Gives: their exit and bounded output, or services that are kept running.
//! May touch: processes, log files, cgroup leaves. As PID 1 it also reaps what others left behind.
//! Never does: wait without an end, keep unbounded output, let another part of nodeinit call `wait`.

mod backoff;
mod cgroup;
mod log;
mod reaper;
mod service;

pub use log::RotatingLog;
pub use service::{Service, ServiceSpec};

use crate::report::Reporter;
use reaper::Reaper;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of each output that `run` keeps: the last ones.
const KEEP: usize = 256 << 10;
/// How long a finished command's output may still be held open by its descendants.
const DRAIN: Duration = Duration::from_millis(500);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(c) => write!(f, "exit status {c}"),
            Exit::Signal(s) => write!(f, "signal {s}"),
        }
    }
}

/// A command that ran to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: Exit,
    /// The last bytes of its standard output, at most 256 KiB.
    pub stdout: Vec<u8>,
    /// The last bytes of its standard error, at most 256 KiB.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Whether it ended with code 0.
    pub fn success(&self) -> bool {
        self.status == Exit::Code(0)
    }
    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    /// The last lines of what it said, standard error first, for a person.
    pub fn complaint(&self) -> String {
        let said = if self.stderr.trim_ascii().is_empty() { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(said);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
        lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("; ")
    }
}

/// A command that did not run to a good end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("\"{program}\" could not be started")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was killed.
    #[error("\"{program}\" did not end within {seconds} s and was killed")]
    TimedOut {
        /// Which.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// It said no.
    #[error("\"{program}\" failed with {status}: {complaint}")]
    Failed {
        /// Which.
        program: String,
        /// How it ended.
        status: Exit,
        /// Its last lines.
        complaint: String,
    },
}

/// The way to start anything; cheap to clone.
#[derive(Clone)]
pub struct Processes {
    reaper: Reaper,
    reporter: Reporter,
}

impl Processes {
    /// As PID 1 this starts the one reaper.
    pub fn start(reporter: Reporter) -> Self {
        Self { reaper: Reaper::start(), reporter }
    }

    /// Runs a command to its end, at most `timeout` long; then its process group is killed.
    pub fn run(&self, command: Command, timeout: Duration) -> Result<Finished, ProcessError> {
        self.run_with_input(command, &[], timeout)
    }

    /// As [`Processes::run`], and an exit other than 0 is an error with the command's last lines.
    pub fn check(&self, command: Command, timeout: Duration) -> Result<Finished, ProcessError> {
        let program = program(&command);
        let finished = self.run(command, timeout)?;
        if finished.success() {
            Ok(finished)
        } else {
            Err(ProcessError::Failed { program, status: finished.status, complaint: finished.complaint() })
        }
    }

    /// As [`Processes::run`], with these bytes on standard input.
    pub fn run_with_input(
        &self,
        mut command: Command,
        input: &[u8],
        timeout: Duration,
    ) -> Result<Finished, ProcessError> {
        let program = program(&command);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        let (mut child, exit) = self
            .reaper
            .spawn(&mut command)
            .map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        let out = child.stdout.take().map(Kept::read);
        let err = child.stderr.take().map(Kept::read);
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            let _ = std::thread::Builder::new().name("stdin".into()).spawn(move || {
                // A command that does not read its input says so by its exit.
                let _ = stdin.write_all(&input);
            });
        }
        let status = match exit.recv_timeout(timeout) {
            Ok(status) => status,
            Err(RecvTimeoutError::Timeout) => {
                kill_group(child.id());
                let _ = exit.recv_timeout(Duration::from_secs(5));
                return Err(ProcessError::TimedOut { program, seconds: timeout.as_secs() });
            }
            Err(RecvTimeoutError::Disconnected) => Exit::Code(255),
        };
        Ok(Finished { status, stdout: Kept::finish(out), stderr: Kept::finish(err) })
    }

    /// Keeps a program running until [`Service::stop`].
    pub fn supervise(&self, spec: ServiceSpec) -> Service {
        Service::start(self.clone(), spec)
    }

    /// Starts a command that the caller watches: the child and the channel on which its exit comes.
    pub fn spawn(
        &self,
        command: &mut Command,
    ) -> Result<(std::process::Child, Receiver<Exit>), ProcessError> {
        let program = program(command);
        self.reaper.spawn(command).map_err(|source| ProcessError::Start { program, source })
    }

    fn reporter(&self) -> &Reporter {
        &self.reporter
    }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn kill_group(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

/// The last bytes of a stream, read by a thread of its own.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    done: Receiver<()>,
}

impl Kept {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (tx, done) = std::sync::mpsc::channel();
        let to = bytes.clone();
        let _ = std::thread::Builder::new().name("output".into()).spawn(move || {
            let mut buffer = [0u8; 16 << 10];
            loop {
                match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => keep(&to, buffer.get(..n).unwrap_or_default()),
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            let _ = tx.send(());
        });
        Self { bytes, done }
    }

    fn finish(kept: Option<Self>) -> Vec<u8> {
        let Some(kept) = kept else { return Vec::new() };
        let _ = kept.done.recv_timeout(DRAIN);
        std::mem::take(&mut *kept.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keep(to: &Mutex<Vec<u8>>, new: &[u8]) {
    let mut bytes = to.lock().unwrap_or_else(PoisonError::into_inner);
    bytes.extend_from_slice(new);
    // Dropped in big steps, so that a talkative command does not move the buffer at every read.
    if bytes.len() > 2 * KEEP {
        let surplus = bytes.len() - KEEP;
        bytes.drain(..surplus);
    }
}

/// Asks until `done` says yes, at most `limit` long; between two questions it sleeps `pause`.
pub fn poll(limit: Duration, pause: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests;
