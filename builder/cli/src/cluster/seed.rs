//! The documents of one node's seed, in contract's types.

use super::ClusterError;
use super::spec::{Checked, ClusterSpec, NodeNetwork};
use jiff::Timestamp;
use nodeimg_contract::birth::{Method, Permit};
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{
    BootstrapToken, ControlPlane, Endpoint, EndpointMode, Formation, Kubernetes, MetaData, NodeSeed,
    NodeSettings, Ntp, Pki, UserData,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;

/// What all nodes of a cluster share and nobody else may know.
pub struct Secrets {
    permit: Permit,
    token: BootstrapToken,
    pki: Pki,
}

impl Secrets {
    /// A new permit and a new bootstrap token, both until the permit ends.
    pub fn new(cluster: &str, ends: Timestamp, pki: Pki) -> Result<Self, ClusterError> {
        let nonce = hex::encode(random::<16>()?);
        Ok(Self {
            permit: Permit { cluster: cluster.to_owned(), nonce, not_after: ends },
            token: BootstrapToken { token: token()?, expires: ends },
            pki,
        })
    }
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
}

/// A random UUID (version 4).
pub fn uuid() -> Result<String, ClusterError> {
    Ok(uuid::Builder::from_random_bytes(random()?).into_uuid().to_string())
}

/// Renders one node's seed.
pub fn documents(
    spec: &ClusterSpec,
    checked: &Checked,
    node: &ControlPlane,
    secrets: &Secrets,
) -> Result<SeedDocuments, ClusterError> {
    let meta_data = MetaData {
        // Another seed of the same node is another instance: cloud-init's rule for running things once.
        instance_id: Some(format!("{}-{}", node.name, &hex::encode(random::<4>()?))),
        local_hostname: Some(node.name.clone()),
        other: BTreeMap::new(),
    };
    let user_data = UserData {
        hostname: Some(node.name.clone()),
        ssh_authorized_keys: Vec::new(),
        ntp: (!spec.ntp.is_empty()).then(|| Ntp { servers: spec.ntp.clone(), pools: Vec::new() }),
        nodeimg: Some(node_seed(spec, checked, node, secrets)),
        other: BTreeMap::new(),
    };
    Ok(SeedDocuments {
        meta_data: yaml("meta-data", &meta_data)?,
        user_data: format!("#cloud-config\n{}", yaml("user-data", &user_data)?),
        network_config: network_config(&spec.network),
    })
}

fn node_seed(spec: &ClusterSpec, checked: &Checked, node: &ControlPlane, secrets: &Secrets) -> NodeSeed {
    NodeSeed {
        cluster: spec.name.clone(),
        role: Role::ControlPlane,
        issued_at: Some(spec.issued_at),
        endpoint: Endpoint {
            name: spec.endpoint_name.clone(),
            port: spec.endpoint_port,
            mode: EndpointMode::Dns,
            addresses: own_first(&checked.endpoint_addresses, node.address),
        },
        control_planes: spec.control_planes.clone(),
        formation: Some(Formation {
            method: Method::Quorum,
            permit: Some(secrets.permit.clone()),
            without: Vec::new(),
        }),
        etcd_nodes: Vec::new(),
        external_etcd: None,
        peer: None,
        join: None,
        node: NodeSettings::default(),
        kubernetes: Kubernetes {
            pod_subnet: spec.pod_subnet.clone(),
            service_subnet: spec.service_subnet.clone(),
            schedule_on_control_planes: spec.schedule_on_control_planes,
            ..Kubernetes::default()
        },
        pki: Some(secrets.pki.clone()),
        bootstrap_tokens: vec![secrets.token.clone()],
        disk: None,
    }
}

/// A control plane asks its own API server first.
fn own_first(addresses: &[IpAddr], own: IpAddr) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_by_key(|address| *address != own);
    sorted
}

fn yaml<T: serde::Serialize>(document: &'static str, value: &T) -> Result<String, ClusterError> {
    serde_saphyr::to_string(value)
        .map(|text| if text.ends_with('\n') { text } else { text + "\n" })
        .map_err(|error| ClusterError::Render { document, cause: error.to_string() })
}

/// cloud-init's version 2. Debian names every Ethernet link with an `e`.
fn network_config(network: &NodeNetwork) -> String {
    let head = "version: 2\nethernets:\n  uplink:\n    match:\n      name: \"e*\"\n";
    match network {
        NodeNetwork::Dhcp => format!("{head}    dhcp4: true\n"),
        NodeNetwork::Static { address, gateway, dns } => {
            let mut text = format!("{head}    addresses:\n    - \"{address}\"\n");
            if let Some(gateway) = gateway {
                text.push_str(&format!("    routes:\n    - to: default\n      via: \"{gateway}\"\n"));
            }
            if !dns.is_empty() {
                text.push_str("    nameservers:\n      addresses:\n");
                text.extend(dns.iter().map(|server| format!("      - \"{server}\"\n")));
            }
            text
        }
    }
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
        assert_eq!(own_first(&[a, b], b), [b, a]);
    }
}
