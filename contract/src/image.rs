//! `image.json`: what one built image is made of.

use crate::verity::RootHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node's role. The same word in profiles, seeds and `image.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the API server, and etcd unless that is external.
    ControlPlane,
    /// Runs pods.
    Worker,
    /// Load balancer before the API servers.
    Lb,
    /// Member of an external etcd.
    Etcd,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::ControlPlane => "control-plane",
            Role::Worker => "worker",
            Role::Lb => "lb",
            Role::Etcd => "etcd",
        })
    }
}

/// What is known before the root is sealed; baked at [`crate::paths::ROOT_MANIFEST`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootManifest {
    /// Format of this document.
    pub schema: u32,
    /// Name of the profile (its file name without extension).
    pub profile: String,
    /// The role that this image can take.
    pub role: Role,
    /// Seconds since 1970 of the lock: the floor of the node's clock.
    pub source_date_epoch: u64,
    /// Debian suite.
    pub suite: String,
    /// Kernel release (the name below `/usr/lib/modules`).
    pub kernel: String,
    /// Kubernetes version without `v`.
    pub kubernetes: String,
    /// kubeadm's `imageRepository`.
    pub image_repository: String,
    /// kubeadm's image tags where the image is not at `IMAGE_REPOSITORY/NAME`: `coredns`, `etcd`, `pause`.
    pub image_tags: BTreeMap<String, String>,
    /// Version of every other program, by name (containerd, crun, etcd, …).
    pub versions: BTreeMap<String, String>,
    /// SHA-256 of nodeinit, hexadecimal.
    pub nodeinit: String,
    /// Add-ons in the order in which they are applied.
    pub addons: Vec<String>,
}

/// `dist/NAME/image.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// What was baked.
    #[serde(flatten)]
    pub root: RootManifest,
    /// The root's hash.
    pub root_hash: RootHash,
    /// SHA-256 of the lock that it was built from, hexadecimal.
    pub lock: String,
    /// The files beside this one, by name.
    pub files: BTreeMap<String, FileInfo>,
    /// Bytes by part (`kernel`, `initrd`, `erofs`, `verity`, and uncompressed `images`, `programs`, `debian`, `modules`).
    pub sizes: BTreeMap<String, u64>,
}

/// Size and digest of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInfo {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}
