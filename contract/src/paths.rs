//! Paths on a node that the builder bakes and the init reads.

/// The static `nodeinit` binary, in the root and (as `/init` too) in the initramfs.
pub const NODEINIT: &str = "/usr/bin/nodeinit";
/// Everything of ours in the sealed root lies below.
pub const LIB: &str = "/usr/lib/nodeimg";
/// [`crate::image::ImageManifest`] without root hash and sizes, as JSON.
pub const ROOT_MANIFEST: &str = "/usr/lib/nodeimg/root.json";
/// The baked image store: `store.json`, `meta.db`, `metadata.db`, `blobs/`, `snapshots/`. See [`crate::store`].
pub const STORE: &str = "/usr/lib/nodeimg/store";
/// Static-pod templates of the profile, `*.yaml.tmpl`.
pub const STATIC_PODS: &str = "/usr/lib/nodeimg/static-pods";
/// One folder an add-on: `addon.toml`, `*.yaml`, `*.yaml.tmpl`, `cni.conflist.tmpl`.
pub const ADDONS: &str = "/usr/lib/nodeimg/addons";
/// A seed baked by the profile (`meta-data`, `user-data`, `network-config`).
pub const BAKED_SEED: &str = "/usr/lib/nodeimg/seed";
/// containerd's configuration, baked.
pub const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
/// CNI plugins, read-only.
pub const CNI_BIN: &str = "/opt/cni/bin";
/// CNI configuration, on the state partition, in place before containerd starts.
pub const CNI_CONF: &str = "/etc/cni/net.d";
/// What nodeinit keeps on the state partition.
pub const STATE: &str = "/var/lib/nodeimg";
/// What nodeinit keeps for this boot.
pub const RUN: &str = "/run/nodeimg";
/// [`crate::status::NodeStatus`], for programs.
pub const STATUS: &str = "/run/nodeimg/status.json";
/// Name of the virtio-serial port that carries [`crate::status::NodeStatus`] lines.
pub const STATUS_PORT: &str = "org.nodeimg.status";
/// Files of `/etc` that change at boot are symbolic links into this folder, made by the builder:
/// `hostname`, `hosts`, `resolv.conf`, `machine-id`.
pub const RUN_ETC: &str = "/run/nodeimg/etc";
/// Names below `/etc` that the builder makes links into [`RUN_ETC`].
pub const RUN_ETC_FILES: [&str; 4] = ["hostname", "hosts", "machine-id", "resolv.conf"];
/// Folders of `/etc` (empty in the root) over which nodeinit binds folders of the state partition.
pub const STATE_ETC_DIRS: [&str; 2] = ["kubernetes", "cni/net.d"];
/// The etcd data folder; its file system is "the etcd file system" of formation.
pub const ETCD: &str = "/var/lib/etcd";
/// Formation's record of this node, on the etcd file system.
pub const RECORD: &str = "/var/lib/etcd/nodeimg/record.json";
