//! What the disks of this machine are, by reading alone.

use crate::block::{self, Block};
use crate::machine;
use nodeimg_contract::partition::{SEED_LABEL, STATE, STATE_NAME};
use nodeimg_init_core::consent::{Content, DiskFacts, Exclusion, SMALLEST, found_on};
use nodeimg_init_core::nocloud::volume;
use nodeimg_init_core::partition_table;
use std::collections::BTreeSet;

/// Bytes at both ends of a blank disk that are zero.
const ENDS: usize = 1 << 20;
/// GPT name of a state partition whose file system is not whole yet: it never held anything.
pub const UNFINISHED: &str = "nodeimg-unfinished";

/// Every disk with hardware (or a hypervisor) behind it.
pub fn disks() -> Vec<DiskFacts> {
    let devices = block::all();
    let root = disks_under_the_root(&devices);
    devices
        .iter()
        .filter(|b| b.partition_of.is_none() && has_hardware(b))
        .map(|disk| {
            let content = content(disk, &devices);
            DiskFacts {
                name: disk.name.clone(),
                serial: serial(disk),
                size: disk.size,
                excluded: exclusion(disk, &devices, &root),
                content,
            }
        })
        .collect()
}

/// Loop, RAM and mapped devices have no device of their own. A namespace sees the host's devices in `/sys`; its own are
/// those that have a node in its `/dev`.
fn has_hardware(disk: &Block) -> bool {
    if machine::namespace().is_some() {
        return disk.path().exists();
    }
    std::path::Path::new("/sys/class/block").join(&disk.name).join("device").exists()
}

fn exclusion(disk: &Block, devices: &[Block], root: &BTreeSet<String>) -> Option<Exclusion> {
    let is = |attribute: &str| disk.attribute(attribute).as_deref() == Some("1");
    let own =
        |b: &&Block| b.name == disk.name || b.partition_of.as_ref().is_some_and(|(d, _)| *d == disk.name);
    if root.contains(&disk.name) {
        Some(Exclusion::Root)
    } else if is("ro") {
        Some(Exclusion::ReadOnly)
    } else if devices.iter().filter(own).any(has_seed) {
        Some(Exclusion::Seed)
    } else if is("removable") {
        Some(Exclusion::Removable)
    } else if disk.size < SMALLEST {
        Some(Exclusion::Small)
    } else {
        None
    }
}

fn has_seed(device: &Block) -> bool {
    volume::probe(|at, len| device.read(at, len).ok())
        .is_some_and(|v| v.label.eq_ignore_ascii_case(SEED_LABEL))
}

/// The disks that the mapped root device lies on.
fn disks_under_the_root(devices: &[Block]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for mapped in devices.iter().filter(|b| b.name.starts_with("dm-")) {
        let Ok(slaves) = std::fs::read_dir(format!("/sys/class/block/{}/slaves", mapped.name)) else {
            continue;
        };
        for slave in slaves.flatten() {
            let name = slave.file_name().to_string_lossy().into_owned();
            let parent = devices.iter().find(|b| b.name == name).and_then(|b| b.partition_of.clone());
            found.insert(parent.map_or(name, |(disk, _)| disk));
        }
    }
    found
}

fn content(disk: &Block, devices: &[Block]) -> Content {
    let Ok(start) = disk.read(0, ENDS) else { return Content::Unreadable };
    if let Ok(partitions) = partition_table::parse(&start, disk.sector()) {
        let ours = partitions.iter().find(|p| p.kind == STATE);
        match (ours, partitions.len()) {
            (Some(p), 1) if p.name == UNFINISHED => return Content::Blank,
            (Some(p), _) if p.name == STATE_NAME => {
                let device = devices.iter().find(|b| b.partition_of == Some((disk.name.clone(), p.number)));
                return device.map_or(Content::Unreadable, |d| Content::State { partition: d.name.clone() });
            }
            _ => {}
        }
    }
    let end_at = disk.size.saturating_sub(ENDS as u64);
    let Ok(end) = disk.read(end_at, ENDS) else { return Content::Unreadable };
    if start.iter().chain(&end).all(|b| *b == 0) {
        return Content::Blank;
    }
    let unknown = || "data of an unknown kind".to_owned();
    Content::Foreign { found: found_on(&start, disk.sector()).unwrap_or_else(unknown) }
}

/// The serial number by which a seed names a disk.
fn serial(disk: &Block) -> Option<String> {
    let udev = || {
        let text = std::fs::read_to_string(format!("/run/udev/data/b{}", disk.dev)).ok()?;
        text.lines().find_map(|l| l.strip_prefix("E:ID_SERIAL_SHORT=").map(str::to_owned))
    };
    disk.attribute("serial")
        .or_else(|| disk.attribute("device/serial"))
        .or_else(udev)
        .filter(|s| !s.is_empty())
}

/// Whether the ext4 file system says that it was unmounted in order and without errors (its superblock's `s_state`, and
/// no journal to recover in `s_feature_incompat`; kernel Documentation/filesystems/ext4/super.rst).
pub fn is_clean(partition: &str) -> bool {
    let devices = block::all();
    let Some(device) = devices.iter().find(|b| b.name == partition) else { return false };
    let Ok(superblock) = device.read(1024, 1024) else { return false };
    let u16_at = |at: usize| {
        superblock.get(at..at + 2).map(|b| b.iter().rev().fold(0u16, |n, b| n << 8 | u16::from(*b)))
    };
    let clean = u16_at(0x38) == Some(0xef53) && u16_at(0x3a) == Some(1);
    clean && u16_at(0x60).is_some_and(|incompatible| incompatible & 4 == 0)
}
