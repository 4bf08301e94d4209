//! `/init` of the initramfs: from a bare kernel to PID 1 in the verified root.
//!
//! Takes the kernel command line. Gives a root that was found by its root hash and is opened through dm-verity, and
//! executes nodeinit there. May touch: the kernel's own file systems, modules, one device-mapper device, one mount.
//! Never mounts what does not match the root hash, never gives up looking, never ends.

mod find_root;
mod hotplug;
mod switch_root;

use crate::device_mapper::{DeviceMapper, ROOT_NAME, Table, Verity};
use crate::modules::Modules;
use crate::mounts;
use crate::report::Reporter;
use crate::root_watch;
use find_root::Found;
use hotplug::Hotplug;
use nix::mount::MsFlags;
use nodeimg_contract::cmdline::{CommandLine, DEBUG, ROOTHASH};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::status::{Phase, milestone};
use nodeimg_contract::verity::{BLOCK, RootHash, Superblock};
use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where the root is mounted before it becomes `/`.
const SYSROOT: &str = "/sysroot";
/// Deadline of the search for the root; it goes on after that.
const ROOT_DEADLINE: Duration = Duration::from_secs(20);
/// How long a device-mapper node may take to appear in `/dev`.
const NODE_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the stage; on return something fatal was reported.
pub fn run() {
    // Nothing can be said before /dev and /sys are there; what fails here fails again below, with a console.
    let mounted = mounts::early();
    let _ = std::fs::create_dir_all(nodeimg_contract::paths::RUN);
    let reporter = Reporter::start();
    reporter.phase(Phase::Early);
    reporter.milestone(milestone::INIT);
    if let Err(e) = mounted {
        return reporter.fault(kernel_lacks("a file system of the kernel's own", &e.to_string()));
    }
    let Err(fault) = boot(&reporter);
    reporter.fault(fault);
    reporter.line("this boot is refused; nothing was written to any disk");
}

fn boot(reporter: &Reporter) -> Result<Infallible, Fault> {
    let words = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let words = CommandLine::parse(&words);
    if !words.has(DEBUG) {
        // The kernel's own lines below "warning" stay in its log: the console is for people.
        let _ = std::fs::write("/proc/sys/kernel/printk", "4");
    }
    let hash = root_hash(&words)?;
    let mut modules = Modules::of_running_kernel();
    let mut hotplug = Hotplug::listen();
    // dm-verity takes the quickest SHA-256 that is there when a device begins, and keeps it; a processor without these
    // instructions refuses the module.
    let _ = modules.load("sha256_ssse3");
    for name in ["dm_mod", "dm_verity", "erofs"] {
        modules.load(name).map_err(|e| kernel_lacks(name, &e.to_string()))?;
    }
    modules.load_for_all();
    reporter.reopen();
    reporter.phase(Phase::Root);
    let found = search(reporter, &hash, &mut modules, &mut hotplug);
    open(reporter, &hash, &found)?;
    reporter.milestone(milestone::ROOT);
    reporter.line(format!("root {} on {} is mounted, verified as it is read", short(&hash), found.data.name));
    let program = switch_root::read_nodeinit(Path::new(SYSROOT))
        .map_err(|e| refused(&hash, &format!("nodeinit could not be read from it: {e}")))?;
    switch_root::enter(SYSROOT, &program).map_err(|e| Fault {
        code: Code::RootMount,
        object: format!("root {}", short(&hash)),
        cause: e,
        help: "this is a fault of the image: boot another one".to_owned(),
    })
}

fn root_hash(words: &CommandLine) -> Result<RootHash, Fault> {
    let missing = |cause: String| Fault {
        code: Code::RootHashMissing,
        object: "kernel command line".to_owned(),
        cause,
        help: "boot the UKI, or pass the whole file `cmdline` that lies beside the kernel".to_owned(),
    };
    let text = words.value(ROOTHASH).ok_or_else(|| missing(format!("it has no {ROOTHASH}=")))?;
    text.parse().map_err(|e: nodeimg_contract::verity::BadRootHash| missing(e.to_string()))
}

/// Looks until the root is found; devices that appear meanwhile get their drivers.
fn search(reporter: &Reporter, hash: &RootHash, modules: &mut Modules, hotplug: &mut Hotplug) -> Found {
    let fault = Fault {
        code: Code::RootNotFound,
        object: format!("root {}", short(hash)),
        cause: "no disk was looked at yet".to_owned(),
        help: "plug in the disk with this image (root.img), or boot the image that this disk carries; looking goes on"
            .to_owned(),
    };
    let wait = reporter.waiting("the disk with the root", ROOT_DEADLINE, fault);
    loop {
        let seen = match find_root::scan(hash) {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        wait.cause(seen);
        for alias in hotplug.next(Duration::from_millis(200)) {
            modules.load_for(&alias);
        }
    }
}

fn open(reporter: &Reporter, hash: &RootHash, found: &Found) -> Result<(), Fault> {
    let superblock = found
        .tree
        .read(0, BLOCK)
        .map_err(|e| e.to_string())
        .and_then(|b| Superblock::parse(&b).map_err(|e| e.to_string()))
        .map_err(|e| refused(hash, &format!("its hash tree on {} is not readable: {e}", found.tree.name)))?;
    let table = Table::verity(&superblock, hash, &found.data.dev, &found.tree.dev);
    let mapper = DeviceMapper::open().map_err(|e| kernel_lacks("device mapper", &e.to_string()))?;
    let (_, minor) = mapper
        .create(ROOT_NAME, &table)
        .map_err(|e| refused(hash, &format!("the kernel does not open it through dm-verity: {e}")))?;
    let node = format!("/dev/dm-{minor}");
    let begun = Instant::now();
    while !Path::new(&node).exists() && begun.elapsed() < NODE_DEADLINE {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mounted = mounts::mount(&node, SYSROOT, Some("erofs"), MsFlags::MS_RDONLY | MsFlags::MS_NODEV, "");
    let Err(error) = mounted else { return Ok(()) };
    reporter.line(error.to_string());
    Err(match mapper.verity(ROOT_NAME) {
        Ok(Verity::Corrupted) => refused(hash, &error.to_string()),
        _ => Fault {
            code: Code::RootMount,
            object: format!("root {} on {}", short(hash), found.data.name),
            cause: error.to_string(),
            help: "this is a fault of the image: build it again".to_owned(),
        },
    })
}

fn refused(hash: &RootHash, what: &str) -> Fault {
    let detail = root_watch::last_corruption().map_or(String::new(), |block| format!(" ({block})"));
    Fault {
        code: Code::RootTampered,
        object: format!("root {}", short(hash)),
        cause: format!("{what}{detail}"),
        help: "write the image to the disk again and check the disk; somebody or something has changed it"
            .to_owned(),
    }
}

fn kernel_lacks(object: &str, cause: &str) -> Fault {
    Fault {
        code: Code::BootKernel,
        object: object.to_owned(),
        cause: cause.to_owned(),
        help: "this is a fault of the image: build it with Debian's kernel package".to_owned(),
    }
}

fn short(hash: &RootHash) -> String {
    hash.to_string().chars().take(16).collect()
}
