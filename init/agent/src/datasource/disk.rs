//! Disks, partitions and CDs with the label `cidata`.
//!
//! Reads labels from the devices themselves (no udev, no blkid), mounts the right ones read-only for as long as their
//! documents are copied.

use super::{LoadModule, folder};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodeimg_contract::partition::SEED_LABEL;
use nodeimg_init_core::nocloud::volume::{self, Kind};
use nodeimg_init_core::seed::Documents;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Block devices that are looked at.
const MAX_DEVICES: usize = 512;

/// A device with the right label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedDisk {
    /// Its node below `/dev`.
    pub device: PathBuf,
    kind: Kind,
}

/// Every device with the label, sorted by name.
pub fn candidates(sys: &Path, dev: &Path) -> Vec<SeedDisk> {
    let Ok(entries) = std::fs::read_dir(sys.join("class/block")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .take(MAX_DEVICES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        // Memory, empty loops, floppies (opening one takes seconds), and devices made of others.
        .filter(|name| {
            !["ram", "zram", "fd", "dm-", "md", "nbd"].iter().any(|prefix| name.starts_with(prefix))
        })
        .filter(|name| size(sys, name) > 0)
        .collect();
    names.sort();
    names.into_iter().filter_map(|name| candidate(dev.join(name.replace('!', "/")))).collect()
}

/// Sectors of 512 bytes.
fn size(sys: &Path, name: &str) -> u64 {
    let path = sys.join("class/block").join(name).join("size");
    folder::read_text(&path, 64).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn candidate(device: PathBuf) -> Option<SeedDisk> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&device).ok()?;
    let volume = volume::probe(|offset, len| {
        let mut bytes = vec![0; len];
        let got = file.read_at(&mut bytes, offset).ok()?;
        bytes.truncate(got);
        Some(bytes)
    })?;
    volume.label.eq_ignore_ascii_case(SEED_LABEL).then_some(SeedDisk { device, kind: volume.kind })
}

/// Copies the documents out.
pub fn read(disk: &SeedDisk, mount_point: &Path, load: &LoadModule) -> Result<Documents, String> {
    let (modules, options): (&[&str], _) = match disk.kind {
        Kind::Vfat => (&["vfat", "nls_cp437", "nls_ascii"], Some("codepage=437,iocharset=ascii")),
        Kind::Iso9660 => (&["isofs"], None),
    };
    let missing: Vec<String> = modules.iter().filter_map(|module| load(module).err()).collect();
    std::fs::create_dir_all(mount_point).map_err(|error| error.to_string())?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(&disk.device), mount_point, Some(disk.kind.name()), flags, options).map_err(|error| {
        let more = if missing.is_empty() { String::new() } else { format!(" ({})", missing.join("; ")) };
        format!("cannot be mounted as {}: {}{more}", disk.kind.name(), error.desc())
    })?;
    let documents = folder::read(mount_point);
    // Lazily, so that a disk that is pulled out meanwhile cannot hold the boot.
    let unmounted = umount2(mount_point, MntFlags::MNT_DETACH);
    let documents = documents?;
    unmounted.map_err(|error| format!("cannot be unmounted: {}", error.desc()))?;
    Ok(documents)
}
