//! Going down in order.
//!
//! Takes signals (SIGINT: reboot, as the kernel sends for ctrl-alt-del; SIGTERM and SIGPWR: power off) and the power
//! button. Stops the kubelet (it would start pods again), the pods with grace, etcd last of them, containerd and udevd,
//! then everything else; unmounts, syncs and asks the kernel. May touch: every process. Every step has a limit, so that
//! the machine always goes down.

mod button;
mod pods;

use crate::mounts;
use crate::process::{Processes, Service};
use crate::report::Reporter;
use crate::storage::VAR;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodeimg_contract::status::Phase;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Starts again.
    Reboot,
    /// Off.
    PowerOff,
}

/// What a shutdown works with.
pub struct ShutdownPlan {
    /// Where it tells what it does.
    pub reporter: Reporter,
    /// How it runs programs.
    pub processes: Processes,
}

/// Told of services as they start; cheap to clone.
#[derive(Clone)]
pub struct Shutdown {
    asked: Arc<AtomicBool>,
    services: Arc<Mutex<Services>>,
}

#[derive(Default)]
struct Services {
    udevd: Option<Service>,
    containerd: Option<Service>,
    kubelet: Option<Service>,
    sshd: Option<Service>,
}

impl Shutdown {
    /// Listens from now on.
    pub fn start(plan: ShutdownPlan) -> Self {
        let shutdown = Self { asked: Arc::default(), services: Arc::default() };
        let (goals, inbox) = channel();
        listen_to_signals(&plan.reporter, goals.clone());
        button::listen(goals);
        let worker = shutdown.clone();
        let spawned = std::thread::Builder::new()
            .name("shutdown".into())
            .spawn(move || worker.wait_and_go(&plan, &inbox));
        if let Err(e) = spawned {
            eprintln!("nodeinit: no thread for an orderly shutdown: {e}");
        }
        shutdown
    }

    /// Whether the node is going down.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The same, for those who look by themselves.
    pub fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// udevd runs.
    pub fn udevd(&self, service: Service) {
        self.services().udevd = Some(service);
    }

    /// containerd runs.
    pub fn containerd(&self, service: Service) {
        self.services().containerd = Some(service);
    }

    /// The kubelet runs.
    pub fn kubelet(&self, service: Service) {
        self.services().kubelet = Some(service);
    }

    /// sshd runs.
    pub fn sshd(&self, service: Service) {
        self.services().sshd = Some(service);
    }

    /// Somebody else ends the kubelet.
    pub fn take_kubelet(&self) -> Option<Service> {
        self.services().kubelet.take()
    }

    fn services(&self) -> MutexGuard<'_, Services> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_and_go(&self, plan: &ShutdownPlan, inbox: &Receiver<Goal>) {
        let Ok(goal) = inbox.recv() else { return };
        self.asked.store(true, Ordering::SeqCst);
        let r = &plan.reporter;
        r.phase(Phase::Shutdown);
        r.line(match goal {
            Goal::Reboot => "the node goes down and starts again",
            Goal::PowerOff => "the node goes down",
        });
        let Services { udevd, containerd, kubelet, sshd } = std::mem::take(&mut *self.services());
        if let Some(kubelet) = kubelet {
            kubelet.stop(Duration::from_secs(15));
            r.line("kubelet has ended");
        }
        if let Some(containerd) = containerd {
            pods::stop(&plan.processes, r);
            containerd.stop(Duration::from_secs(15));
            r.line("containerd has ended");
        }
        for last in [sshd, udevd].into_iter().flatten() {
            last.stop(Duration::from_secs(3));
        }
        end_everything();
        unmount_state(r);
        r.line(match goal {
            Goal::Reboot => "reboot",
            Goal::PowerOff => "power off",
        });
        nix::unistd::sync();
        let mode = match goal {
            Goal::Reboot => RebootMode::RB_AUTOBOOT,
            Goal::PowerOff => RebootMode::RB_POWER_OFF,
        };
        let Err(e) = reboot(mode);
        r.line(format!("the kernel refuses: {e}; the power can be cut now"));
    }
}

/// Ends all pods with grace, etcd last; returns when they are gone or killed.
pub fn end_pods(processes: &Processes, reporter: &Reporter) {
    pods::stop(processes, reporter);
}

fn listen_to_signals(reporter: &Reporter, goals: Sender<Goal>) {
    // From now on the kernel sends SIGINT for ctrl-alt-del instead of rebooting at once.
    let _ = nix::sys::reboot::set_cad_enabled(false);
    let mut signals = match signal_hook::iterator::Signals::new([SIGINT, SIGTERM, libc::SIGPWR]) {
        Ok(signals) => signals,
        Err(e) => {
            return reporter
                .warn(format!("signals cannot be received ({e}): no orderly shutdown by command"));
        }
    };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let goal = if signal == SIGINT { Goal::Reboot } else { Goal::PowerOff };
            if goals.send(goal).is_err() {
                break;
            }
        }
    });
}

/// Whatever still runs.
fn end_everything() {
    let all = Pid::from_raw(-1);
    if kill(all, Signal::SIGTERM).is_err() {
        return;
    }
    let gone = || !others_run();
    if !crate::process::poll(Duration::from_secs(3), Duration::from_millis(50), gone) {
        let _ = kill(all, Signal::SIGKILL);
        crate::process::poll(Duration::from_secs(3), Duration::from_millis(50), gone);
    }
}

/// Whether there are processes besides PID 1. Threads of the kernel and zombies have no program.
fn others_run() -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries.flatten().any(|e| {
        let name = e.file_name();
        let pid = name.to_str().and_then(|n| n.parse::<u32>().ok());
        pid.is_some_and(|p| p > 1) && std::fs::read_link(e.path().join("exe")).is_ok()
    })
}

fn unmount_state(reporter: &Reporter) {
    nix::unistd::sync();
    let mut busy = Vec::new();
    // Container roots are overlays whose upper folders lie on the state partition: while one is mounted, that is in use.
    for folder in ["/run/containerd", "/run/netns", "/etc/kubernetes", "/etc/cni/net.d", VAR] {
        for at in mounts::below(folder) {
            if mounts::unmount(&at, false).is_err() {
                busy.push(at);
            }
        }
    }
    if mounts::is_mounted(VAR) {
        // What is busy is at least written out and closed for writing.
        let flags = nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
        let remounted = nix::mount::mount(None::<&str>, VAR, None::<&str>, flags, None::<&str>);
        let how = if remounted.is_ok() { "read-only now" } else { "synced only" };
        reporter.line(format!("state partition is still in use at {} and {how}", busy.join(", ")));
    } else {
        reporter.line("state partition is unmounted");
    }
}
