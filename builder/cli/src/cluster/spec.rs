//! What was asked for, and whether it makes sense.

use super::{ClusterError, NodeNetwork};
use jiff::{SignedDuration, Timestamp};
use nodeimg_contract::birth::Method;
use nodeimg_contract::image::Role;
use nodeimg_contract::names::{is_label, is_reachable};
use nodeimg_contract::seed::{ControlPlane, EndpointMode, KeyAlgorithm, LONGEST_LIST, NodeSettings};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// A node to make a seed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeWish {
    /// Its name.
    pub name: String,
    /// What it is to be.
    pub role: Role,
    /// Control planes and etcd nodes have one; for others it is known only if the network is static.
    pub address: Option<IpAddr>,
    /// None: the cluster's.
    pub network: Option<NodeNetwork>,
    /// Labels, taints, kubelet settings.
    pub settings: NodeSettings,
}

impl NodeWish {
    /// A node with every default.
    pub fn new(name: &str, role: Role, address: Option<IpAddr>) -> Self {
        Self { name: name.to_owned(), role, address, network: None, settings: NodeSettings::default() }
    }
}

/// kubeadm's `extraArgs`, by component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraArgs {
    /// `apiServer`.
    pub api_server: BTreeMap<String, String>,
    /// `controllerManager`.
    pub controller_manager: BTreeMap<String, String>,
    /// `scheduler`.
    pub scheduler: BTreeMap<String, String>,
    /// `etcd.local`.
    pub etcd: BTreeMap<String, String>,
}

/// A cluster to make, or one that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name.
    pub name: String,
    /// Its UUID; none until it is made.
    pub uuid: Option<String>,
    /// The folder to make; must not exist.
    pub out: PathBuf,
    /// Its nodes.
    pub nodes: Vec<NodeWish>,
    /// A DNS name.
    pub endpoint_name: String,
    /// TCP port.
    pub endpoint_port: u16,
    /// What answers; none: balancers if there are any, else the control planes themselves.
    pub endpoint_mode: Option<EndpointMode>,
    /// For `/etc/hosts`; empty: the balancers' addresses, or the control planes'.
    pub endpoint_addresses: Vec<IpAddr>,
    /// kubeadm's `networking.podSubnet`.
    pub pod_subnet: Option<String>,
    /// kubeadm's `networking.serviceSubnet`.
    pub service_subnet: Option<String>,
    /// kubeadm's `networking.dnsDomain`.
    pub dns_domain: Option<String>,
    /// kubeadm's `apiServer.certSANs`.
    pub cert_sans: Vec<String>,
    /// More arguments of the components.
    pub extra_args: ExtraArgs,
    /// Time servers.
    pub ntp: Vec<String>,
    /// Public keys of `root`.
    pub ssh_authorized_keys: Vec<String>,
    /// How participants of the birth are chosen.
    pub method: Method,
    /// The cluster exists, made by kubeadm without nodeimg: nodes join it.
    pub adopt: bool,
    /// The lowest control plane alone has the CAs' keys, and uploads them for the others (kubeadm's `--upload-certs`).
    pub upload_certs: bool,
    /// Of CAs and of the keys that nodes make.
    pub keys: KeyAlgorithm,
    /// CAs that are brought along, by kubeadm's file names.
    pub ca_dir: Option<PathBuf>,
    /// How long the permit holds; none: no permit, the nodes can only join.
    pub permit_lifetime: Option<SignedDuration>,
    /// How long tokens of joining nodes hold.
    pub token_lifetime: SignedDuration,
    /// No taint on control planes.
    pub schedule_on_control_planes: bool,
    /// How nodes get their addresses.
    pub network: NodeNetwork,
    /// Now.
    pub issued_at: Timestamp,
}

/// A week: time enough for machines to arrive.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

impl ClusterSpec {
    /// A cluster with every default: what the first command of the README needs.
    pub fn with_defaults(
        name: &str,
        out: PathBuf,
        control_planes: Vec<ControlPlane>,
        endpoint_name: &str,
    ) -> Self {
        let node = |n: ControlPlane| NodeWish::new(&n.name, Role::ControlPlane, Some(n.address));
        Self {
            name: name.to_owned(),
            uuid: None,
            out,
            nodes: control_planes.into_iter().map(node).collect(),
            endpoint_name: endpoint_name.to_owned(),
            endpoint_port: 6443,
            endpoint_mode: None,
            endpoint_addresses: Vec::new(),
            pod_subnet: None,
            service_subnet: None,
            dns_domain: None,
            cert_sans: Vec::new(),
            extra_args: ExtraArgs::default(),
            ntp: Vec::new(),
            ssh_authorized_keys: Vec::new(),
            method: Method::Quorum,
            adopt: false,
            upload_certs: false,
            keys: KeyAlgorithm::default(),
            ca_dir: None,
            permit_lifetime: Some(LIFETIME),
            token_lifetime: LIFETIME,
            schedule_on_control_planes: false,
            network: NodeNetwork::Dhcp,
            issued_at: Timestamp::now(),
        }
    }

    /// Nodes of a role, in the order in which they were given.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &NodeWish> {
        self.nodes.iter().filter(move |n| n.role == role)
    }

    /// Name and address of the nodes of a role, as seeds list them.
    pub fn list(&self, role: Role) -> Vec<ControlPlane> {
        self.of(role)
            .filter_map(|n| n.address.map(|address| ControlPlane { name: n.name.clone(), address }))
            .collect()
    }

    /// Whether etcd runs on nodes of its own.
    pub fn external_etcd(&self) -> bool {
        self.of(Role::Etcd).next().is_some()
    }

    /// A node's own words on its network, or the cluster's.
    pub fn network_of<'a>(&'a self, node: &'a NodeWish) -> &'a NodeNetwork {
        node.network.as_ref().unwrap_or(&self.network)
    }
}

/// What follows from a spec that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The permit's notAfter.
    pub permit_ends: Option<Timestamp>,
    /// The tokens' end.
    pub tokens_end: Timestamp,
    /// What answers behind the endpoint.
    pub endpoint_mode: EndpointMode,
    /// For `/etc/hosts`.
    pub endpoint_addresses: Vec<IpAddr>,
}

/// A permit or token holds at least a minute, at most a year.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

const SHORT: &str = "use a to z, 0 to 9 and \"-\", at most 63 of them, with a letter or digit at both ends";

fn value(what: &'static str, value: &str, wanted: &'static str, help: &'static str) -> ClusterError {
    ClusterError::Value { what, value: value.to_owned(), wanted, help }
}

impl ClusterSpec {
    /// Refuses what cannot become a cluster.
    pub(super) fn check(&self) -> Result<Checked, ClusterError> {
        if !is_label(&self.name) {
            return Err(value("cluster name", &self.name, "an RFC 1123 label", SHORT));
        }
        self.check_adopt()?;
        self.check_lists()?;
        self.check_nodes()?;
        self.check_upload()?;
        self.check_static()?;
        let mode = match self.endpoint_mode {
            Some(mode) => mode,
            None if self.of(Role::Lb).next().is_some() => EndpointMode::External,
            None => EndpointMode::Dns,
        };
        let endpoint_addresses: Vec<IpAddr> = match (self.endpoint_addresses.is_empty(), mode) {
            (false, _) => self.endpoint_addresses.clone(),
            (true, EndpointMode::Dns) => self.of(Role::ControlPlane).filter_map(|n| n.address).collect(),
            // Somebody else's balancer is found by DNS.
            (true, EndpointMode::External) => self.of(Role::Lb).filter_map(|n| n.address).collect(),
        };
        self.check_endpoint(mode, &endpoint_addresses)?;
        self.check_networks(&endpoint_addresses)?;
        self.check_names()?;
        self.check_components()?;
        let ends = |what, lifetime: SignedDuration, help| {
            let sensible = lifetime >= SignedDuration::from_mins(1) && lifetime <= LONGEST;
            let ends = self.issued_at.checked_add(lifetime).ok().filter(|_| sensible);
            ends.ok_or_else(|| value(what, &format!("{lifetime:#}"), "between a minute and a year", help))
        };
        let permit = |t| ends("permit lifetime", t, "give --permit-ttl like 7d or 12h");
        Ok(Checked {
            permit_ends: self.permit_lifetime.map(permit).transpose()?,
            tokens_end: ends("token lifetime", self.token_lifetime, "give --token-ttl like 7d or 12h")?,
            endpoint_mode: mode,
            endpoint_addresses,
        })
    }

    fn check_lists(&self) -> Result<(), ClusterError> {
        let counts = [
            ("control planes", self.of(Role::ControlPlane).count()),
            ("etcd nodes", self.of(Role::Etcd).count()),
        ];
        if counts[0].1 == 0 {
            return Err(value(
                "list of control planes",
                "",
                "a list with one node at least",
                "give --control-plane NAME=ADDRESS",
            ));
        }
        // Without a permit nothing is born, so nothing counts: a cluster that exists may have any number of them.
        for (what, count) in counts {
            match count {
                0 | 1 | 3 | 5 => {}
                n if self.permit_lifetime.is_none() && n <= LONGEST_LIST => {}
                n if n % 2 == 0 => return Err(ClusterError::Even { what, count: n }),
                n => return Err(ClusterError::TooMany { what, count: n }),
            }
        }
        Ok(())
    }

    /// A cluster that exists has all its authorities; one that is made anew would be another's.
    fn check_adopt(&self) -> Result<(), ClusterError> {
        const FILES: [&str; 7] = [
            "ca.crt",
            "ca.key",
            "etcd/ca.crt",
            "etcd/ca.key",
            "front-proxy-ca.crt",
            "front-proxy-ca.key",
            "sa.key",
        ];
        if self.adopt && self.permit_lifetime.is_some() {
            let help = "leave the permit out: nodes of an adopted cluster join it, and form none";
            return Err(value("cluster", &self.name, "one that nodeimg is to make, for a permit", help));
        }
        let Some(dir) = self.ca_dir.as_deref().filter(|_| self.adopt) else { return Ok(()) };
        match FILES.iter().find(|file| !dir.join(file).is_file()) {
            None => Ok(()),
            Some(file) => Err(ClusterError::Brought {
                path: dir.to_owned(),
                cause: format!("it has no {file}"),
                help: "copy /etc/kubernetes/pki of one of the cluster's control planes, with its keys",
            }),
        }
    }

    fn check_upload(&self) -> Result<(), ClusterError> {
        if !self.upload_certs {
            return Ok(());
        }
        if self.method != Method::First {
            let help = "give --method first as well: one has the keys before the others";
            return Err(value("way of the keys", "upload-certs", "together with method first", help));
        }
        if self.external_etcd() {
            let help = "leave --upload-certs out: with an external etcd every control plane has a certificate of its own";
            return Err(value("way of the keys", "upload-certs", "one for etcd on the control planes", help));
        }
        Ok(())
    }

    /// Whether a node's seed has the CAs' keys: all control planes', or the lowest one's.
    pub fn holds_keys(&self, node: &NodeWish) -> bool {
        let lowest = || self.of(Role::ControlPlane).map(|n| n.name.as_str()).min();
        !self.upload_certs || node.role != Role::ControlPlane || lowest() == Some(node.name.as_str())
    }

    fn check_nodes(&self) -> Result<(), ClusterError> {
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for node in &self.nodes {
            if !is_label(&node.name) {
                return Err(value("node name", &node.name, "an RFC 1123 label", SHORT));
            }
            if !names.insert(&node.name) {
                return Err(ClusterError::Twice { what: "node name", value: node.name.clone() });
            }
            let Some(address) = node.address else {
                if matches!(node.role, Role::ControlPlane | Role::Etcd) {
                    let help = "give it an address: NAME=ADDRESS";
                    return Err(value("node", &node.name, "complete", help));
                }
                continue;
            };
            if !is_reachable(address) {
                let help = "give the address that other nodes reach this one at";
                return Err(value(
                    "node address",
                    &address.to_string(),
                    "an address that a node can have",
                    help,
                ));
            }
            if !addresses.insert(address) {
                return Err(ClusterError::Twice { what: "node address", value: address.to_string() });
            }
        }
        Ok(())
    }

    fn check_static(&self) -> Result<(), ClusterError> {
        for node in &self.nodes {
            let network = self.network_of(node);
            let NodeNetwork::Static { address, gateway, .. } = network else { continue };
            let Some(own) = node.address else {
                let help = "a static network needs the node's address: NAME=ADDRESS";
                return Err(value("node", &node.name, "complete", help));
            };
            if address.is_some_and(|address| address != own) {
                let help = match self.nodes.len() {
                    1 => "give --network the address of --control-plane, with its prefix length",
                    _ => "write static:/PREFIX,GATEWAY,DNS: each node takes its own address",
                };
                return Err(value("static address", &network.to_string(), "the node's own", help));
            }
            if !network.reaches_gateway(own) {
                let help = "a gateway lies in the network of the static address; check the prefix length";
                let text = gateway.map(|g| g.to_string()).unwrap_or_default();
                return Err(value("gateway", &text, "in the node's network", help));
            }
        }
        Ok(())
    }
}
