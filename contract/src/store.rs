//! The baked image store below [`crate::paths::STORE`]: how the builder lays it out and nodeinit puts it to work.
//!
//! Layout in the sealed root:
//! `store.json` (this type) · `meta.db` and `metadata.db` (containerd's two boltdb databases) ·
//! `blobs/sha256/DIGEST` (manifests and configs, no layers) · `snapshots/N/fs/…` (committed snapshots, unpacked).

use serde::{Deserialize, Serialize};

/// Where containerd keeps its root on a node.
pub const CONTAINERD_ROOT: &str = "/var/lib/containerd";
/// `meta.db` of containerd's metadata plugin, below [`CONTAINERD_ROOT`].
pub const META_DB: &str = "io.containerd.metadata.v1.bolt/meta.db";
/// Blob folder of containerd's content plugin, below [`CONTAINERD_ROOT`].
pub const BLOBS: &str = "io.containerd.content.v1.content/blobs/sha256";
/// Root of the overlayfs snapshotter, below [`CONTAINERD_ROOT`]: holds `metadata.db` and `snapshots/N/{fs,work}`.
pub const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1.overlayfs";
/// Written last into [`CONTAINERD_ROOT`] by nodeinit: the store identity that it was seeded from.
pub const SEEDED: &str = "nodeimg-seeded";

/// `store.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreManifest {
    /// SHA-256 over everything below, hexadecimal; another identity means the store is seeded anew, whole.
    pub identity: String,
    /// The images, sorted by name.
    pub images: Vec<StoreImage>,
    /// Committed snapshots, by the overlayfs snapshotter's number.
    pub snapshots: Vec<u64>,
}

/// One baked image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreImage {
    /// Full name with tag.
    pub name: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
}
