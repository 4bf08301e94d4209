//! PID 1 from the verified root: from mounts to a steady node.
//!
//! Takes the sealed root and what stage 1 did. Gives a node that runs what its seed says, and stays. The order is
//! DESIGN's: identity, network, seed, time, storage, services, formation, steady; what does not depend on each other
//! goes on at once (devices, modules, disk and containerd beside network and time).
//! Never ends; a shutdown comes from the signals' thread.

mod config;
mod early;
mod host;
mod kernel_needs;
mod kubelet_files;
mod seed_wait;
mod services;
mod ssh;
mod udev;

use crate::clock;
use crate::datasource::Sources;
use crate::formation::{Desk, Formation, Memory};
use crate::modules::Modules;
use crate::net::{Network, files::EtcFiles};
use crate::process::Processes;
use crate::report::Reporter;
use crate::root_watch::RootWatch;
use crate::shutdown::{Shutdown, ShutdownPlan};
use crate::storage::{self, State, WithoutDisk};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_contract::paths;
use nodeimg_contract::seed;
use nodeimg_contract::status::{Phase, milestone};
use seed_wait::Seeded;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The NodeConfig of the last good boot.
pub const KEPT_CONFIG: &str = config::KEPT;
/// Its network-config document.
pub const KEPT_NETWORK: &str = config::KEPT_NETWORK;
/// After a failed try to do what an operator asked for in the boot before.
const REQUEST_PAUSE: Duration = Duration::from_secs(30);
/// How long resolving one name may take.
const RESOLVE: Duration = Duration::from_secs(10);

/// What every part of the stage works with; cheap to clone.
#[derive(Clone)]
pub struct Node {
    reporter: Reporter,
    processes: Processes,
    shutdown: Shutdown,
    watch: RootWatch,
    image: RootManifest,
}

/// Runs the stage; on return something fatal was reported, or the node goes down.
pub fn run() {
    let mounted = early::mount_all();
    let reporter = Reporter::start();
    reporter.phase(Phase::Identity);
    reporter.milestone(milestone::STAGE2);
    if let Err(e) = mounted {
        reporter.fault(e.fault());
        return;
    }
    let processes = Processes::start(reporter.clone());
    let shutdown = Shutdown::start(ShutdownPlan { reporter: reporter.clone(), processes: processes.clone() });
    let watch = RootWatch::start(reporter.clone());
    let image = match config::image() {
        Ok(image) => image,
        Err(fault) => return reporter.fault(fault),
    };
    let node = Node { reporter, processes, shutdown, watch, image };
    if let Err(fault) = node.boot() {
        node.watch.gate(&node.reporter);
        node.reporter.fault(fault);
    }
}

impl Node {
    fn boot(&self) -> Result<(), Fault> {
        let r = &self.reporter;
        early::cgroups().map_err(|e| e.fault())?;
        early::identity().map_err(|e| e.fault())?;
        let needs = self.clone();
        let devices = std::thread::Builder::new()
            .name("devices".into())
            .spawn(move || udev::start(&needs.processes, &needs.reporter, &needs.shutdown))
            .map_err(|e| config::no_thread(&e))?;
        let reporter = r.clone();
        let needed = std::thread::Builder::new()
            .name("kernel-needs".into())
            .spawn(move || kernel_needs::provide(&reporter))
            .map_err(|e| config::no_thread(&e))?;

        r.phase(Phase::Network);
        let network = Network::start(r.clone(), EtcFiles::of_this_node())?;
        r.phase(Phase::Seed);
        let sources = Sources::of_this_node(module_loader());
        let settled = || devices.is_finished();
        let Some(seeded) = seed_wait::find(self, &sources, &network, &settled) else { return Ok(()) };
        r.milestone(milestone::SEED);
        self.watch.gate(r);

        // The disk needs the seed's consent alone, and containerd the disk alone: neither waits for the network.
        let state = self.state_in_background(seeded.disk().cloned())?;
        r.phase(Phase::Network);
        if let Some(name) = seeded.name() {
            r.node(&name);
            network.set_hostname(&name)?;
        }
        // Links get their last names from udev.
        let named = || settled() || udev::links_are_named();
        crate::process::poll(Duration::from_secs(60), Duration::from_millis(20), named);
        network.apply(seeded.network.clone());
        if !network.wait_online(|| self.shutdown.asked()) {
            return Ok(());
        }
        r.milestone(milestone::NETWORK);
        let Some((config, seeded)) = seed_wait::decided(self, &sources, &network, seeded) else {
            return Ok(());
        };
        network.set_hostname(config.name.value.as_str())?;
        network.set_hosts(&config.hosts_file())?;
        let desk = Desk::open(r, &config, &self.image)?;

        r.phase(Phase::Time);
        let resolver = network.clone();
        let resolve = move |name: &str| resolved(&resolver, name);
        let floor = clock::floor(self.image.source_date_epoch, config.issued_at);
        let servers = config.ntp_servers.value.clone();
        clock::check(r, floor, &servers, &resolve, || self.shutdown.asked());
        let keeper = network.clone();
        clock::keep(r.clone(), floor, servers, move |name: &str| resolved(&keeper, name));

        r.phase(Phase::Storage);
        let state = match state.join() {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(()),
            Err(_) => return Err(config::no_state()),
        };
        // What an operator asked for may fail, or take long: there must be a way in.
        ssh::start(self, &config.ssh_authorized_keys);
        if !self.carry_out() {
            return Ok(());
        }
        if !config::keep(r, &config, &seeded, state == State::Memory, || self.shutdown.asked())? {
            return Ok(());
        }
        self.watch.gate(r);

        r.phase(Phase::Services);
        if needed.join().is_err() {
            r.warn("modules and settings that Kubernetes needs may be missing: their thread failed");
        }
        services::await_containerd(r, || {
            self.watch.gate(r);
            self.shutdown.asked()
        });
        self.watch.gate(r);

        let formation = Formation {
            reporter: r.clone(),
            processes: self.processes.clone(),
            config,
            image: self.image.clone(),
            desk,
            resolve: &resolve,
            host: self,
            stop: self.shutdown.flag(),
            memory: Memory::default(),
        };
        formation.run();
        Ok(())
    }

    /// Tries until it is done; `false`: the node goes down.
    fn carry_out(&self) -> bool {
        let mut shown: Option<Fault> = None;
        loop {
            let done = crate::formation::carry_out(&self.reporter, &self.processes, || self.shutdown.asked());
            if let Some(fault) = shown.take() {
                self.reporter.clear_fault_of(fault.code, &fault.object);
            }
            let Err(fault) = done else { return true };
            if self.shutdown.asked() {
                return false;
            }
            self.reporter.fault(fault.clone());
            shown = Some(fault);
            if crate::process::poll(REQUEST_PAUSE, Duration::from_millis(250), || self.shutdown.asked()) {
                return false;
            }
        }
    }

    /// Storage, image store, containerd: as soon as the seed consents.
    fn state_in_background(
        &self,
        named: Option<seed::Disk>,
    ) -> Result<std::thread::JoinHandle<Option<State>>, Fault> {
        let node = self.clone();
        std::thread::Builder::new()
            .name("state".into())
            .spawn(move || {
                let r = &node.reporter;
                let without = match node.image.role {
                    Role::ControlPlane | Role::Etcd => WithoutDisk::Wait,
                    Role::Worker | Role::Lb => WithoutDisk::Memory,
                };
                let give_up = || node.shutdown.asked();
                let state = storage::mount(r, &node.processes, named.as_ref(), without, give_up)?;
                early::keep_machine_id(r);
                r.milestone(milestone::STORAGE);
                r.line(match state {
                    State::Kept => "state partition is mounted, as it was left",
                    State::New => "state partition is made and mounted",
                    State::Memory => "state is in memory",
                });
                node.watch.gate(r);
                services::place_store(&node);
                services::start_containerd(&node);
                Some(state)
            })
            .map_err(|e| config::no_thread(&e))
    }
}

/// Loads what a seed disk needs. It has an index of its own, read when the first module is wanted: the thread that loads
/// Kubernetes' modules is busy for a while, and a seed must not wait for it.
fn module_loader() -> crate::datasource::LoadModule {
    let modules: Mutex<Option<Modules>> = Mutex::new(None);
    Box::new(move |name| {
        let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get_or_insert_with(Modules::by_name).load(name).map_err(|e| e.to_string())
    })
}

fn resolved(network: &Network, name: &str) -> Result<Vec<IpAddr>, String> {
    network.resolve(name, RESOLVE).map_err(|e| e.to_string())
}

/// A fault of the image: a file that the builder bakes is missing or wrong.
fn image_fault(path: &str, cause: &str) -> Fault {
    Fault {
        code: Code::BootKernel,
        object: path.to_owned(),
        cause: cause.to_owned(),
        help: "this is a fault of the image: build it again".to_owned(),
    }
}

/// Where a service's log lies.
fn log_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(storage::VAR).join("log/nodeimg").join(format!("{name}.log"))
}

/// Where the log of a service lies that starts before there is a disk.
fn early_log_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(paths::RUN).join("log").join(format!("{name}.log"))
}

/// A boot's seed is its only input from outside.
impl Seeded {
    fn disk(&self) -> Option<&seed::Disk> {
        match &self.origin {
            seed_wait::Origin::Seed(seed) => seed.user_data.nodeimg.as_ref().and_then(|n| n.disk.as_ref()),
            seed_wait::Origin::Cache(config) => config.disk.as_ref(),
        }
    }
}
