//! The driver `namespace`: machines made of namespaces on the host's kernel.
//!
//! Takes a sealed root image and seeds; gives machines that run nodeinit as PID 1 of namespaces of their own, with real
//! containerd, kubelet and etcd. Needs root. May touch: loop devices, control groups below `nodeimg-lab`, files in the
//! lab's folder, `fs.inotify` limits (raised, never lowered). The kubelet sets a few of the kernel's tunables
//! (`vm.overcommit_memory`, `kernel.panic` …), which are the host's. The host's mounts and network are never touched:
//! everything hangs on descriptors and processes, and goes when they do.

mod boot;
mod cgroup;
mod disk;
mod enter;
mod loop_device;
mod network;
mod node;
mod volatile_disk;
mod write_cache;

pub(crate) use node::Ground;
pub use node::Node;
pub(crate) use volatile_disk::is_possible as has_volatile_disks;
pub use write_cache::Moment;

use crate::error::LabError;
use crate::said::News;
use crate::spec::LabSpec;
use cgroup::Hierarchies;
use loop_device::{LoopDevice, Window};
use network::Switches;
use nix::fcntl::{Flock, FlockArg};
use nodeimg_contract::partition;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names of labs' folders begin so.
const PREFIX: &str = "lab-";
/// Held by a living lab, in its folder.
const LOCK: &str = "lock";
/// What several kubelets, containerds and CNI plugins on one kernel need (inotify(7)).
const INOTIFY: [(&str, u64); 2] =
    [("/proc/sys/fs/inotify/max_user_instances", 8192), ("/proc/sys/fs/inotify/max_user_watches", 524_288)];

/// Makes a lab's folder, after removing what killed labs have left. Gives its name, the folder, and what locks it.
pub(crate) fn claim(folder: &Path) -> Result<(String, PathBuf, Flock<File>), LabError> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let at = |path: &Path| path.display().to_string();
    std::fs::create_dir_all(folder).map_err(LabError::kernel("make the folder", at(folder)))?;
    remove_leftovers(folder)?;
    let id = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let own = folder.join(&id);
    std::fs::create_dir(&own).map_err(LabError::kernel("make the folder", at(&own)))?;
    let file = File::create(own.join(LOCK)).map_err(LabError::kernel("write in", at(&own)))?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, e)| LabError::kernel("lock", at(&own))(e))?;
    Ok((id, own, lock))
}

/// A folder of ours whose lock nobody holds is a killed lab's. Its processes, mounts, links and loop devices have gone
/// with it; files and control groups have not.
fn remove_leftovers(folder: &Path) -> Result<(), LabError> {
    let entries =
        std::fs::read_dir(folder).map_err(LabError::kernel("list", folder.display().to_string()))?;
    for entry in entries.flatten() {
        let Some(id) = entry.file_name().into_string().ok().filter(|n| n.starts_with(PREFIX)) else {
            continue;
        };
        // One that has no lock yet is being made at this moment.
        let Ok(file) = File::open(entry.path().join(LOCK)) else { continue };
        if let Ok(_dead) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            if let Ok(hierarchies) = Hierarchies::of_this_host() {
                hierarchies.remove(&id, None);
            }
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// What the nodes of a lab share.
pub(crate) fn ground(id: &str, spec: &LabSpec) -> Result<Ground, LabError> {
    for (path, least) in INOTIFY {
        let now = std::fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<u64>().ok());
        if now.is_some_and(|now| now < least) {
            // Few nodes do without.
            let _ = std::fs::write(path, least.to_string());
        }
    }
    let lowers_oom_score = has_capability(CAP_SYS_RESOURCE);
    Ok(Ground {
        id: id.to_owned(),
        nodeinit: spec.nodeinit.clone(),
        switches: Switches::new().map_err(LabError::kernel("make the network of", id))?,
        hierarchies: Hierarchies::of_this_host()
            .map_err(LabError::kernel("find the cgroups of", "this host"))?,
        lowers_oom_score,
        news: News::default(),
    })
}

/// Roots of images, each behind one device however many nodes have it.
#[derive(Default)]
pub(crate) struct Roots(BTreeMap<PathBuf, Arc<LoopDevice>>);

impl Roots {
    /// The root of an image.
    pub(crate) fn of(&mut self, image: &Path) -> Result<Arc<LoopDevice>, LabError> {
        if let Some(there) = self.0.get(image) {
            return Ok(there.clone());
        }
        let root = Arc::new(root_device(image)?);
        self.0.insert(image.to_owned(), root.clone());
        Ok(root)
    }
}

/// The root's partition of a GPT image, as a block device.
fn root_device(image: &Path) -> Result<LoopDevice, LabError> {
    let bad = |cause: String| LabError::Image { path: image.to_owned(), cause };
    let file = File::open(image).map_err(|e| bad(e.to_string()))?;
    let table = gpt::GptConfig::new().writable(false).open(image).map_err(|e| bad(e.to_string()))?;
    let root = table.partitions().values().find(|p| p.name == partition::ROOT_NAME);
    let root = root.ok_or_else(|| bad(format!("it has no partition \"{}\"", partition::ROOT_NAME)))?;
    let block = *table.logical_block_size();
    let offset = root.bytes_start(block).map_err(|e| bad(e.to_string()))?;
    let size = root.bytes_len(block).map_err(|e| bad(e.to_string()))?;
    let window = Window { offset, size, read_only: true, direct: false };
    LoopDevice::over(&file, window)
        .map_err(LabError::kernel("make a loop device over", image.display().to_string()))
}

/// Bit of include/uapi/linux/capability.h.
const CAP_SYS_RESOURCE: u32 = 24;

/// Whether this process has a capability, by its effective set (proc(5), `CapEff`).
fn has_capability(bit: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    set.and_then(|s| u64::from_str_radix(s.trim(), 16).ok()).is_some_and(|s| s >> bit & 1 == 1)
}
