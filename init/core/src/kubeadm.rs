//! kubeadm's configuration (`kubeadm.k8s.io/v1beta4`) and the texts around it, rendered from a [`NodeConfig`].
//!
//! Takes a NodeConfig and the image's facts, gives YAML text: same input, same bytes. Two variants exist: what is
//! uploaded to the cluster, and the same with the flags of a birth for the static pod of etcd
//! ([`Variant::StaticEtcd`]); the first never names a birth. Never writes a file: bootstrap tokens stand in these
//! texts, so the caller's files have mode 0600.

mod coredns;
mod documents;
mod etcd_manifest;
mod kubeconfig;

pub use coredns::without_forward;
pub use etcd_manifest::{NoEtcdCommand, with_existing_state};
pub use kubeconfig::{BadKubeconfig, Kubeconfig, with_server};

use crate::node_config::NodeConfig;
use nodeimg_contract::birth::Birth;
use nodeimg_contract::image::RootManifest;

/// Where kubeadm and kubelet find containerd.
pub const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// The kubelet's `resolvConf`: DNS servers for pods with `dnsPolicy: Default`; never names loopback.
pub const KUBELET_RESOLV_CONF: &str = "/run/nodeimg/kubelet-resolv.conf";
/// The folder of static pods.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The kubelet's configuration, written by kubeadm's kubelet-start.
pub const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
/// Taint of a control plane (kubeadm's).
pub const CONTROL_PLANE_TAINT: &str = "node-role.kubernetes.io/control-plane";

/// For whom a configuration is.
#[derive(Debug, Clone, Copy)]
pub enum Variant<'a> {
    /// For every phase that talks to the cluster: this is what `upload-config` uploads.
    Cluster {
        /// The calendar's time: bootstrap tokens that have ended are left out.
        now: jiff::Timestamp,
    },
    /// For the phases that write local files: etcd starts as a member of this birth. Holds no token.
    StaticEtcd(&'a Birth),
}

/// The configuration could not be written as YAML; a bug, named rather than a panic in PID 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kubeadm's configuration cannot be written: {0}")]
pub struct NotRendered(pub(crate) String);

/// Renders InitConfiguration, ClusterConfiguration, KubeletConfiguration and KubeProxyConfiguration.
pub fn configuration(
    config: &NodeConfig,
    image: &RootManifest,
    variant: Variant<'_>,
) -> Result<String, NotRendered> {
    documents::render(config, image, variant)
}

/// kubeadm's phases (`kubeadm init --skip-phases` words) in its own order. All others are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Certificates from the CAs that lie there.
    Certs,
    /// admin, super-admin, kubelet, controller-manager, scheduler.
    Kubeconfig,
    /// etcd's static pod.
    Etcd,
    /// The three static pods.
    ControlPlane,
    /// The kubelet's configuration (kubeadm's attempt to start it comes to nothing).
    KubeletStart,
    /// ConfigMaps kubeadm-config and kubelet-config.
    UploadConfig,
    /// Label and taint of this node.
    MarkControlPlane,
    /// Tokens, and the RBAC of joining.
    BootstrapToken,
    /// kubelet.conf points at the rotating client certificate.
    KubeletFinalize,
    /// CoreDNS and kube-proxy.
    Addon,
}

impl Phase {
    /// kubeadm's name.
    pub fn text(self) -> &'static str {
        match self {
            Phase::Certs => "certs",
            Phase::Kubeconfig => "kubeconfig",
            Phase::Etcd => "etcd",
            Phase::ControlPlane => "control-plane",
            Phase::KubeletStart => "kubelet-start",
            Phase::UploadConfig => "upload-config",
            Phase::MarkControlPlane => "mark-control-plane",
            Phase::BootstrapToken => "bootstrap-token",
            Phase::KubeletFinalize => "kubelet-finalize",
            Phase::Addon => "addon",
        }
    }
    /// The phases that write local files before any kubelet runs.
    pub const LOCAL: [Phase; 5] =
        [Phase::Certs, Phase::Kubeconfig, Phase::Etcd, Phase::ControlPlane, Phase::KubeletStart];
    const ALL: [Phase; 10] = [
        Phase::Certs,
        Phase::Kubeconfig,
        Phase::Etcd,
        Phase::ControlPlane,
        Phase::KubeletStart,
        Phase::UploadConfig,
        Phase::MarkControlPlane,
        Phase::BootstrapToken,
        Phase::KubeletFinalize,
        Phase::Addon,
    ];
}

/// Arguments of one kubeadm process that runs these phases and no other: starting kubeadm costs more than a phase.
pub fn init_arguments(phases: &[Phase], configuration_file: &str) -> Vec<String> {
    let never = ["preflight", "wait-control-plane", "upload-certs", "show-join-command"];
    let skipped = Phase::ALL.iter().filter(|p| !phases.contains(p)).map(|p| p.text());
    let skip: Vec<_> = never.into_iter().chain(skipped).collect();
    vec![
        "init".into(),
        format!("--config={configuration_file}"),
        format!("--skip-phases={}", skip.join(",")),
        "--skip-token-print".into(),
        "--skip-certificate-key-print".into(),
    ]
}

/// Arguments of the kubelet. Never `--node-labels node-role.kubernetes.io/…`: kubelet exits on it.
pub fn kubelet_arguments(config: &NodeConfig) -> Vec<String> {
    vec![
        "--kubeconfig=/etc/kubernetes/kubelet.conf".into(),
        format!("--config={KUBELET_CONFIG}"),
        format!("--hostname-override={}", config.name.value),
        format!("--node-ip={}", config.address),
    ]
}

/// `https://ADDRESS:PORT` of this node's own API server.
pub fn local_api(config: &NodeConfig) -> String {
    format!("https://{}", std::net::SocketAddr::new(config.address, config.api_port()))
}

/// The kubelet's resolv.conf: the known DNS servers, without loopback, at most three (glibc's MAXNS).
pub fn kubelet_resolv_conf(config: &NodeConfig) -> String {
    config.dns_servers.iter().take(3).map(|s| format!("nameserver {}\n", s.value)).collect()
}

#[cfg(test)]
mod tests;
