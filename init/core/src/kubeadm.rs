//! kubeadm's configuration (`kubeadm.k8s.io/v1beta4`) and the texts around it, rendered from a [`NodeConfig`].
//!
//! Takes a NodeConfig and the image's facts, gives YAML text: same input, same bytes. What is uploaded to the cluster
//! ([`Variant::Cluster`]) never names a birth and has no setting of one node; what local phases take has both. Never
//! writes a file: bootstrap tokens stand in these texts, so the caller's files have mode 0600.

mod arguments;
mod client_certificate;
mod coredns;
mod documents;
mod etcd_manifest;
mod join;
mod kubeconfig;
mod namespace;
mod skew;

pub use client_certificate::client_certificate_end;
pub use coredns::without_forward;
pub use etcd_manifest::{NoEtcdCommand, with_existing_state};
pub use join::{
    Discovery, ca_cert_hash, discovery_kubeconfig, join_configuration, kubelet_kubeconfig, kubelet_patch,
};
pub use kubeconfig::{BadKubeconfig, Kubeconfig, with_server};
pub use namespace::for_namespace;
pub use skew::{other_minor, skew};

use crate::node_config::{NODEIMG_ROLE, NodeConfig, Taint};
use nodeimg_contract::birth::Birth;
use nodeimg_contract::image::{Role, RootManifest};

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
    /// The same, for a member that was added to a running etcd.
    JoiningEtcd {
        /// Name and peer URL of every member, this one among them.
        members: &'a [(String, String)],
    },
    /// The same, where no etcd runs on this node (external etcd).
    WithoutEtcd,
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

/// Arguments that upload the CAs and their keys, encrypted with the configuration's certificate key, as the Secret
/// kube-system/kubeadm-certs. kubeadm has it end after two hours.
pub fn upload_certs_arguments(configuration_file: &str) -> Vec<String> {
    let words = ["init", "phase", "upload-certs", "--upload-certs", "--skip-certificate-key-print"];
    let file = format!("--config={configuration_file}");
    words.into_iter().map(str::to_owned).chain([file]).collect()
}

/// Arguments that fetch them.
pub fn download_certs_arguments(configuration_file: &str) -> Vec<String> {
    let words = ["join", "phase", "control-plane-prepare", "download-certs"];
    let file = format!("--config={configuration_file}");
    words.into_iter().map(str::to_owned).chain([file]).collect()
}

/// Arguments of a join that writes the kubelet's files.
pub fn kubelet_start_arguments(configuration_file: &str) -> Vec<String> {
    let file = format!("--config={configuration_file}");
    ["join", "phase", "kubelet-start"].into_iter().map(str::to_owned).chain([file]).collect()
}

/// Arguments of one kubeadm process that runs these phases as an etcd node has them: certificates come from etcd's CA alone.
pub fn etcd_arguments(phases: &[Phase], configuration_file: &str) -> Vec<String> {
    const NOT_ETCD: [&str; 7] = [
        "certs/ca",
        "certs/apiserver",
        "certs/apiserver-kubelet-client",
        "certs/front-proxy-ca",
        "certs/front-proxy-client",
        "certs/apiserver-etcd-client",
        "certs/sa",
    ];
    let skips = |argument: String| match argument.strip_prefix("--skip-phases=") {
        Some(phases) => format!("--skip-phases={phases},{}", NOT_ETCD.join(",")),
        None => argument,
    };
    init_arguments(phases, configuration_file).into_iter().map(skips).collect()
}

/// Arguments of the kubelet. Never `--node-labels node-role.kubernetes.io/…`: kubelet exits on it. Without
/// `--kubeconfig` (etcd nodes) it runs static pods alone.
pub fn kubelet_arguments(config: &NodeConfig) -> Vec<String> {
    let mut arguments = Vec::new();
    if config.role.value != Role::Etcd {
        arguments.push("--kubeconfig=/etc/kubernetes/kubelet.conf".to_owned());
    }
    if config.join.is_some() && config.role.value != Role::ControlPlane {
        // Taken when kubelet.conf has no valid certificate yet; kubeadm's join writes it, and removes it afterwards.
        arguments.push("--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf".to_owned());
    }
    arguments.push(format!("--config={KUBELET_CONFIG}"));
    arguments.push(format!("--hostname-override={}", config.name.value));
    arguments.extend(config.node_ip().map(|address| format!("--node-ip={address}")));
    if config.role.value != Role::Etcd {
        arguments.extend(node_labels(config).map(|labels| format!("--node-labels={labels}")));
        if !config.node.taints.is_empty() {
            let taints: Vec<_> = config.node.taints.iter().map(kubelet_taint).collect();
            arguments.push(format!("--register-with-taints={}", taints.join(",")));
        }
    }
    arguments
}

/// The kubelet's `--node-labels`. A worker says that it is one of nodeimg's: the control planes then give it its role.
fn node_labels(config: &NodeConfig) -> Option<String> {
    let own = (config.role.value == Role::Worker).then(|| format!("{NODEIMG_ROLE}={}", Role::Worker));
    let said = config.node.kubelet_labels().map(|(key, value)| format!("{key}={value}"));
    let labels: Vec<_> = own.into_iter().chain(said).collect();
    (!labels.is_empty()).then(|| labels.join(","))
}

/// The kubelet's form of a taint has a `=` even without value.
fn kubelet_taint(taint: &Taint) -> String {
    format!("{}={}:{}", taint.key, taint.value.as_deref().unwrap_or_default(), taint.effect)
}

/// The KubeletConfiguration of this node, with its own settings: what an etcd node's kubelet (which no kubeadm
/// configures) is started with.
pub fn kubelet_configuration(config: &NodeConfig) -> Result<String, NotRendered> {
    documents::kubelet_configuration(config)
}

/// URL of the API server that this node asks: its own (`https://ADDRESS:PORT`) on a control plane, else the endpoint.
pub fn local_api(config: &NodeConfig) -> String {
    match config.address.filter(|_| config.role.value == Role::ControlPlane) {
        Some(address) => format!("https://{}", std::net::SocketAddr::new(address, config.api_port())),
        None => format!("https://{}", config.endpoint_text()),
    }
}

/// The kubelet's resolv.conf: the known DNS servers, without loopback, at most three (glibc's MAXNS).
pub fn kubelet_resolv_conf(config: &NodeConfig) -> String {
    config.dns_servers.iter().take(3).map(|s| format!("nameserver {}\n", s.value)).collect()
}

#[cfg(test)]
mod tests;
