//! Block devices as sysfs shows them.
//!
//! Takes `/sys/class/block`, gives facts. Opens devices for reading only.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const SYS: &str = "/sys/class/block";
/// More devices than these are not looked at.
const MAX_DEVICES: usize = 4096;

/// A disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Kernel name.
    pub name: String,
    /// The disk that it is a partition of, and its number there.
    pub partition_of: Option<(String, u32)>,
    /// `MAJOR:MINOR`.
    pub dev: String,
    /// Bytes.
    pub size: u64,
}

impl Block {
    /// Its device node.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// An attribute below its folder in sysfs, trimmed.
    pub fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.name, name)
    }

    /// Bytes of a logical sector.
    pub fn sector(&self) -> usize {
        self.attribute("queue/logical_block_size").and_then(|s| s.parse().ok()).unwrap_or(512)
    }

    /// Reads at most `size` bytes from `at`.
    pub fn read(&self, at: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path())?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(size as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn attribute(device: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(SYS).join(device).join(name)).ok()?;
    Some(text.trim().to_owned())
}

/// Every disk and partition with a medium in it, sorted by name.
pub fn all() -> Vec<Block> {
    let Ok(entries) = std::fs::read_dir(SYS) else { return Vec::new() };
    let mut found: Vec<Block> = entries
        .flatten()
        .take(MAX_DEVICES)
        .filter_map(|e| observe(&e.path(), e.file_name().to_string_lossy().into_owned()))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn observe(folder: &Path, name: String) -> Option<Block> {
    let size = attribute(&name, "size")?.parse::<u64>().ok()?.checked_mul(512)?;
    if size == 0 {
        return None;
    }
    let dev = attribute(&name, "dev")?;
    let number = attribute(&name, "partition").and_then(|n| n.parse().ok());
    // The folder of a partition lies in that of its disk.
    let parent = || {
        let real = std::fs::canonicalize(folder).ok()?;
        Some(real.parent()?.file_name()?.to_string_lossy().into_owned())
    };
    let partition_of = number.and_then(|n| Some((parent()?, n)));
    Some(Block { name, partition_of, dev, size })
}
