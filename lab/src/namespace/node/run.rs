//! One run of a machine: from power on to off, and on again after a reboot.
//!
//! Takes a node that is off. A thread for each run reads what the node says, keeps its `/dev` as the kernel's disks are,
//! and sees its end.

use super::super::boot::{BootPlan, Booted, SEED, boot};
use super::super::enter::{new_network, signal};
use super::super::loop_device::LoopDevice;
use super::super::network::NODE_LINK;
use super::{Node, State};
use crate::error::LabError;
use crate::machine::Ended;
use crate::said::{Reader, lock};
use nix::sys::signal::Signal;
use nodeimg_contract::machine::{Namespace, SCHEMA};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How often a run's thread looks at what does not tell of itself.
const TICK: Duration = Duration::from_millis(20);

/// A run of the machine.
pub(super) struct Run {
    pub(super) pid: u32,
    pub(super) began: Instant,
    /// CLOCK_BOOTTIME when PID 1 was started.
    pub(super) began_ms: u64,
    pub(super) power: Power,
}

/// What the thread of a run works with.
pub(super) struct Running {
    child: Child,
    reader: Reader,
    _keeper: Sender<()>,
}

/// What ends a run, whoever holds the rest of the machine.
#[derive(Clone)]
pub(super) struct Power {
    pub(super) process: Arc<OwnedFd>,
    /// A reboot starts it again.
    goes_on: Arc<AtomicBool>,
}

impl Power {
    /// Ends everything at once.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.goes_on.store(false, Ordering::Relaxed);
        signal(&self.process, Signal::SIGKILL)
    }
}

impl Node {
    pub(super) fn started(&self, state: &mut State) -> Result<Running, LabError> {
        let inner = &self.0;
        let ground = &inner.ground;
        let network = new_network().map_err(self.failed("make a network for"))?;
        ground
            .switches
            .connect(inner.cable, state.switch, &network, state.link)
            .map_err(self.failed("connect"))?;
        let groups =
            ground.hierarchies.open(&ground.id, &inner.name).map_err(self.failed("make cgroups for"))?;
        state.disk.restart().map_err(self.failed("give power to the disk of"))?;
        let disk = state.disk.device().map(|d| (d.name().to_owned(), d.rdev()));
        let partitions = state.disk.device().map(LoopDevice::partitions).unwrap_or_default();
        state.boots += 1;
        inner.said.begin(state.boots);
        let machine = Namespace {
            schema: SCHEMA,
            command_line: format!("ds=nocloud;s={SEED}/"),
            cgroups: ground.hierarchies.version,
            lowers_oom_score: ground.lowers_oom_score,
            links: vec![NODE_LINK.to_owned()],
            clock_offset_seconds: inner.clock_offset.load(Ordering::Relaxed),
        };
        let Booted { child, process, pipes: (console, status), keeper } = boot(BootPlan {
            folder: inner.folder.join("root"),
            root: inner.root.path(),
            nodeinit: ground.nodeinit.clone(),
            seed: state.seed.clone(),
            network,
            machine,
            disks: disk.into_iter().chain(partitions).collect(),
            hierarchies: ground.hierarchies.clone(),
            groups,
        })?;
        let power = Power { process: Arc::new(process), goes_on: Arc::new(AtomicBool::new(true)) };
        *lock(&inner.power) = Some(power.clone());
        let run = Run { pid: child.id(), began: Instant::now(), began_ms: boottime_ms(), power };
        self.show_disks(state, &run);
        state.run = Some(run);
        Ok(Running { child, reader: Reader::new(console, status), _keeper: keeper })
    }

    /// Until the machine is off.
    pub(super) fn watch(&self, mut running: Running) {
        loop {
            let status = self.run_to_its_end(&mut running);
            // The keeper stands on the node's mounts.
            drop(running);
            let ended = status.map_or(Ended::Cut, ended);
            let mut state = lock(&self.0.state);
            let again = ended == Ended::Reboot
                && state.run.take().is_some_and(|r| r.power.goes_on.load(Ordering::Relaxed));
            *lock(&self.0.power) = None;
            state.last = Some(ended);
            if let Err(e) = state.disk.settle().and_then(|()| state.disk.restart()) {
                self.0.said.text(format!("-- {e} --\n").as_bytes());
            }
            let ground = &self.0.ground;
            let _ = ground.switches.cut(self.0.cable);
            ground.hierarchies.remove(&ground.id, Some(&self.0.name));
            state.run = None;
            self.0.said.text(format!("-- {ended:?} --\n").as_bytes());
            let next = if again { self.started(&mut state).ok() } else { None };
            drop(state);
            ground.news.tell();
            match next {
                Some(next) => running = next,
                None => return,
            }
        }
    }

    fn run_to_its_end(&self, running: &mut Running) -> io::Result<ExitStatus> {
        loop {
            running.reader.read(&self.0.said, TICK);
            match running.child.try_wait() {
                Ok(Some(status)) => {
                    running.reader.read(&self.0.said, Duration::ZERO);
                    return Ok(status);
                }
                Ok(None) => {}
                Err(e) => return Err(e),
            }
            // Somebody who holds the state is about to change what is shown.
            if let Ok(state) = self.0.state.try_lock()
                && let Some(run) = &state.run
            {
                self.show_disks(&state, run);
            }
        }
    }
}

/// reboot(2), "Behavior inside PID namespaces": the parent sees PID 1 ended by SIGHUP or SIGINT.
fn ended(status: ExitStatus) -> Ended {
    match status.signal() {
        Some(libc::SIGHUP) => Ended::Reboot,
        Some(libc::SIGINT) => Ended::PowerOff,
        _ => Ended::Cut,
    }
}

fn boottime_ms() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
