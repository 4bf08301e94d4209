//! What a lab is made of.

use std::path::PathBuf;

/// Bytes of a state disk unless said otherwise; what is not written takes no room.
pub const DISK_BYTES: u64 = 4 << 30;

/// A lab.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// `root.img` of a built image: that of every node which names no other.
    pub root_image: PathBuf,
    /// A static nodeinit that stands over the image's own.
    pub nodeinit: Option<PathBuf>,
    /// Where labs keep their files, each in a folder of its own; what killed labs have left there is removed. A tmpfs
    /// makes syncs free, as they are on a good server disk.
    pub folder: PathBuf,
    /// The machines; all are off at first, on one switch.
    pub nodes: Vec<NodeSpec>,
}

/// One machine of a lab.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name, as in its seed.
    pub name: String,
    /// Folder with the documents of its seed (NoCloud); `None`: it has no seed yet.
    pub seed: Option<PathBuf>,
    /// `root.img` of its role's image; `None`: the lab's.
    pub image: Option<PathBuf>,
    /// Bytes of its state disk.
    pub disk_bytes: u64,
    /// What a power cut does to it.
    pub disk: DiskKind,
}

/// What a state disk keeps at a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// Everything that reached it, flushed or not: a file, a little faster.
    Plain,
    /// What was flushed: it has a volatile cache, which is gone. Needs `/dev/fuse`.
    Volatile,
}

impl DiskKind {
    /// The strictest that this host can have.
    pub fn of_this_host() -> Self {
        if crate::namespace::has_volatile_disks() { DiskKind::Volatile } else { DiskKind::Plain }
    }
}

impl NodeSpec {
    /// A node with the usual disk.
    pub fn new(name: impl Into<String>, seed: impl Into<PathBuf>) -> Self {
        let (name, seed) = (name.into(), Some(seed.into()));
        Self { name, seed, image: None, disk_bytes: DISK_BYTES, disk: DiskKind::of_this_host() }
    }

    /// The same with another image than the lab's.
    pub fn with_image(self, root_image: impl Into<PathBuf>) -> Self {
        Self { image: Some(root_image.into()), ..self }
    }
}
