//! A virtual machine of a lab.
//!
//! Takes a node's spec and the lab's switch. Gives the trait [`Machine`]. A thread a boot takes what the machine says.

use super::hub::Hub;
use super::lab::{Host, QemuNodeSpec};
use super::switch::Plug;
use crate::error::LabError;
use crate::machine::{Answer, Ended, Machine};
use crate::said::{News, Said, lock};
use nodeimg_contract::status::NodeStatus;
use nodeimg_qemu::{Accel, Boot, Cable, Event, Exit, Forward, Network, Vm, VmError, VmSpec};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a machine may take from power-on to nodeinit's first word; on a loaded host's software CPUs that is minutes.
const FIRST_WORD: Duration = Duration::from_secs(300);
/// How long QEMU may take to die.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// How often a machine is switched on again whose QEMU crashed before the guest had said anything (several software CPUs
/// now and then fail an assertion of QEMU, `iotlb_to_section`).
const CRASHES: u32 = 3;
/// kubeadm's port of the API server.
const API_PORT: u16 = 6443;
/// How often a thread that waits for events looks whether there is anything else to do.
const TICK: Duration = Duration::from_millis(500);

/// A virtual machine.
pub struct QemuMachine {
    name: String,
    number: usize,
    host: Arc<Host>,
    hub: Arc<Hub>,
    folder: PathBuf,
    spec: VmSpec,
    disk_bytes: u64,
    /// Held by whoever changes the machine's power or disk.
    state: Mutex<State>,
    link: AtomicBool,
    run: Arc<Mutex<Run>>,
    said: Arc<Said>,
    news: News,
}

struct State {
    boots: u32,
    plugged: bool,
    watcher: Option<JoinHandle<()>>,
}

/// What is true of the machine at this moment.
#[derive(Default)]
struct Run {
    vm: Option<Arc<Vm>>,
    exit: Option<Exit>,
    last: Option<Ended>,
}

impl QemuMachine {
    pub(crate) fn new(
        number: usize,
        node: &QemuNodeSpec,
        host: Arc<Host>,
        hub: Arc<Hub>,
        folder: PathBuf,
        news: News,
    ) -> Result<Self, LabError> {
        let made = LabError::kernel("make the node", &node.name);
        let (said, spec) = (|| -> io::Result<_> {
            std::fs::create_dir_all(&folder)?;
            let said = Said::new(news.clone(), File::create(folder.join("console.log"))?);
            let port = nodeimg_qemu::free_port().map_err(io::Error::other)?;
            let cable = Cable {
                card: hub.socket(Plug::Card(number)),
                way: hub.socket(Plug::Way(number)),
                guest: node.address,
                prefix: node.prefix,
                host: host.address,
            };
            Ok((said, machine(number, node, &host, cable, port, folder.join("state.img"))?))
        })()
        .map_err(made)?;
        let this = Self {
            name: node.name.clone(),
            number,
            host,
            hub,
            folder,
            spec,
            disk_bytes: node.disk_bytes,
            state: Mutex::new(State { boots: 0, plugged: true, watcher: None }),
            link: AtomicBool::new(true),
            run: Arc::default(),
            said: Arc::new(said),
            news,
        };
        this.blank_disk()?;
        Ok(this)
    }

    /// The port of 127.0.0.1 that leads to its API server, if it has one.
    pub fn api_port(&self) -> u16 {
        self.spec.network.forwards.first().map_or(0, |f| f.host)
    }

    /// How its last run ended; none before that.
    pub fn last_end(&self) -> Option<Ended> {
        lock(&self.run).last
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("state.img")
    }

    fn blank_disk(&self) -> Result<(), LabError> {
        match std::fs::remove_file(self.disk()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(LabError::kernel("wipe the disk of", &self.name)(e));
            }
            _ => {}
        }
        nodeimg_qemu::create_state_disk(&self.disk(), self.disk_bytes).map_err(self.failed())
    }

    fn failed(&self) -> impl FnOnce(VmError) -> LabError {
        let node = self.name.clone();
        move |source| LabError::Vm { node, source }
    }

    fn late(&self, what: &str, limit: Duration) -> LabError {
        LabError::Deadline { what: format!("{what} of {}", self.name), limit, seen: self.console() }
    }

    fn vm(&self) -> Result<Arc<Vm>, LabError> {
        lock(&self.run).vm.clone().ok_or_else(|| LabError::Power { node: self.name.clone(), state: "off" })
    }

    fn must_be_off(&self) -> Result<(), LabError> {
        if self.is_on() { Err(LabError::Power { node: self.name.clone(), state: "on" }) } else { Ok(()) }
    }

    fn start(&self, state: &mut State) -> Result<(), LabError> {
        let mut spec = self.spec.clone();
        spec.state_disk = spec.state_disk.filter(|_| state.plugged);
        state.boots += 1;
        self.said.begin(state.boots);
        let vm = Arc::new(Vm::start(&spec, &self.host.program, &self.folder).map_err(self.failed())?);
        if !self.link.load(Ordering::SeqCst) {
            vm.link(false).map_err(self.failed())?;
        }
        {
            let mut run = lock(&self.run);
            run.vm = Some(vm.clone());
            run.exit = None;
        }
        let (run, said, news) = (self.run.clone(), self.said.clone(), self.news.clone());
        state.watcher = Some(std::thread::spawn(move || watch(vm, &run, &said, &news)));
        Ok(())
    }

    /// Waits for nodeinit's first word. `false`: QEMU crashed before anything had been said.
    fn first_word(&self) -> Result<bool, LabError> {
        let came = self.news.until(FIRST_WORD, || {
            let exit = lock(&self.run).exit;
            match (exit, self.said.status()) {
                (_, Some(_)) => Some(Ok(true)),
                (Some(exit), None) if exit.is_crash() => Some(Ok(false)),
                (Some(_), None) => Some(Err(LabError::Power { node: self.name.clone(), state: "off" })),
                (None, None) => None,
            }
        });
        came.unwrap_or_else(|| Err(self.late("the first word", FIRST_WORD)))
    }

    fn until_off(&self, state: &mut State, limit: Duration, what: &str) -> Result<(), LabError> {
        let off = self.news.until(limit, || (!self.is_on()).then_some(()));
        off.ok_or_else(|| self.late(what, limit))?;
        if let Some(watcher) = state.watcher.take() {
            // It has only to return.
            let _ = watcher.join();
        }
        Ok(())
    }

    fn on(&self, state: &mut State) -> Result<(), LabError> {
        self.must_be_off()?;
        for _ in 0..=CRASHES {
            self.start(state)?;
            if self.first_word()? {
                return Ok(());
            }
            self.until_off(state, KILL_LIMIT, "the crash")?;
        }
        Err(LabError::Power { node: self.name.clone(), state: "off: its QEMU crashes" })
    }

    fn off(&self, state: &mut State, limit: Duration) -> Result<(), LabError> {
        self.vm()?.powerdown().map_err(self.failed())?;
        self.until_off(state, limit, "the orderly end")
    }
}

impl Machine for QemuMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn power_on(&self) -> Result<(), LabError> {
        self.on(&mut lock(&self.state))
    }

    fn power_cut(&self) -> Result<(), LabError> {
        // Before anything else: whoever waits for a first word or an orderly end holds the state.
        if let Some(vm) = lock(&self.run).vm.as_ref() {
            vm.power_cut();
        }
        self.until_off(&mut lock(&self.state), KILL_LIMIT, "the cut")
    }

    fn power_off(&self, limit: Duration) -> Result<(), LabError> {
        self.off(&mut lock(&self.state), limit)
    }

    fn reboot(&self, limit: Duration) -> Result<(), LabError> {
        let mut state = lock(&self.state);
        self.off(&mut state, limit)?;
        self.on(&mut state)
    }

    fn is_on(&self) -> bool {
        lock(&self.run).vm.is_some()
    }

    fn wipe_disk(&self) -> Result<(), LabError> {
        let _state = lock(&self.state);
        self.must_be_off()?;
        self.blank_disk()
    }

    fn unplug_disk(&self) -> Result<(), LabError> {
        let mut state = lock(&self.state);
        self.must_be_off()?;
        state.plugged = false;
        Ok(())
    }

    fn plug_disk(&self) -> Result<(), LabError> {
        let mut state = lock(&self.state);
        self.must_be_off()?;
        state.plugged = true;
        Ok(())
    }

    fn link(&self, up: bool) -> Result<(), LabError> {
        // Not under the lock of whoever waits for a first word.
        self.link.store(up, Ordering::SeqCst);
        self.hub.link(self.number, up);
        match lock(&self.run).vm.clone() {
            Some(vm) => vm.link(up).map_err(self.failed()),
            None => Ok(()),
        }
    }

    fn console(&self) -> String {
        self.said.console()
    }

    fn status(&self) -> Option<NodeStatus> {
        self.said.status()
    }

    fn exec(&self, _command: &[&str], _limit: Duration) -> Result<Answer, LabError> {
        Err(LabError::NoAgent { node: self.name.clone() })
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.power_cut();
    }
}

fn watch(vm: Arc<Vm>, run: &Mutex<Run>, said: &Said, news: &News) {
    let exit = loop {
        match vm.next_event(TICK) {
            Some(Event::Console(line)) => said.text(format!("{line}\n").as_bytes()),
            Some(Event::Qemu(line)) => said.text(format!("-- QEMU: {line} --\n").as_bytes()),
            Some(Event::Status(status)) => said.status_is(*status),
            Some(Event::StatusUnreadable(why)) => said.text(format!("-- status: {why} --\n").as_bytes()),
            Some(Event::Reset) => said.text(b"-- reset --\n"),
            Some(Event::Exited(exit)) => break exit,
            None => {}
        }
    };
    said.text(format!("-- {exit} --\n").as_bytes());
    let mut run = lock(run);
    run.exit = Some(exit);
    run.last = Some(if exit == Exit::Code(0) { Ended::PowerOff } else { Ended::Cut });
    run.vm = None;
    drop(run);
    news.tell();
}

fn machine(
    number: usize,
    node: &QemuNodeSpec,
    host: &Host,
    cable: Cable,
    port: u16,
    state_disk: PathBuf,
) -> io::Result<VmSpec> {
    let file = |name: &str| node.image.join(name);
    Ok(VmSpec {
        name: node.name.clone(),
        accel: host.accel,
        cpus: host.cpus,
        memory_mib: host.memory_mib,
        boot: Boot::Direct {
            kernel: file("vmlinuz"),
            initrd: file("initrd"),
            cmdline: std::fs::read_to_string(file("cmdline"))?.trim().to_owned(),
        },
        extra_arguments: match host.accel {
            Accel::Tcg => nodeimg_qemu::LAB_ARGUMENTS_TCG.to_owned(),
            Accel::Kvm => String::new(),
        },
        root_img: file("root.img"),
        state_disk: Some(state_disk),
        seed_disk: node.seed_disk.clone(),
        network: Network {
            restrict: true,
            forwards: vec![Forward { host: port, guest: API_PORT }],
            mac: format!("52:54:00:6e:6a:{number:02x}"),
            cable: Some(cable),
        },
    })
}
