//! The container images as containerd's own store, ready at boot.
//!
//! Takes: a payload's images, each with its layer as a tree. Gives: the entries below `usr/lib/nodeimg/store` of a node's
//! root, as `nodeimg_contract::store` lays them out, and their identity. Touches nothing: the contents stay where they
//! are, in memory or in the cache. Never writes layer blobs: the store is what containerd leaves behind when it has
//! pulled with `discard_unpacked_layers`.
//!
//! The order of the modules: [`bolt`] (the database file) · [`encoding`] (containerd's numbers and times) · [`meta`] and
//! [`snapshotter`] (its two databases) · [`bake`] (all of it as a tree).

mod bake;
pub mod bolt;
pub mod encoding;
mod error;
mod meta;
mod snapshotter;

use sha2::{Digest as _, Sha256};

pub use bake::bake;
pub use error::StoreError;
pub use meta::LEASE;

/// The namespace of everything that the kubelet runs.
pub const NAMESPACE: &str = "k8s.io";
/// The snapshotter that the node's containerd is configured with.
pub const SNAPSHOTTER: &str = "overlayfs";

/// A committed snapshot: one unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Snapshot {
    /// The overlayfs snapshotter's number, from 1.
    number: u64,
    /// containerd's name of it. For a first layer this is the layer's diff ID.
    chain_id: String,
    /// Files, folders and links, with the layer's own root.
    inodes: u64,
    /// Bytes in blocks of 4 KiB.
    size: u64,
}

/// An image record's target, and what hangs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredImage<'a> {
    reference: &'a str,
    media_type: String,
    manifest: Blob<'a>,
    config: Blob<'a>,
    chain_id: &'a str,
}

/// A document of an image whose digest was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blob<'a> {
    /// SHA-256, hexadecimal.
    sha256: &'a str,
    bytes: &'a [u8],
}

impl<'a> Blob<'a> {
    /// None when `digest` (`sha256:…`) is not that of the bytes.
    fn check(digest: &'a str, bytes: &'a [u8]) -> Option<Self> {
        let sha256 = digest.strip_prefix("sha256:")?;
        (hex::encode(Sha256::digest(bytes)) == sha256).then_some(Self { sha256, bytes })
    }
    fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }
}
