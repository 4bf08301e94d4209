//! A seed as it is written: cloud-init's documents, and our key `nodeimg` in user-data.
//!
//! `nodeimg cluster new` writes these types, nodeinit parses them (YAML at the border). They say what was asked for;
//! whether it makes sense is decided in init/core, once, into a NodeConfig. Secrets have no Debug text.

use crate::birth::{Method, Permit};
use crate::image::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most bootstrap tokens of a seed: at 90 bytes each they leave room below a node's bound of 1 MiB for a document.
pub const MAX_TOKENS: usize = 1024;
/// Longest list of control planes or of etcd nodes that a node takes.
pub const LONGEST_LIST: usize = 15;
/// Most time servers, DNS servers or addresses of the endpoint.
pub const MAX_SERVERS: usize = 16;

/// `meta-data` (cloud-init, NoCloud).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaData {
    /// Changes when the instance is another one.
    #[serde(rename = "instance-id", default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Host name.
    #[serde(rename = "local-hostname", default, skip_serializing_if = "Option::is_none")]
    pub local_hostname: Option<String>,
    /// Whatever else stands there.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// `user-data` that starts with `#cloud-config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserData {
    /// Host name; stands over meta-data's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Public keys of `root`, lines of `authorized_keys` (sshd(8)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Time servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntp: Option<Ntp>,
    /// Our key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodeimg: Option<NodeSeed>,
    /// cloud-init keys that nodeimg does not act on: kept, so that they can be named in a warning.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// cloud-init's `ntp`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ntp {
    /// Names or addresses.
    #[serde(default)]
    pub servers: Vec<String>,
    /// Pools; asked like servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
}

/// The key `nodeimg` of user-data. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSeed {
    /// The cluster's name.
    pub cluster: String,
    /// The node's role; must be the image's.
    pub role: Role,
    /// When the seed was made, RFC 3339 UTC: a floor of the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<jiff::Timestamp>,
    /// Where the API is.
    pub endpoint: Endpoint,
    /// Every control plane; for birth alone (afterwards every member serves the current list).
    pub control_planes: Vec<ControlPlane>,
    /// Nodes of role `etcd`: the members of an external etcd that nodeimg forms. Empty: etcd is stacked, or somebody
    /// else's ([`NodeSeed::external_etcd`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub etcd_nodes: Vec<ControlPlane>,
    /// How control planes reach an etcd that does not run beside their API servers (kubeadm's `etcd.external`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_etcd: Option<ExternalEtcd>,
    /// This node's identity towards other nodeinits (control planes and etcd nodes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerIdentity>,
    /// How a node without the cluster's keys joins (workers; control planes of the textbook way).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// Labels, taints, address and kubelet settings of this node.
    #[serde(default, skip_serializing_if = "NodeSettings::is_default")]
    pub node: NodeSettings,
    /// Formation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formation: Option<Formation>,
    /// Kubernetes' settings.
    #[serde(default)]
    pub kubernetes: Kubernetes,
    /// CAs and keys (control planes; etcd nodes, of etcd alone).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pki: Option<Pki>,
    /// Bootstrap tokens for nodes that join: each is put into the cluster once, with its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bootstrap_tokens: Vec<BootstrapToken>,
    /// The state disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
}

/// kubeadm's `controlPlaneEndpoint` and what answers behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// A DNS name, never an address.
    pub name: String,
    /// TCP port.
    #[serde(default = "port_6443")]
    pub port: u16,
    /// What answers.
    #[serde(default)]
    pub mode: EndpointMode,
    /// For `/etc/hosts`; empty: the name must resolve by DNS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}

fn port_6443() -> u16 {
    6443
}

/// What answers behind the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointMode {
    /// The name has the control planes' addresses (round robin, or `endpoint.addresses`).
    #[default]
    Dns,
    /// Somebody else's balancer.
    External,
}

/// One line of the list of control planes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlane {
    /// Node name (RFC 1123 subdomain).
    pub name: String,
    /// Address that API server and etcd advertise.
    pub address: IpAddr,
}

/// How this cluster may come about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Formation {
    /// Participants.
    #[serde(default)]
    pub method: Method,
    /// Leave for one birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit: Option<Permit>,
    /// Names of the list that are dead on arrival: consent to a birth without them, bound to `permit`. What is left must
    /// be a strict majority of the list; a name that answers after all takes part as if it did not stand here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The cluster exists, and was made by kubeadm without nodeimg: whoever joins it first gives it a name of its own.
    /// Never beside a permit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
}

/// kubeadm's `etcd.external`, with the files' content in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalEtcd {
    /// `https://ADDRESS:PORT` of each member.
    pub endpoints: Vec<String>,
    /// CA of the members' certificates, PEM.
    pub ca: String,
    /// The API server's client certificate and key.
    pub client: KeyPair,
}

/// Who this node is towards other nodeinits: the CA has this purpose alone, and is none of Kubernetes'. The certificate
/// is made as [`crate::peer`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerIdentity {
    /// The peer CA's certificate, PEM.
    pub ca: String,
    /// This node's certificate and key.
    pub identity: KeyPair,
}

/// How a node without the cluster's keys joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Join {
    /// The cluster's CA (`ca.crt`), PEM: what answers behind the endpoint must have it.
    pub ca: String,
    /// Bootstrap token of this node.
    pub token: BootstrapToken,
    /// kubeadm's certificate key (64 hexadecimal digits) with which a control plane of the textbook way fetches the
    /// uploaded certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_key: Option<CertificateKey>,
}

/// kubeadm's certificate key; no Debug text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificateKey(pub String);

impl std::fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateKey(…)")
    }
}

/// A node's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSettings {
    /// Labels of the Node object. `node-role.kubernetes.io/*` is set by a control plane (the kubelet refuses to).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints, `KEY[=VALUE]:EFFECT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<String>,
    /// The kubelet's `--node-ip`; default: the listed address, or the one that leads to the endpoint.
    #[serde(default, rename = "nodeIP", skip_serializing_if = "Option::is_none")]
    pub node_ip: Option<IpAddr>,
    /// Fields of this node's KubeletConfiguration, by their own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kubelet: BTreeMap<String, serde_json::Value>,
}

impl NodeSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Kubernetes' settings, by kubeadm's names (ClusterConfiguration v1beta4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// `networking.podSubnet`, default 10.244.0.0/16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_subnet: Option<String>,
    /// `networking.serviceSubnet`, default 10.96.0.0/12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_subnet: Option<String>,
    /// `networking.dnsDomain`, default cluster.local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_domain: Option<String>,
    /// More names and addresses in the API server's certificate.
    #[serde(default, rename = "certSANs", skip_serializing_if = "Vec::is_empty")]
    pub cert_sans: Vec<String>,
    /// `apiServer.extraArgs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub api_server_extra_args: BTreeMap<String, String>,
    /// `controllerManager.extraArgs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub controller_manager_extra_args: BTreeMap<String, String>,
    /// `scheduler.extraArgs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduler_extra_args: BTreeMap<String, String>,
    /// `etcd.local.extraArgs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub etcd_extra_args: BTreeMap<String, String>,
    /// Whether the control plane's taint is left off (a cluster of one that runs pods).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schedule_on_control_planes: bool,
    /// `encryptionAlgorithm`: of the keys that kubeadm makes on each node. Default ECDSA-P256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_algorithm: Option<KeyAlgorithm>,
}

/// Kind of a key, by kubeadm's words (`EncryptionAlgorithmType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// Made in a millisecond.
    #[default]
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// Longer, slower.
    #[serde(rename = "ECDSA-P384")]
    EcdsaP384,
    /// For what cannot do elliptic curves.
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    /// A second of a CPU or more for each key.
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    /// Several seconds of a CPU for each key.
    #[serde(rename = "RSA-4096")]
    Rsa4096,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];
}

impl std::fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
        })
    }
}

/// CAs and keys of a node, as far as its role needs them: a control plane all four (without `etcdCA` where etcd is
/// external), an etcd node `etcdCA` alone; workers and balancers have none.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pki {
    /// `ca.crt`, `ca.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<KeyPair>,
    /// `front-proxy-ca.*`.
    #[serde(default, rename = "frontProxyCA", skip_serializing_if = "Option::is_none")]
    pub front_proxy_ca: Option<KeyPair>,
    /// `etcd/ca.*`.
    #[serde(default, rename = "etcdCA", skip_serializing_if = "Option::is_none")]
    pub etcd_ca: Option<KeyPair>,
    /// `sa.pub`, `sa.key`: `certificate` holds the public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<KeyPair>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki(…)")
    }
}

/// A certificate (or public key) and its private key, PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPair {
    /// PEM.
    pub certificate: String,
    /// PEM, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair(…)")
    }
}

/// A bootstrap token (kubeadm's form, `[a-z0-9]{6}.[a-z0-9]{16}`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BootstrapToken {
    /// The secret.
    pub token: String,
    /// RFC 3339 UTC.
    pub expires: jiff::Timestamp,
}

impl std::fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BootstrapToken({}…)", self.token.get(..6).unwrap_or(""))
    }
}

/// Consent for a state disk that is not blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disk {
    /// Serial number of the disk to take (`/sys/block/*/serial` or udev's ID_SERIAL_SHORT).
    pub serial: String,
    /// A word never used before: the disk is wiped once for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wipe: Option<String>,
}
