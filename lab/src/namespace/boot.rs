//! One boot: from the sealed root to a running PID 1.
//!
//! Takes a plan, gives the child and what it says. The thread that made the namespaces stays as long as the node runs: when
//! this process ends, however it ends, the kernel ends PID 1 and with it everything inside (`PR_SET_PDEATHSIG`).
//! Never mounts anything that the host sees.

use super::cgroup::Hierarchies;
use super::enter::{pidfd, private_mounts};
use crate::error::LabError;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{chdir, mkfifo, pivot_root};
use nodeimg_contract::machine::{Cgroups, MACHINE, Namespace};
use nodeimg_contract::paths;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};

/// Where a node finds its seed; [`Namespace::command_line`] says so.
pub(crate) const SEED: &str = "/run/seed";
/// Character devices: name, major, minor (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u64, u64); 8] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("kmsg", 1, 11),
    ("tty", 5, 0),
    ("fuse", 10, 229),
];

/// Everything that a boot needs.
pub(crate) struct BootPlan {
    /// An empty folder to mount the root on; nobody but the node sees what is mounted there.
    pub(crate) folder: PathBuf,
    /// Block device with the EROFS.
    pub(crate) root: PathBuf,
    /// Stands over the root's own nodeinit.
    pub(crate) nodeinit: Option<PathBuf>,
    /// The seed's documents; none, and the node finds none.
    pub(crate) seed: Option<PathBuf>,
    pub(crate) network: OwnedFd,
    pub(crate) machine: Namespace,
    /// Block devices of its own: name, number.
    pub(crate) disks: Vec<(String, u64)>,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) groups: Vec<File>,
}

/// A booted node.
pub(crate) struct Booted {
    pub(crate) child: Child,
    pub(crate) process: OwnedFd,
    /// What the console says, and NodeStatus lines.
    pub(crate) pipes: (File, File),
    /// Dropped, the thread that keeps PID 1 alive ends, and PID 1 with it.
    pub(crate) keeper: Sender<()>,
}

/// Boots.
pub(crate) fn boot(plan: BootPlan) -> Result<Booted, LabError> {
    let (done, started) = channel();
    let (keeper, kept) = channel::<()>();
    let object = plan.folder.display().to_string();
    std::thread::Builder::new()
        .name("node".into())
        .spawn(move || {
            let result = start(plan);
            let good = result.is_ok();
            let _ = done.send(result);
            if good {
                let _ = kept.recv();
            }
        })
        .map_err(LabError::kernel("start a thread for", &object))?;
    let lost = || io::Error::other("its thread failed");
    let (child, console, status) = started
        .recv()
        .unwrap_or_else(|_| Err(Failed { step: "start", source: lost() }))
        .map_err(|f| LabError::Kernel { action: f.step, object: object.clone(), source: f.source })?;
    let process = pidfd(child.id()).map_err(LabError::kernel("watch", &object))?;
    Ok(Booted { child, process, pipes: (console, status), keeper })
}

struct Failed {
    step: &'static str,
    source: io::Error,
}

fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Failed {
    move |e| Failed { step, source: e.into() }
}

fn start(plan: BootPlan) -> Result<(Child, File, File), Failed> {
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_FS;
    unshare(namespaces).map_err(at("make namespaces for"))?;
    setns(&plan.network, CloneFlags::CLONE_NEWNET).map_err(at("enter the network of"))?;
    private_mounts().map_err(at("make private mounts for"))?;
    let root = plan.folder.as_path();
    let read_only = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount(Some(&plan.root), root, Some("erofs"), read_only, None::<&str>).map_err(at("mount the root at"))?;
    if let Some(nodeinit) = &plan.nodeinit {
        bind(nodeinit, &below(root, paths::NODEINIT)).map_err(at("put nodeinit into"))?;
    }
    fill_run(&plan, root).map_err(at("fill /run of"))?;
    fill_dev(&plan, root).map_err(at("fill /dev of"))?;
    fill_sys(&plan, root).map_err(at("fill /sys of"))?;
    let console = read_end(&below(root, "/dev/console")).map_err(at("open the console of"))?;
    let port = format!("/dev/virtio-ports/{}", paths::STATUS_PORT);
    let status = read_end(&below(root, &port)).map_err(at("open the status port of"))?;
    let said = OpenOptions::new().write(true).open(below(root, "/dev/console"));
    let said = said.map_err(at("open the console of"))?;

    // pivot_root(2), "pivot_root(".", ".")": the old root lies over the new one until it is unmounted.
    chdir(root)
        .and_then(|()| pivot_root(".", "."))
        .and_then(|()| umount2(".", MntFlags::MNT_DETACH))
        .and_then(|()| chdir("/"))
        .map_err(at("enter the root of"))?;
    let errors = said.try_clone().map_err(at("open the console of"))?;
    let mut command = Command::new(paths::NODEINIT);
    command
        .arg("stage2")
        .env_clear()
        .envs([("PATH", "/usr/bin:/usr/sbin"), ("TERM", "linux")])
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(errors);
    into_groups(&mut command, plan.groups, mounts_of(&plan.hierarchies).map_err(at("name the cgroups of"))?);
    let child = command.spawn().map_err(at("start nodeinit in"))?;
    Ok((child, console, status))
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn bind(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

fn tmpfs(at: &Path) -> nix::Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
}

fn fill_run(plan: &BootPlan, root: &Path) -> io::Result<()> {
    tmpfs(&below(root, "/run"))?;
    std::fs::create_dir(below(root, paths::RUN))?;
    let text = serde_json::to_vec(&plan.machine).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(below(root, MACHINE))?;
    file.write_all(&text)?;
    let seed = below(root, SEED);
    std::fs::create_dir(&seed)?;
    if let Some(from) = &plan.seed {
        bind(from, &seed)?;
    }
    Ok(())
}

fn fill_dev(plan: &BootPlan, root: &Path) -> io::Result<()> {
    let dev = below(root, "/dev");
    tmpfs(&dev)?;
    for (name, major, minor) in DEVICES {
        let number = nix::sys::stat::makedev(major, minor);
        mknod(&dev.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), number)?;
        // mknod's mode passes through the umask.
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            &dev.join(name),
            Mode::from_bits_truncate(0o666),
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )?;
    }
    for (name, number) in &plan.disks {
        block_node(&dev, name, *number)?;
    }
    symlink("pts/ptmx", dev.join("ptmx"))?;
    std::fs::create_dir(dev.join("virtio-ports"))?;
    for pipe in ["console".to_owned(), format!("virtio-ports/{}", paths::STATUS_PORT)] {
        mkfifo(&dev.join(pipe), Mode::from_bits_truncate(0o600))?;
    }
    Ok(())
}

/// Makes a block device's node in a `/dev`.
pub(crate) fn block_node(dev: &Path, name: &str, number: u64) -> io::Result<()> {
    Ok(mknod(&dev.join(name), SFlag::S_IFBLK, Mode::from_bits_truncate(0o600), number)?)
}

fn fill_sys(plan: &BootPlan, root: &Path) -> io::Result<()> {
    let sys = below(root, "/sys");
    // Read-only: what can be set there is the host's. A mount of its own shows the links of this network namespace.
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), &sys, Some("sysfs"), safe | MsFlags::MS_RDONLY, None::<&str>)?;
    // The host's firmware may name a seed of the host's own.
    let firmware = sys.join("class/dmi/id");
    if firmware.is_dir() {
        mount(Some("tmpfs"), &firmware, Some("tmpfs"), safe, Some("mode=0755"))?;
    }
    if plan.hierarchies.version == Cgroups::V1 {
        let groups = sys.join("fs/cgroup");
        tmpfs(&groups)?;
        for hierarchy in &plan.hierarchies.all {
            std::fs::create_dir(groups.join(&hierarchy.options))?;
            // Programs look for a controller by its own name.
            for controller in hierarchy.options.split(',').filter(|c| *c != hierarchy.options) {
                symlink(&hierarchy.options, groups.join(controller))?;
            }
        }
    }
    Ok(())
}

/// The reading end of a pipe; its writers come and go.
fn read_end(path: &Path) -> io::Result<File> {
    const PIPE_BYTES: libc::c_int = 1 << 20;
    // Held for reading and writing, the pipe never says that its last writer has gone.
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // SAFETY: the descriptor is open; the request takes a number. A smaller pipe would do, too.
    let _ = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
    Ok(file)
}

/// cgroup v1: target and options of each mount. nodeinit mounts v2 itself.
fn mounts_of(hierarchies: &Hierarchies) -> io::Result<Vec<(CString, CString)>> {
    if hierarchies.version == Cgroups::V2 {
        return Ok(Vec::new());
    }
    let pair = |options: &str| {
        let target = CString::new(format!("/sys/fs/cgroup/{options}"))?;
        Ok((target, CString::new(options)?))
    };
    hierarchies.all.iter().map(|h| pair(&h.options)).collect()
}

/// PID 1 moves into its groups, takes them for the root of all groups, and mounts them; then its parent's end is its own.
fn into_groups(command: &mut Command, groups: Vec<File>, mounts: Vec<(CString, CString)>) {
    let failed = io::Error::last_os_error;
    // SAFETY: the closure runs between fork and exec. It makes system calls alone (write, unshare, mount, prctl,
    // setrlimit), on descriptors and strings that were made before the fork, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for group in &groups {
                if libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1 {
                    return Err(failed());
                }
            }
            if libc::unshare(libc::CLONE_NEWCGROUP) != 0 {
                return Err(failed());
            }
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            for (target, options) in &mounts {
                let kind = c"cgroup".as_ptr();
                if libc::mount(kind, target.as_ptr(), kind, flags, options.as_ptr().cast()) != 0 {
                    return Err(failed());
                }
            }
            let files = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            let _ = libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(failed());
            }
            Ok(())
        });
    }
}
