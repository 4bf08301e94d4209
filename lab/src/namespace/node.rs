//! A machine that is a set of namespaces.
//!
//! Takes the lab's shared parts and a node's own. Gives the trait [`Machine`]. A thread for each run reads what the node
//! says, shows the kernel's partitions in its `/dev` (as udev does on a machine), and sees its end.

use super::boot::{BootPlan, Booted, SEED, block_node, boot};
use super::cgroup::Hierarchies;
use super::disk::StateDisk;
use super::enter::{new_network, signal, spawn_inside, with_own_mounts};
use super::loop_device::LoopDevice;
use super::network::{NODE_LINK, Switches};
use super::said::{News, Reader, Said, lock};
use crate::command::finish;
use crate::error::LabError;
use crate::machine::{Answer, Ended, Machine};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use nodeimg_contract::machine::{Namespace, SCHEMA};
use nodeimg_contract::status::NodeStatus;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the kernel may take to end all of a node's processes.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// How often a run's thread looks at what does not tell of itself.
const TICK: Duration = Duration::from_millis(20);
/// PATH inside.
const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

/// What all nodes of a lab share.
pub(crate) struct Ground {
    /// The lab's name on this host.
    pub(crate) id: String,
    pub(crate) root: LoopDevice,
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
    said: Said,
    clock_offset: AtomicI64,
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

/// A run of the machine.
struct Run {
    process: Arc<OwnedFd>,
    pid: u32,
    began: Instant,
    /// CLOCK_BOOTTIME when PID 1 was started.
    began_ms: u64,
    /// A reboot starts it again.
    goes_on: bool,
}

/// What the thread of a run works with.
struct Running {
    child: Child,
    reader: Reader,
    _keeper: Sender<()>,
}

impl Node {
    pub(crate) fn new(
        ground: Arc<Ground>,
        name: String,
        cable: usize,
        folder: PathBuf,
        seed: Option<PathBuf>,
        disk_bytes: u64,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder.join("root"))?;
        let disk = StateDisk::new(folder.join("state.img"), disk_bytes, format!("lab-{name}"))?;
        let said = Said::new(ground.news.clone(), std::fs::File::create(folder.join("console.log"))?);
        let state = State { disk, seed, switch: 0, link: true, boots: 0, run: None, last: None };
        let clock_offset = AtomicI64::new(0);
        let state = Mutex::new(state);
        Ok(Self(Arc::new(Inner { ground, name, cable, folder, said, clock_offset, state })))
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

    /// Puts its cable into another switch of the lab.
    pub(crate) fn to_switch(&self, number: usize) -> Result<(), LabError> {
        let mut state = lock(&self.0.state);
        state.switch = number;
        self.0.ground.switches.replug(self.0.cable, number).map_err(self.failed("replug the cable of"))
    }

    /// A file of its state partition (a path below `/var`), whether it runs or not; none when there is no such file.
    pub fn read_state_file(&self, path: &str) -> Result<Option<Vec<u8>>, LabError> {
        let state = lock(&self.0.state);
        let inside = path.trim_start_matches('/');
        let read = match &state.run {
            Some(run) => read(&Path::new("/proc").join(run.pid.to_string()).join("root").join(inside)),
            None => match state.disk.device() {
                None => Ok(None),
                Some(device) => self.read_from_disk(device, inside.strip_prefix("var/").unwrap_or(inside)),
            },
        };
        read.map_err(self.failed("read the state partition of"))
    }

    fn read_from_disk(&self, device: &LoopDevice, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((partition, _)) = device.partitions().into_iter().next() else { return Ok(None) };
        let at = self.0.folder.join("root");
        with_own_mounts(|| {
            let from = Path::new("/dev").join(&partition);
            mount(Some(&from), &at, Some("ext4"), MsFlags::MS_RDONLY, None::<&str>)?;
            read(&at.join(path))
        })
    }

    fn failed<E: Into<io::Error>>(&self, action: &'static str) -> impl FnOnce(E) -> LabError {
        LabError::kernel(action, self.0.name.clone())
    }

    fn off(&self) -> LabError {
        LabError::Power { node: self.0.name.clone(), state: "off" }
    }

    fn started(&self, state: &mut State) -> Result<Running, LabError> {
        let inner = &self.0;
        let ground = &inner.ground;
        let network = new_network().map_err(self.failed("make a network for"))?;
        ground
            .switches
            .connect(inner.cable, state.switch, &network, state.link)
            .map_err(self.failed("connect"))?;
        let groups =
            ground.hierarchies.open(&ground.id, &inner.name).map_err(self.failed("make cgroups for"))?;
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
            root: ground.root.path(),
            nodeinit: ground.nodeinit.clone(),
            seed: state.seed.clone(),
            network,
            machine,
            disks: disk.into_iter().chain(partitions).collect(),
            hierarchies: ground.hierarchies.clone(),
            groups,
        })?;
        let run = Run {
            process: Arc::new(process),
            pid: child.id(),
            began: Instant::now(),
            began_ms: boottime_ms(),
            goes_on: true,
        };
        self.show_disks(state, &run);
        state.run = Some(run);
        Ok(Running { child, reader: Reader::new(console, status), _keeper: keeper })
    }

    /// Until the machine is off.
    fn watch(&self, mut running: Running) {
        loop {
            let status = self.run_to_its_end(&mut running);
            // The keeper stands on the node's mounts.
            drop(running);
            let ended = status.map_or(Ended::Cut, ended);
            let mut state = lock(&self.0.state);
            let again = ended == Ended::Reboot && state.run.take().is_some_and(|r| r.goes_on);
            state.last = Some(ended);
            if let Err(e) = state.disk.settle() {
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

    /// The disk and its partitions have nodes in `/dev` and a word in udev's database; those that are gone have none.
    fn show_disks(&self, state: &State, run: &Run) {
        let root = Path::new("/proc").join(run.pid.to_string()).join("root");
        let dev = root.join("dev");
        let mut wanted = Vec::new();
        if let Some(device) = state.disk.device() {
            device.find_partitions();
            wanted.push((device.name().to_owned(), device.rdev()));
            wanted.extend(device.partitions());
        }
        let Ok(entries) = std::fs::read_dir(&dev) else { return };
        let there: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        for name in there.iter().filter(|n| n.starts_with("loop") && !wanted.iter().any(|(w, _)| w == *n)) {
            let _ = std::fs::remove_file(dev.join(name));
        }
        for (name, number) in wanted.iter().filter(|(n, _)| !there.contains(n)) {
            let _ = block_node(&dev, name, *number);
        }
        if let Some((_, number)) = wanted.first() {
            let (major, minor) = (nix::sys::stat::major(*number), nix::sys::stat::minor(*number));
            let data = root.join("run/udev/data");
            let file = data.join(format!("b{major}:{minor}"));
            if !file.exists() && std::fs::create_dir_all(&data).is_ok() {
                let _ = std::fs::write(file, format!("E:ID_SERIAL_SHORT={}\n", state.disk.serial()));
            }
        }
    }

    fn process(&self) -> Result<Arc<OwnedFd>, LabError> {
        lock(&self.0.state).run.as_ref().map(|r| r.process.clone()).ok_or_else(|| self.off())
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
        if let Some(run) = &mut lock(&self.0.state).run {
            run.goes_on = false;
            signal(&run.process, Signal::SIGKILL).map_err(self.failed("cut the power of"))?;
        }
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

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
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
