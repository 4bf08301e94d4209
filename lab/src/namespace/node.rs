//! A machine that is a set of namespaces.
//!
//! Takes the lab's shared parts and a node's own. Gives the trait [`Machine`].

mod devices;
mod run;

use super::cgroup::Hierarchies;
use super::disk::{Cache, StateDisk};
use super::enter::{in_network, signal, spawn_inside};
use super::loop_device::LoopDevice;
use super::network::Switches;
use super::write_cache::{CutPower, Moment};
use crate::command::finish;
use crate::error::LabError;
use crate::machine::{Answer, Ended, Machine};
use crate::said::{News, Said, lock};
use crate::spec::NodeSpec;
use nix::sys::signal::Signal;
use nodeimg_contract::status::NodeStatus;
use run::{Power, Run};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// How long the kernel may take to end all of a node's processes.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// How long a cut at a flush may take.
const CUT_LIMIT: Duration = Duration::from_secs(10);
/// PATH inside.
const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

/// What all nodes of a lab share.
pub(crate) struct Ground {
    /// The lab's name on this host.
    pub(crate) id: String,
    pub(crate) nodeinit: Option<PathBuf>,
    pub(crate) switches: Switches,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) lowers_oom_score: bool,
    pub(crate) news: News,
}

/// One node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    ground: Arc<Ground>,
    name: String,
    /// Number of its cable.
    cable: usize,
    folder: PathBuf,
    /// Its image's root.
    root: Arc<LoopDevice>,
    said: Said,
    clock_offset: AtomicI64,
    /// What ends the run, if there is one. Never held while anything waits for the disk, which may be about to use it.
    power: Mutex<Option<Power>>,
    state: Mutex<State>,
}

struct State {
    disk: StateDisk,
    seed: Option<PathBuf>,
    switch: usize,
    link: bool,
    boots: u32,
    run: Option<Run>,
    last: Option<Ended>,
}

impl Node {
    pub(crate) fn new(
        ground: Arc<Ground>,
        root: Arc<LoopDevice>,
        cable: usize,
        folder: PathBuf,
        spec: NodeSpec,
    ) -> io::Result<Self> {
        let NodeSpec { name, seed, disk_bytes, disk, .. } = spec;
        std::fs::create_dir_all(folder.join("root"))?;
        let disk = StateDisk::new(&folder, disk_bytes, format!("lab-{name}"), disk)?;
        let said = Said::new(ground.news.clone(), std::fs::File::create(folder.join("console.log"))?);
        let state = State { disk, seed, switch: 0, link: true, boots: 0, run: None, last: None };
        let clock_offset = AtomicI64::new(0);
        let (power, state) = (Mutex::default(), Mutex::new(state));
        Ok(Self(Arc::new(Inner { ground, name, cable, folder, root, said, clock_offset, power, state })))
    }

    /// The serial number of its state disk.
    pub fn disk_serial(&self) -> String {
        lock(&self.0.state).disk.serial().to_owned()
    }

    /// From the next boot on nodeinit's clock differs from the host's by so many seconds.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.0.clock_offset.store(seconds, Ordering::Relaxed);
    }

    /// From the next boot on the seed is this folder's; `None`: there is none.
    pub fn set_seed(&self, folder: Option<PathBuf>) {
        lock(&self.0.state).seed = folder;
    }

    /// How the last run ended; none before the first end.
    pub fn last_end(&self) -> Option<Ended> {
        lock(&self.0.state).last
    }

    /// How long this boot took to each milestone, since PID 1 was started.
    pub fn timeline(&self) -> Vec<(String, Duration)> {
        let Some(began) = lock(&self.0.state).run.as_ref().map(|r| r.began_ms) else { return Vec::new() };
        let milestones = self.status().map(|s| s.milestones).unwrap_or_default();
        let since = |ms: u64| Duration::from_millis(ms.saturating_sub(began));
        milestones.into_iter().map(|m| (m.name, since(m.at_ms))).collect()
    }

    /// Since PID 1 of this run was started; none while the machine is off.
    pub fn uptime(&self) -> Option<Duration> {
        lock(&self.0.state).run.as_ref().map(|r| r.began.elapsed())
    }

    /// How often its disk has made something durable, over all boots: flushes that had nothing to do do not count. A disk
    /// without a volatile cache counts none.
    pub fn flushes(&self) -> u64 {
        lock(&self.0.state).disk.cache().map_or(0, |cache| cache.flushes())
    }

    /// Cuts its power at a flush to come: 1 is the next that has something to do. Nobody hears of that flush: the network
    /// is gone and all processes are killed before the disk answers. A cut of another kind forgets this one.
    pub fn cut_at_flush(&self, flush: u64, moment: Moment) -> Result<(), LabError> {
        let Some(cache) = lock(&self.0.state).disk.cache() else {
            return Err(LabError::Disk { node: self.0.name.clone() });
        };
        let cut = self.cutter().map_err(self.failed("start a thread for"))?;
        cache.cut_at(flush, moment, cut);
        Ok(())
    }

    /// The thread that serves a disk has no descriptors but its own: another one does the work.
    fn cutter(&self) -> io::Result<CutPower> {
        let (ask, asked) = channel::<Sender<()>>();
        let node = Arc::downgrade(&self.0);
        std::thread::Builder::new().name(format!("cut {}", self.0.name)).spawn(move || {
            while let Ok(done) = asked.recv() {
                if let Some(node) = Weak::upgrade(&node) {
                    // What is not on cannot be cut.
                    let _ = Self(node).cut_now();
                }
                let _ = done.send(());
            }
        })?;
        Ok(Arc::new(move || {
            let (done, finished) = channel();
            if ask.send(done).is_ok() {
                let _ = finished.recv_timeout(CUT_LIMIT);
            }
        }))
    }

    /// First nothing is heard of it any more, then nothing of it runs.
    fn cut_now(&self) -> io::Result<()> {
        let network = self.0.ground.switches.set_up(self.0.cable, false);
        match &*lock(&self.0.power) {
            Some(power) => power.cut().and(network),
            None => Ok(()),
        }
    }

    /// Listens in its network, while it is on: another answers there in its place.
    pub fn listen(&self, at: SocketAddr) -> Result<TcpListener, LabError> {
        let power = lock(&self.0.power).clone().ok_or_else(|| self.off())?;
        in_network(&power.process, || TcpListener::bind(at)).map_err(self.failed("listen in the network of"))
    }

    /// Puts its cable into another switch of the lab.
    pub(crate) fn to_switch(&self, number: usize) -> Result<(), LabError> {
        let mut state = lock(&self.0.state);
        state.switch = number;
        self.0.ground.switches.replug(self.0.cable, number).map_err(self.failed("replug the cable of"))
    }

    fn failed<E: Into<io::Error>>(&self, action: &'static str) -> impl FnOnce(E) -> LabError {
        LabError::kernel(action, self.0.name.clone())
    }

    fn off(&self) -> LabError {
        LabError::Power { node: self.0.name.clone(), state: "off" }
    }

    fn process(&self) -> Result<Arc<OwnedFd>, LabError> {
        lock(&self.0.power).as_ref().map(|p| p.process.clone()).ok_or_else(|| self.off())
    }

    fn spawn(&self, command: &[&str]) -> Result<Child, LabError> {
        let process = self.process()?;
        let (program, arguments) = command.split_first().ok_or_else(|| self.off())?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("HOME", "/root"), ("TERM", "linux")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        spawn_inside(&process, command).map_err(self.failed("run a command in"))
    }

    fn until_off(&self, limit: Duration, what: &str) -> Result<(), LabError> {
        let off = || (!self.is_on()).then_some(());
        self.0.ground.news.until(limit, off).ok_or_else(|| self.late(what, limit))
    }

    fn late(&self, what: &str, limit: Duration) -> LabError {
        LabError::Deadline { what: format!("{what} of \"{}\"", self.0.name), limit, seen: self.console() }
    }
}

impl Machine for Node {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn power_on(&self) -> Result<(), LabError> {
        let mut state = lock(&self.0.state);
        if state.run.is_some() {
            return Err(LabError::Power { node: self.0.name.clone(), state: "on" });
        }
        let running = self.started(&mut state)?;
        let node = self.clone();
        std::thread::Builder::new()
            .name(format!("run {}", self.0.name))
            .spawn(move || node.watch(running))
            .map_err(self.failed("start a thread for"))?;
        Ok(())
    }

    fn power_cut(&self) -> Result<(), LabError> {
        let cache: Option<Cache> = lock(&self.0.state).disk.cache();
        // A disk that was cut goes on to answer, and others would count on an answer that keeps nothing: they must hear of
        // none.
        let quiet = self.0.ground.switches.set_up(self.0.cable, false);
        if let Some(cache) = cache.filter(|_| self.is_on()) {
            cache.cut();
        }
        self.cut_now().and(quiet).map_err(self.failed("cut the power of"))?;
        self.until_off(KILL_LIMIT, "the end")
    }

    fn power_off(&self, limit: Duration) -> Result<(), LabError> {
        signal(&*self.process()?, Signal::SIGTERM).map_err(self.failed("press the button of"))?;
        self.until_off(limit, "the orderly end")
    }

    fn reboot(&self, limit: Duration) -> Result<(), LabError> {
        let boots = lock(&self.0.state).boots;
        signal(&*self.process()?, Signal::SIGINT).map_err(self.failed("reboot"))?;
        let again = || {
            let state = lock(&self.0.state);
            (state.boots > boots && state.run.is_some()).then_some(())
        };
        self.0.ground.news.until(limit, again).ok_or_else(|| self.late("the reboot", limit))
    }

    fn is_on(&self) -> bool {
        lock(&self.0.state).run.is_some()
    }

    fn wipe_disk(&self) -> Result<(), LabError> {
        let mut state = lock(&self.0.state);
        if state.run.is_some() {
            return Err(LabError::Power { node: self.0.name.clone(), state: "on" });
        }
        state.disk.wipe().map_err(self.failed("wipe the disk of"))
    }

    fn unplug_disk(&self) -> Result<(), LabError> {
        let mut state = lock(&self.0.state);
        state.disk.unplug();
        if let Some(run) = &state.run {
            self.show_disks(&state, run);
        }
        Ok(())
    }

    fn plug_disk(&self) -> Result<(), LabError> {
        let mut state = lock(&self.0.state);
        state.disk.plug().map_err(self.failed("plug in the disk of"))?;
        if let Some(run) = &state.run {
            self.show_disks(&state, run);
        }
        Ok(())
    }

    fn link(&self, up: bool) -> Result<(), LabError> {
        lock(&self.0.state).link = up;
        self.0.ground.switches.set_up(self.0.cable, up).map_err(self.failed("set the link of"))
    }

    fn console(&self) -> String {
        self.0.said.console()
    }

    fn status(&self) -> Option<NodeStatus> {
        self.0.said.status()
    }

    fn exec(&self, command: &[&str], limit: Duration) -> Result<Answer, LabError> {
        let child = self.spawn(command)?;
        finish(child, limit).map_err(self.failed("hear a command of"))?.ok_or_else(|| LabError::Command {
            node: self.0.name.clone(),
            command: command.join(" "),
            complaint: format!("it did not end within {} s and was killed", limit.as_secs()),
        })
    }
}
