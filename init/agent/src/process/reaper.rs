//! The one place that calls `wait`.

use super::Exit;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Hands every exit to whoever started the process. As PID 1 it reaps orphans too; as an ordinary process it waits for
/// its own children one by one, so that it takes no exit from anybody else.
#[derive(Clone)]
pub struct Reaper {
    shared: Arc<Shared>,
    pid1: bool,
}

struct Shared {
    waiting: Mutex<BTreeMap<i32, Sender<Exit>>>,
    spawned: Condvar,
}

impl Reaper {
    /// Starts the reaping thread when this process is PID 1.
    pub fn start() -> Self {
        let shared = Arc::new(Shared { waiting: Mutex::default(), spawned: Condvar::new() });
        let pid1 = std::process::id() == 1;
        if pid1 {
            let shared = shared.clone();
            let _ = std::thread::Builder::new().name("reaper".into()).spawn(move || reap_all(&shared));
        }
        Self { shared, pid1 }
    }

    /// Starts a command; its exit comes on the channel.
    pub fn spawn(&self, command: &mut Command) -> std::io::Result<(Child, Receiver<Exit>)> {
        let (tx, rx) = channel();
        // Held over fork and registration: an exit that is seen meanwhile waits until its owner is known. std's own
        // wait for a child whose exec failed happens under it, too.
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        if self.pid1 {
            waiting.insert(pid, tx);
            drop(waiting);
            self.shared.spawned.notify_all();
        } else {
            drop(waiting);
            let _ = std::thread::Builder::new().name(format!("wait-{pid}")).spawn(move || {
                let _ = tx.send(wait_one(Pid::from_raw(pid)));
            });
        }
        Ok((child, rx))
    }
}

fn wait_one(pid: Pid) -> Exit {
    loop {
        match waitpid(pid, None) {
            Ok(status) => {
                if let Some(exit) = exit_of(status) {
                    return exit;
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return Exit::Code(255),
        }
    }
}

fn reap_all(shared: &Shared) {
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(seen) => {
                let Some(pid) = seen.pid() else { continue };
                let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(status) = waitpid(pid, Some(WaitPidFlag::WNOHANG)) else { continue };
                let Some(exit) = exit_of(status) else { continue };
                if let Some(owner) = waiting.remove(&pid.as_raw()) {
                    let _ = owner.send(exit);
                }
            }
            Err(Errno::ECHILD) => {
                let waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = shared.spawned.wait_timeout(waiting, Duration::from_secs(1));
            }
            Err(_) => {}
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    match status {
        WaitStatus::Exited(_, code) => Some(Exit::Code(code)),
        WaitStatus::Signaled(_, signal, _) => Some(Exit::Signal(signal as i32)),
        _ => None,
    }
}
