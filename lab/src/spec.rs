//! What a lab is made of.

use std::path::PathBuf;

/// Bytes of a state disk unless said otherwise; what is not written takes no room.
pub const DISK_BYTES: u64 = 4 << 30;

/// A lab.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// `root.img` of a built image.
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
    /// Bytes of its state disk.
    pub disk_bytes: u64,
}

impl NodeSpec {
    /// A node with the usual disk.
    pub fn new(name: impl Into<String>, seed: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), seed: Some(seed.into()), disk_bytes: DISK_BYTES }
    }
}
