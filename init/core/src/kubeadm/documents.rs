//! The four documents, field by field.
//!
//! Source of the format: k8s.io/kubernetes v1.36 `cmd/kubeadm/app/apis/kubeadm/v1beta4/types.go`,
//! k8s.io/kubelet `config/v1beta1`, k8s.io/kube-proxy `config/v1alpha1`.

use super::arguments::{Arg, args, birth_args, controller_manager, joining_args};
use super::{
    CONTROL_PLANE_TAINT, CRI_SOCKET, KUBELET_RESOLV_CONF, MANIFESTS, NotRendered, Variant, node_labels,
};
use crate::node_config::{NodeConfig, Taint, TaintEffect};
use crate::pki;
use ipnet::IpNet;
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_contract::paths;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const KUBEADM: &str = "kubeadm.k8s.io/v1beta4";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Init {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bootstrap_tokens: Vec<Token>,
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: LocalApi,
    node_registration: Registration,
    timeouts: Timeouts,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_key: Option<String>,
}

#[derive(Serialize)]
struct Token {
    token: String,
    ttl: String,
    usages: [&'static str; 2],
    groups: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalApi {
    advertise_address: IpAddr,
    bind_port: u16,
}

impl LocalApi {
    pub(super) fn new(config: &NodeConfig) -> Result<Self, NotRendered> {
        let address = config.address.ok_or_else(|| {
            NotRendered(format!("\"{}\" has no address in the lists of its seed", config.name.value))
        })?;
        Ok(Self { advertise_address: address, bind_port: config.api_port() })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registration {
    name: String,
    cri_socket: &'static str,
    image_pull_policy: &'static str,
    /// Left out: kubeadm's own taint. Empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Vec<Taint>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubelet_extra_args: Vec<Arg>,
}

impl Registration {
    pub(super) fn new(config: &NodeConfig) -> Self {
        let node_ip = config.node_ip().map(|a| ("node-ip", a.to_string()));
        let labels = node_labels(config).map(|labels| ("node-labels", labels));
        let args = node_ip.into_iter().chain(labels);
        Self {
            name: config.name.value.to_string(),
            cri_socket: CRI_SOCKET,
            image_pull_policy: "IfNotPresent",
            taints: taints(config),
            kubelet_extra_args: args.map(|(name, value)| Arg { name: name.into(), value }).collect(),
        }
    }
}

/// A control plane's own taint, unless it is left off, and the seed's. A list that is given replaces kubeadm's.
fn taints(config: &NodeConfig) -> Option<Vec<Taint>> {
    let said = &config.node.taints;
    let open = config.role.value != Role::ControlPlane || config.kubernetes.schedule_on_control_planes.value;
    if said.is_empty() && !open {
        return None;
    }
    let own = Taint { key: CONTROL_PLANE_TAINT.into(), value: None, effect: TaintEffect::NoSchedule };
    let named = said.iter().any(|t| t.key == own.key && t.effect == own.effect);
    Some((!open && !named).then_some(own).into_iter().chain(said.iter().cloned()).collect())
}

/// Longer than kubeadm's own, for slow machines; a phase that waits longer is run again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeouts {
    #[serde(rename = "kubernetesAPICall")]
    kubernetes_api_call: &'static str,
    #[serde(rename = "etcdAPICall")]
    etcd_api_call: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    api_version: &'static str,
    kind: &'static str,
    cluster_name: String,
    kubernetes_version: String,
    control_plane_endpoint: String,
    image_repository: String,
    encryption_algorithm: String,
    networking: Networking,
    api_server: ApiServer,
    controller_manager: Component,
    scheduler: Component,
    etcd: Etcd,
    dns: Dns,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    pod_subnet: String,
    service_subnet: String,
    dns_domain: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiServer {
    #[serde(rename = "certSANs")]
    cert_sans: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_args: Vec<Arg>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_args: Vec<Arg>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Etcd {
    Local(LocalEtcd),
    External(External),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct External {
    endpoints: Vec<String>,
    ca_file: String,
    cert_file: String,
    key_file: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocalEtcd {
    data_dir: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_args: Vec<Arg>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dns {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubelet {
    api_version: &'static str,
    kind: &'static str,
    cgroup_driver: &'static str,
    #[serde(rename = "clusterDNS")]
    cluster_dns: Vec<IpAddr>,
    cluster_domain: String,
    container_runtime_endpoint: &'static str,
    resolv_conf: &'static str,
    #[serde(rename = "serverTLSBootstrap")]
    server_tls_bootstrap: bool,
    static_pod_path: &'static str,
    #[serde(flatten)]
    standalone: Option<Standalone>,
    #[serde(flatten)]
    own: BTreeMap<String, serde_json::Value>,
}

/// A kubelet without API server has nobody to ask who its callers are: it listens to its own machine alone.
#[derive(Serialize)]
struct Standalone {
    address: &'static str,
    authentication: serde_json::Value,
    authorization: serde_json::Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeProxy {
    api_version: &'static str,
    kind: &'static str,
    mode: &'static str,
}

pub(super) fn render(
    config: &NodeConfig,
    image: &RootManifest,
    variant: Variant<'_>,
) -> Result<String, NotRendered> {
    let bootstrap_tokens = match variant {
        Variant::Cluster { now } => tokens(config, now),
        Variant::StaticEtcd(_) | Variant::JoiningEtcd { .. } | Variant::WithoutEtcd => Vec::new(),
    };
    // What is uploaded is for every node: no setting of this one stands there.
    let uploaded = matches!(variant, Variant::Cluster { .. });
    let parts = [
        yaml(&init(config, bootstrap_tokens)?)?,
        yaml(&cluster(config, image, variant))?,
        yaml(&kubelet(config, !uploaded))?,
        yaml(&KubeProxy {
            api_version: "kubeproxy.config.k8s.io/v1alpha1",
            kind: "KubeProxyConfiguration",
            mode: "nftables",
        })?,
    ];
    Ok(parts.join("---\n"))
}

pub(super) fn kubelet_configuration(config: &NodeConfig) -> Result<String, NotRendered> {
    yaml(&kubelet(config, true))
}

/// Every text quoted: kubeadm's parser knows YAML 1.1, where `yes`, `1e3` and `0x1f` are no texts.
pub(super) fn yaml<T: Serialize>(document: &T) -> Result<String, NotRendered> {
    let options = serde_saphyr::ser_options! { quote_all: true };
    let mut text =
        serde_saphyr::to_string_with_options(document, options).map_err(|e| NotRendered(e.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Tokens that are still good, with what is left of them: kubeadm refuses `expires` beside its own default `ttl`, and
/// takes a `ttl` of 0 for one that never ends.
fn tokens(config: &NodeConfig, now: jiff::Timestamp) -> Vec<Token> {
    let token = |t: &nodeimg_contract::seed::BootstrapToken| {
        let left = t.expires.as_second().saturating_sub(now.as_second());
        (left > 0).then(|| Token {
            token: t.token.clone(),
            ttl: format!("{left}s"),
            usages: ["signing", "authentication"],
            groups: [nodeimg_contract::bootstrap::GROUP],
        })
    };
    config.bootstrap_tokens.iter().filter_map(token).collect()
}

fn init(config: &NodeConfig, bootstrap_tokens: Vec<Token>) -> Result<Init, NotRendered> {
    Ok(Init {
        api_version: KUBEADM,
        kind: "InitConfiguration",
        bootstrap_tokens,
        local_api_endpoint: LocalApi::new(config)?,
        node_registration: Registration::new(config),
        timeouts: Timeouts { kubernetes_api_call: "5m0s", etcd_api_call: "5m0s" },
        // Read by the phase upload-certs alone, and not uploaded.
        certificate_key: config
            .join
            .as_ref()
            .filter(|_| config.pki.is_some())
            .and_then(|j| j.certificate_key.as_ref())
            .map(|key| key.0.clone()),
    })
}

fn cluster(config: &NodeConfig, image: &RootManifest, variant: Variant<'_>) -> Cluster {
    let k = &config.kubernetes;
    Cluster {
        api_version: KUBEADM,
        kind: "ClusterConfiguration",
        cluster_name: config.cluster.value.to_string(),
        kubernetes_version: format!("v{}", image.kubernetes),
        control_plane_endpoint: config.endpoint_text(),
        image_repository: image.image_repository.clone(),
        encryption_algorithm: k.encryption_algorithm.to_string(),
        networking: Networking {
            pod_subnet: k.pod_subnet.value.to_string(),
            service_subnet: k.service_subnet.value.to_string(),
            dns_domain: k.dns_domain.value.to_string(),
        },
        api_server: ApiServer { cert_sans: cert_sans(config), extra_args: args(&k.api_server_extra_args) },
        controller_manager: Component { extra_args: controller_manager(&k.controller_manager_extra_args) },
        scheduler: Component { extra_args: args(&k.scheduler_extra_args) },
        etcd: etcd(config, image, variant),
        dns: Dns { image_tag: image.image_tags.get("coredns").cloned() },
    }
}

fn etcd(config: &NodeConfig, image: &RootManifest, variant: Variant<'_>) -> Etcd {
    if let Some(external) = &config.external_etcd {
        let file = |name: &str| format!("{}/{name}", pki::DIR);
        return Etcd::External(External {
            endpoints: external.endpoints.clone(),
            ca_file: file(pki::ETCD_CA),
            cert_file: file(pki::ETCD_CLIENT),
            key_file: file(pki::ETCD_CLIENT_KEY),
        });
    }
    let mut extra_args = args(&config.kubernetes.etcd_extra_args);
    match variant {
        Variant::StaticEtcd(birth) => extra_args.extend(birth_args(birth)),
        Variant::JoiningEtcd { members } => extra_args.extend(joining_args(members)),
        Variant::Cluster { .. } | Variant::WithoutEtcd => {}
    }
    let image_tag = image.image_tags.get("etcd").cloned();
    Etcd::Local(LocalEtcd { data_dir: paths::ETCD, image_tag, extra_args })
}

fn kubelet(config: &NodeConfig, with_own: bool) -> Kubelet {
    Kubelet {
        api_version: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        cgroup_driver: "cgroupfs",
        cluster_dns: vec![dns_address(config.kubernetes.service_subnet.value)],
        cluster_domain: config.kubernetes.dns_domain.value.to_string(),
        container_runtime_endpoint: CRI_SOCKET,
        resolv_conf: KUBELET_RESOLV_CONF,
        server_tls_bootstrap: false,
        static_pod_path: MANIFESTS,
        standalone: (config.role.value == Role::Etcd).then(standalone),
        own: if with_own { config.node.kubelet.clone() } else { BTreeMap::new() },
    }
}

fn standalone() -> Standalone {
    Standalone {
        address: "127.0.0.1",
        authentication: serde_json::json!({
            "anonymous": { "enabled": false },
            "webhook": { "enabled": false },
            // kubeadm would fill in the cluster's CA, which an etcd node does not have.
            "x509": { "clientCAFile": format!("{}/{}", pki::DIR, pki::ETCD_CA) },
        }),
        authorization: serde_json::json!({ "mode": "AlwaysAllow" }),
    }
}

/// The endpoint, every control plane's address, the endpoint's addresses, and what the seed adds; each once.
fn cert_sans(config: &NodeConfig) -> Vec<String> {
    let mut sans = vec![config.endpoint.name.value.to_string()];
    let more = config
        .control_planes
        .iter()
        .map(|n| n.address.to_string())
        .chain(config.endpoint.addresses.iter().map(ToString::to_string))
        .chain(config.kubernetes.cert_sans.iter().map(ToString::to_string));
    for san in more {
        if !sans.contains(&san) {
            sans.push(san);
        }
    }
    sans
}

/// kubeadm's rule: the tenth address of the service network.
fn dns_address(service: IpNet) -> IpAddr {
    match service.network() {
        IpAddr::V4(a) => Ipv4Addr::from(u32::from(a).saturating_add(10)).into(),
        IpAddr::V6(a) => Ipv6Addr::from(u128::from(a).saturating_add(10)).into(),
    }
}
