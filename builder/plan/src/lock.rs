//! The lock: every input by name, version, size and SHA-256. Written by a machine beside the profile.
//!
//! Takes and gives its text (TOML). A lock is read from a repository that others write to, so every field is checked
//! and bounded: a path stays in the archive's pool, a digest is a digest, a size is one that a .deb can have.

mod text;

pub use text::LockError;

use serde::{Deserialize, Serialize};

/// The format that this program writes and reads.
pub const SCHEMA: u32 = 1;

/// `profiles/NAME.lock` (TOML).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format of this document, 1.
    pub schema: u32,
    /// SHA-256 of what in the profile decides the lock; another one means that the lock must be renewed.
    pub inputs: String,
    /// Seconds since 1970: the newest `Date` of the Release files, the default of SOURCE_DATE_EPOCH.
    pub source_date_epoch: u64,
    /// Debian suite.
    pub suite: String,
    /// The Go toolchain that compiles the payload, when its origin is `source`.
    pub go: Option<GoLock>,
    /// Go modules of the payload.
    #[serde(default, rename = "module")]
    pub modules: Vec<LockedModule>,
    /// Debian packages, sorted by name.
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// The pinned Go toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoLock {
    /// For example `1.26.8`.
    pub version: String,
    /// `h1:` checksum of the module `golang.org/toolchain@v0.0.1-goVERSION.linux-amd64`.
    pub sum: String,
}

/// One folder of `payload/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedModule {
    /// Folder name.
    pub name: String,
    /// Version of the main module.
    pub version: String,
    /// SHA-256 over the folder's files, hexadecimal.
    pub sha256: String,
}

/// One .deb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Which archive of the mirror: `debian` or `debian-security`.
    pub archive: Archive,
    /// Path below the archive's root, `pool/…`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// The trees that it goes into, sorted.
    pub sets: Vec<Set>,
}

/// An archive of a Debian mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// `…/debian`.
    Debian,
    /// `…/debian-security`.
    DebianSecurity,
}

/// A tree that packages are resolved for, each a closure of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Set {
    /// The node's root.
    Image,
    /// Programs that the builder runs: erofs-utils, kmod, golang-go, and for `run` QEMU and OVMF.
    Tools,
    /// Programs and libraries inside the container images of kube-proxy and flannel (nftables).
    Nft,
}

impl Lock {
    /// Packages of one set, sorted by name.
    pub fn set(&self, set: Set) -> impl Iterator<Item = &LockedPackage> {
        self.packages.iter().filter(move |p| p.sets.contains(&set))
    }
}
