//! What this node is to be: one value, checked, with a source for every field.
//!
//! Takes a [`Seed`], the image's [`RootManifest`] and what the network taught ([`NetworkFacts`]); gives a
//! [`NodeConfig`] or every [`Problem`] at once. Strings die here: what comes after holds names, subnets and
//! addresses that are valid. Pure: reads no file, no clock, no network.
//!
//! A NodeConfig is cached on the state partition ([`NodeConfig::to_cache`], mode 0600: it holds private keys), so that
//! a boot goes on without the datasource; [`NodeConfig::unchanged_since`] refuses what may not change.

mod agreement;
mod cache;
mod decide;
mod explain;
mod names;
mod networks;
mod node_settings;
mod peer_certificate;
mod problem;
mod source;

pub use agreement::disagreements;
pub use cache::BadCache;
pub use decide::{Decided, decide};
pub use explain::Explained;
pub use names::{ArgName, BadName, ClusterName, DnsName, NodeName, SubjectAltName, is_bootstrap_token};
pub use node_settings::{NODEIMG_ROLE, NodeSpec, ROLE_LABEL, Taint, TaintEffect, WORKER_LABEL};
pub use problem::Problem;
pub use source::{Source, Sourced};

use ipnet::IpNet;
use nodeimg_contract::birth::{Method, Permit};
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_contract::seed::{
    BootstrapToken, Disk, EndpointMode, ExternalEtcd, Join, KeyAlgorithm, PeerIdentity, Pki,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub use crate::seed::Seed;

/// Port that the API server binds when a balancer stands before it.
pub const API_PORT: u16 = 6443;

/// What the network taught: links of the node and DHCP's answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Networks of the node's own links, except loopback.
    pub networks: Vec<IpNet>,
    /// DNS servers and who named them.
    pub dns_servers: Vec<Sourced<IpAddr>>,
    /// DHCP's time servers (option 42).
    pub ntp_servers: Vec<IpAddr>,
    /// DHCP's host name (option 12).
    pub host_name: Option<String>,
}

/// One checked line of the list of control planes, or of etcd nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlaneNode {
    /// Node name.
    pub name: NodeName,
    /// Address that API server and etcd advertise.
    pub address: IpAddr,
}

/// kubeadm's `controlPlaneEndpoint` and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// DNS name.
    pub name: Sourced<DnsName>,
    /// TCP port, not 0.
    pub port: Sourced<u16>,
    /// What answers.
    pub mode: Sourced<EndpointMode>,
    /// For `/etc/hosts`, own address first if it is among them. Empty: the name must resolve by DNS.
    pub addresses: Sourced<Vec<IpAddr>>,
}

/// Kubernetes' settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesSpec {
    /// `networking.podSubnet`.
    pub pod_subnet: Sourced<IpNet>,
    /// `networking.serviceSubnet`.
    pub service_subnet: Sourced<IpNet>,
    /// `networking.dnsDomain`.
    pub dns_domain: Sourced<DnsName>,
    /// More names and addresses in the API server's certificate.
    pub cert_sans: Sourced<Vec<SubjectAltName>>,
    /// `apiServer.extraArgs`.
    pub api_server_extra_args: BTreeMap<ArgName, String>,
    /// `controllerManager.extraArgs`.
    pub controller_manager_extra_args: BTreeMap<ArgName, String>,
    /// `scheduler.extraArgs`.
    pub scheduler_extra_args: BTreeMap<ArgName, String>,
    /// `etcd.local.extraArgs`; never one that formation decides.
    pub etcd_extra_args: BTreeMap<ArgName, String>,
    /// Whether the control plane's taint is left off.
    pub schedule_on_control_planes: Sourced<bool>,
    /// Of the keys that kubeadm makes on this node.
    #[serde(default)]
    pub encryption_algorithm: KeyAlgorithm,
}

impl KubernetesSpec {
    /// Each component's arguments, with the seed's field of them.
    pub(crate) fn extra_args(&self) -> [(&'static str, &BTreeMap<ArgName, String>); 4] {
        [
            ("nodeimg.kubernetes.apiServerExtraArgs", &self.api_server_extra_args),
            ("nodeimg.kubernetes.controllerManagerExtraArgs", &self.controller_manager_extra_args),
            ("nodeimg.kubernetes.schedulerExtraArgs", &self.scheduler_extra_args),
            ("nodeimg.kubernetes.etcdExtraArgs", &self.etcd_extra_args),
        ]
    }
}

/// What this node is to be. Made by [`decide`] (or read back from its cache) alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// Datasource of the seed, as a person would name it.
    pub datasource: String,
    /// cloud-init's instance-id. A changed one never touches cluster state.
    pub instance_id: Option<String>,
    /// The node's name.
    pub name: Sourced<NodeName>,
    /// The role; equal to the image's.
    pub role: Sourced<Role>,
    /// The cluster's name.
    pub cluster: Sourced<ClusterName>,
    /// When the seed was made.
    pub issued_at: Option<jiff::Timestamp>,
    /// The address of this node in the list of its role: API server's and etcd's. Control planes and etcd nodes have
    /// one; workers and balancers do not ([`NodeConfig::node_ip`]).
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Where the API is.
    pub endpoint: EndpointSpec,
    /// Every control plane of the seed's list, sorted by name; a control plane is among them.
    pub control_planes: Sourced<Vec<ControlPlaneNode>>,
    /// Nodes of role `etcd`, sorted by name. Empty: etcd is stacked, or somebody else's.
    #[serde(default)]
    pub etcd_nodes: Vec<ControlPlaneNode>,
    /// How this control plane reaches an etcd that does not run beside its API server.
    #[serde(default)]
    pub external_etcd: Option<ExternalEtcd>,
    /// Who this node is towards other nodeinits. Some where the list of its role has more than one name.
    #[serde(default)]
    pub peer: Option<PeerIdentity>,
    /// How this node joins. Some for workers, and for control planes without [`NodeConfig::pki`] (which then have a
    /// certificate key).
    #[serde(default)]
    pub join: Option<Join>,
    /// Labels, taints, address and kubelet settings.
    #[serde(default)]
    pub node: NodeSpec,
    /// How participants of a birth are chosen.
    pub method: Sourced<Method>,
    /// Leave for one birth.
    pub permit: Option<Permit>,
    /// Consent to a birth without these, sorted; a strict majority of the list is left. Never without a permit.
    #[serde(default)]
    pub without: Vec<NodeName>,
    /// The cluster exists, and nodeimg did not make it. Never with a permit.
    pub adopt: bool,
    /// Kubernetes' settings.
    pub kubernetes: KubernetesSpec,
    /// CAs and keys: exactly those that the role needs. None for workers and balancers, and for control planes that
    /// fetch them by a certificate key.
    #[serde(default)]
    pub pki: Option<Pki>,
    /// Tokens for nodes that join.
    pub bootstrap_tokens: Vec<BootstrapToken>,
    /// Consent for a state disk.
    pub disk: Option<Disk>,
    /// Time servers, names or addresses, and who named them.
    pub ntp_servers: Sourced<Vec<String>>,
    /// DNS servers that pods may be sent to: never loopback.
    pub dns_servers: Vec<Sourced<IpAddr>>,
    /// Public keys of `root`.
    pub ssh_authorized_keys: Vec<String>,
}

impl NodeConfig {
    /// Port that this node's own API server binds: the endpoint's where the name leads straight to it.
    pub fn api_port(&self) -> u16 {
        match self.endpoint.mode.value {
            EndpointMode::Dns => self.endpoint.port.value,
            EndpointMode::External => API_PORT,
        }
    }

    /// `NAME:PORT` of the endpoint.
    pub fn endpoint_text(&self) -> String {
        format!("{}:{}", self.endpoint.name.value, self.endpoint.port.value)
    }

    /// `/etc/hosts` of this node: loopback, the listed nodes, the endpoint's addresses (own first). On a worker the endpoint's
    /// name leads to nodeinit's own door on loopback, behind which there is the one cluster that the worker belongs to.
    pub fn hosts_file(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        for node in self.control_planes.iter().chain(&self.etcd_nodes) {
            text.push_str(&format!("{} {}\n", node.address, node.name));
        }
        if self.role.value == Role::Worker {
            text.push_str(&format!("127.0.0.1 {}\n", self.endpoint.name.value));
            return text;
        }
        for address in &self.endpoint.addresses.value {
            text.push_str(&format!("{address} {}\n", self.endpoint.name.value));
        }
        text
    }

    /// The nodes whose etcd members are born together, if this node is one of them: etcd nodes for an etcd node, control
    /// planes for a control plane with etcd beside it. Empty for all others.
    pub fn birth_list(&self) -> &[ControlPlaneNode] {
        match self.role.value {
            Role::Etcd => &self.etcd_nodes,
            Role::ControlPlane if self.external_etcd.is_none() => &self.control_planes.value,
            Role::ControlPlane | Role::Worker | Role::Lb => &[],
        }
    }

    /// Whether this control plane has no keys of the cluster, and a certificate key to fetch them with.
    pub fn fetches_keys(&self) -> bool {
        self.role.value == Role::ControlPlane
            && self.pki.is_none()
            && self.join.as_ref().is_some_and(|j| j.certificate_key.is_some())
    }

    /// The kubelet's `--node-ip`: what the seed says, else the listed address. None: the address that leads to the
    /// endpoint, which a caller that knows the routes may find.
    pub fn node_ip(&self) -> Option<IpAddr> {
        self.node.node_ip.or(self.address)
    }

    /// Whether pods can be given a DNS server outside the cluster.
    pub fn knows_dns(&self) -> bool {
        !self.dns_servers.is_empty()
    }

    /// Refuses another role than the image's: a cached NodeConfig may meet another image.
    pub fn fits(&self, image: &RootManifest) -> Result<(), Problem> {
        decide::role_fits(self.role.value, image)
    }
}

#[cfg(test)]
mod tests;
