//! What a node sees of its disk, and what the lab reads from it.
//!
//! Takes a running node's `/dev` and `/run/udev`, which it keeps as udev keeps a machine's, or a disk whose machine is off.

use super::super::boot::block_node;
use super::super::enter::with_own_mounts;
use super::super::loop_device::LoopDevice;
use super::run::Run;
use super::{Node, State};
use crate::error::LabError;
use crate::said::lock;
use nix::mount::{MsFlags, mount};
use std::io;
use std::path::Path;

impl Node {
    /// The disk and its partitions have nodes in `/dev` and a word in udev's database; those that are gone have none.
    pub(super) fn show_disks(&self, state: &State, run: &Run) {
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
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
