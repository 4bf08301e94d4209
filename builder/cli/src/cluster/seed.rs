//! The documents of one node's seed, in contract's types.

use super::ClusterError;
use super::pki::Pki;
use super::spec::{Checked, ClusterSpec, NodeWish};
use jiff::Timestamp;
use nodeimg_contract::birth::Permit;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{
    BootstrapToken, CertificateKey, ControlPlane, Disk, Endpoint, Formation, Join, KeyAlgorithm, Kubernetes,
    MetaData, NodeSeed, Ntp, UserData,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

/// Port of etcd's clients.
const ETCD_CLIENTS: u16 = 2379;

/// What a node is given beside the spec.
pub struct Given<'a> {
    /// The authorities.
    pub pki: &'a Pki,
    /// Leave for a birth, for those who take part in one.
    pub permit: Option<&'a Permit>,
    /// Who may be missing at that birth.
    pub without: &'a [String],
    /// Tokens of all nodes that join: control planes put each into the cluster once.
    pub tokens: &'a [BootstrapToken],
    /// This node's own token.
    pub own_token: Option<&'a BootstrapToken>,
    /// With which the CAs' keys are uploaded and fetched, where that is the cluster's way.
    pub certificate_key: Option<&'a CertificateKey>,
    /// Its disk, where it is to be wiped.
    pub disk: Option<&'a Disk>,
}

/// The texts of a seed.
pub struct SeedDocuments {
    meta_data: String,
    user_data: String,
    network_config: String,
}

impl SeedDocuments {
    /// Name and text of each.
    pub fn files(&self) -> [(&'static str, &str); 3] {
        [
            ("meta-data", &self.meta_data),
            ("user-data", &self.user_data),
            ("network-config", &self.network_config),
        ]
    }

    /// From user-data and the text of network-config; the instance is a new one.
    pub fn new(name: &str, user_data: &UserData, network_config: String) -> Result<Self, ClusterError> {
        let meta_data = MetaData {
            // Another seed of the same node is another instance: cloud-init's rule for running things once.
            instance_id: Some(format!("{name}-{}", &hex::encode(random::<4>()?))),
            local_hostname: Some(name.to_owned()),
            other: BTreeMap::new(),
        };
        Ok(Self {
            meta_data: yaml("meta-data", &meta_data)?,
            user_data: format!("#cloud-config\n{}", yaml("user-data", user_data)?),
            network_config,
        })
    }
}

/// A random UUID (version 4).
pub fn uuid() -> Result<String, ClusterError> {
    Ok(uuid::Builder::from_random_bytes(random()?).into_uuid().to_string())
}

/// A new permit.
pub fn permit(cluster: &str, not_after: Timestamp) -> Result<Permit, ClusterError> {
    Ok(Permit { cluster: cluster.to_owned(), nonce: hex::encode(random::<16>()?), not_after })
}

/// A new bootstrap token.
pub fn bootstrap_token(expires: Timestamp) -> Result<BootstrapToken, ClusterError> {
    Ok(BootstrapToken { token: token()?, expires })
}

/// Consent to wipe a disk, once: the word was never used before.
pub fn wiped(serial: &str) -> Result<Disk, ClusterError> {
    Ok(Disk { serial: serial.to_owned(), wipe: Some(hex::encode(random::<8>()?)) })
}

/// A new certificate key, as `kubeadm certs certificate-key` makes it: an AES-256 key.
pub fn certificate_key() -> Result<CertificateKey, ClusterError> {
    Ok(CertificateKey(hex::encode(random::<32>()?)))
}

/// Who takes part in a birth: etcd nodes, or control planes with etcd beside them.
pub fn takes_part(spec: &ClusterSpec, role: Role) -> bool {
    role == if spec.external_etcd() { Role::Etcd } else { Role::ControlPlane }
}

/// Renders one node's seed.
pub fn documents(
    spec: &ClusterSpec,
    checked: &Checked,
    node: &NodeWish,
    given: &Given<'_>,
) -> Result<SeedDocuments, ClusterError> {
    let user_data = UserData {
        hostname: Some(node.name.clone()),
        ssh_authorized_keys: spec.ssh_authorized_keys.clone(),
        ntp: (!spec.ntp.is_empty()).then(|| Ntp { servers: spec.ntp.clone(), pools: Vec::new() }),
        nodeimg: Some(node_seed(spec, checked, node, given)?),
        other: BTreeMap::new(),
    };
    SeedDocuments::new(&node.name, &user_data, spec.network_of(node).document(node.address))
}

fn node_seed(
    spec: &ClusterSpec,
    checked: &Checked,
    node: &NodeWish,
    given: &Given<'_>,
) -> Result<NodeSeed, ClusterError> {
    let etcd_nodes = spec.list(Role::Etcd);
    let external = spec.external_etcd();
    let control_plane = node.role == Role::ControlPlane;
    let asks_peers = control_plane || node.role == Role::Etcd;
    let born = takes_part(spec, node.role);
    let endpoints = || etcd_nodes.iter().map(etcd_endpoint).collect();
    Ok(NodeSeed {
        cluster: spec.name.clone(),
        role: node.role,
        issued_at: Some(spec.issued_at),
        endpoint: Endpoint {
            name: spec.endpoint_name.clone(),
            port: spec.endpoint_port,
            mode: checked.endpoint_mode,
            addresses: own_first(&checked.endpoint_addresses, node.address),
        },
        control_planes: spec.list(Role::ControlPlane),
        external_etcd: (control_plane && external)
            .then(|| given.pki.external_etcd(endpoints(), spec.issued_at))
            .transpose()?,
        etcd_nodes: etcd_nodes.clone(),
        peer: asks_peers
            .then(|| given.pki.peer_identity(&node.name, node.role, spec.issued_at))
            .transpose()?,
        join: given.own_token.map(|token| Join {
            ca: given.pki.root_certificate().to_owned(),
            token: token.clone(),
            certificate_key: given.certificate_key.filter(|_| control_plane).cloned(),
        }),
        node: node.settings.clone(),
        formation: born.then(|| Formation {
            method: spec.method,
            permit: given.permit.cloned(),
            without: given.without.to_vec(),
            adopt: spec.adopt,
        }),
        kubernetes: Kubernetes {
            pod_subnet: spec.pod_subnet.clone(),
            service_subnet: spec.service_subnet.clone(),
            dns_domain: spec.dns_domain.clone(),
            schedule_on_control_planes: spec.schedule_on_control_planes,
            encryption_algorithm: Some(spec.keys).filter(|k| *k != KeyAlgorithm::default()),
            cert_sans: spec.cert_sans.clone(),
            api_server_extra_args: spec.extra_args.api_server.clone(),
            controller_manager_extra_args: spec.extra_args.controller_manager.clone(),
            scheduler_extra_args: spec.extra_args.scheduler.clone(),
            etcd_extra_args: spec.extra_args.etcd.clone(),
        },
        pki: if spec.holds_keys(node) || given.certificate_key.is_none() {
            given.pki.for_seed(node.role, external)
        } else {
            None
        },
        bootstrap_tokens: if control_plane { given.tokens.to_vec() } else { Vec::new() },
        disk: given.disk.cloned(),
    })
}

fn etcd_endpoint(node: &ControlPlane) -> String {
    format!("https://{}", SocketAddr::new(node.address, ETCD_CLIENTS))
}

/// A control plane asks its own API server first.
fn own_first(addresses: &[IpAddr], own: Option<IpAddr>) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_by_key(|address| Some(*address) != own);
    sorted
}

fn yaml<T: serde::Serialize>(document: &'static str, value: &T) -> Result<String, ClusterError> {
    serde_saphyr::to_string(value)
        .map(|text| if text.ends_with('\n') { text } else { text + "\n" })
        .map_err(|error| ClusterError::Render { document, cause: error.to_string() })
}

fn random<const N: usize>() -> Result<[u8; N], ClusterError> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(ClusterError::Random)?;
    Ok(bytes)
}

/// kubeadm's form, `[a-z0-9]{6}.[a-z0-9]{16}`, every character equally likely.
fn token() -> Result<String, ClusterError> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut token = String::new();
    while token.len() < 23 {
        for byte in random::<64>()? {
            if token.len() == 6 {
                token.push('.');
            }
            // 252 is the largest multiple of 36 in a byte: what lies above would favour some characters.
            if byte < 252 && token.len() < 23 {
                token.push(char::from(ALPHABET[usize::from(byte % 36)]));
            }
        }
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_kubeadms_form() {
        for _ in 0..50 {
            let token = token().expect("a token");
            let (id, secret) = token.split_once('.').expect("two parts");
            let plain = |text: &str| text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret), "wrong form");
        }
    }

    #[test]
    fn own_address_first() {
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!(own_first(&[a, b], Some(b)), [b, a]);
    }
}
