//! What was asked for, and whether it makes sense.

use super::ClusterError;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use nodeimg_contract::seed::ControlPlane;
use std::net::IpAddr;
use std::path::PathBuf;

/// How a node gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeNetwork {
    /// DHCPv4 on every Ethernet link.
    Dhcp,
    /// The same address at every boot.
    Static {
        /// With its prefix length.
        address: IpNet,
        /// Default route.
        gateway: Option<IpAddr>,
        /// DNS servers.
        dns: Vec<IpAddr>,
    },
}

/// A cluster to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name.
    pub name: String,
    /// The folder to make; must not exist.
    pub out: PathBuf,
    /// Its control planes.
    pub control_planes: Vec<ControlPlane>,
    /// A DNS name.
    pub endpoint_name: String,
    /// TCP port.
    pub endpoint_port: u16,
    /// For `/etc/hosts`; empty: the control planes' addresses.
    pub endpoint_addresses: Vec<IpAddr>,
    /// kubeadm's `networking.podSubnet`.
    pub pod_subnet: Option<String>,
    /// kubeadm's `networking.serviceSubnet`.
    pub service_subnet: Option<String>,
    /// Time servers.
    pub ntp: Vec<String>,
    /// How long the permit holds.
    pub permit_lifetime: SignedDuration,
    /// No taint on control planes.
    pub schedule_on_control_planes: bool,
    /// Addresses of the nodes.
    pub network: NodeNetwork,
    /// Now.
    pub issued_at: Timestamp,
}

impl ClusterSpec {
    /// A cluster with every default: what the first command of the README needs.
    pub fn with_defaults(
        name: &str,
        out: PathBuf,
        control_planes: Vec<ControlPlane>,
        endpoint_name: &str,
    ) -> Self {
        Self {
            name: name.to_owned(),
            out,
            control_planes,
            endpoint_name: endpoint_name.to_owned(),
            endpoint_port: 6443,
            endpoint_addresses: Vec::new(),
            pod_subnet: None,
            service_subnet: None,
            ntp: Vec::new(),
            permit_lifetime: SignedDuration::from_hours(7 * 24),
            schedule_on_control_planes: false,
            network: NodeNetwork::Dhcp,
            issued_at: Timestamp::now(),
        }
    }
}

/// What follows from a spec that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The permit's notAfter.
    pub permit_ends: Timestamp,
    /// For `/etc/hosts`.
    pub endpoint_addresses: Vec<IpAddr>,
}

/// A permit holds at least a minute, at most a year.
const LONGEST_PERMIT: SignedDuration = SignedDuration::from_hours(366 * 24);

impl ClusterSpec {
    /// Refuses what cannot become a cluster.
    pub(super) fn check(&self) -> Result<Checked, ClusterError> {
        const SHORT: &str =
            "use a to z, 0 to 9 and \"-\", at most 63 of them, with a letter or digit at both ends";
        let value =
            |what, value: &str, wanted, help| ClusterError::Value { what, value: value.into(), wanted, help };
        if !is_label(&self.name) {
            return Err(value("cluster name", &self.name, "an RFC 1123 label", SHORT));
        }
        match self.control_planes.len() {
            1 => {}
            0 => {
                return Err(value(
                    "list of control planes",
                    "",
                    "a list with one node",
                    "give --control-plane NAME=ADDRESS",
                ));
            }
            n if n % 2 == 0 => return Err(ClusterError::Even(n)),
            n => return Err(ClusterError::NotYet(n)),
        }
        for node in &self.control_planes {
            if !is_label(&node.name) {
                return Err(value("node name", &node.name, "an RFC 1123 label", SHORT));
            }
            if !is_host(node.address) {
                let help = "give the address that other nodes reach this one at";
                return Err(value(
                    "node address",
                    &node.address.to_string(),
                    "an address that a node can have",
                    help,
                ));
            }
        }
        self.check_endpoint()?;
        let networks = self.check_networks()?;
        if let NodeNetwork::Static { address, gateway, .. } = &self.network {
            let own = self.control_planes.iter().any(|node| node.address == address.addr());
            if !own {
                let help = "give --network the address of --control-plane, with its prefix length";
                return Err(value("static address", &address.to_string(), "the control plane's", help));
            }
            if let Some(outside) = gateway.filter(|gateway| !address.contains(gateway)) {
                let help = "a gateway lies in the network of the static address; check the prefix length";
                return Err(value("gateway", &outside.to_string(), "in the node's network", help));
            }
        }
        for node in &self.control_planes {
            if networks.iter().any(|net| net.contains(&node.address)) {
                let help = "choose --pod-subnet and --service-subnet apart from the nodes' network";
                let text = node.address.to_string();
                return Err(value("node address", &text, "outside the pod and service networks", help));
            }
        }
        let lifetime = self.permit_lifetime;
        let ends = self.issued_at.checked_add(lifetime).ok();
        let sensible = lifetime >= SignedDuration::from_mins(1) && lifetime <= LONGEST_PERMIT;
        let Some(permit_ends) = ends.filter(|_| sensible) else {
            let help = "give --permit-lifetime like 7d or 12h";
            return Err(value(
                "permit lifetime",
                &format!("{lifetime:#}"),
                "between a minute and a year",
                help,
            ));
        };
        let endpoint_addresses = match self.endpoint_addresses.is_empty() {
            true => self.control_planes.iter().map(|node| node.address).collect(),
            false => self.endpoint_addresses.clone(),
        };
        Ok(Checked { permit_ends, endpoint_addresses })
    }

    fn check_endpoint(&self) -> Result<(), ClusterError> {
        let name = &self.endpoint_name;
        let value =
            |wanted, help| ClusterError::Value { what: "endpoint", value: name.clone(), wanted, help };
        if name.parse::<IpAddr>().is_ok() || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            let help =
                "an endpoint outlives every address: give a name, and its addresses with --endpoint-address";
            return Err(value("a DNS name", help));
        }
        let labels: Vec<&str> = name.split('.').collect();
        let digits = labels.last().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
        if name.len() > 253 || digits || !labels.iter().all(|label| is_label(label)) {
            return Err(value("a DNS name", "give --endpoint NAME[:PORT], like api.kube.example.net:6443"));
        }
        if self.endpoint_port == 0 {
            return Err(value("a name with a port", "give a port between 1 and 65535, or none for 6443"));
        }
        Ok(())
    }

    fn check_networks(&self) -> Result<Vec<IpNet>, ClusterError> {
        let mut networks: Vec<IpNet> = Vec::new();
        let said = [
            ("pod subnet", self.pod_subnet.as_deref().unwrap_or("10.244.0.0/16")),
            ("service subnet", self.service_subnet.as_deref().unwrap_or("10.96.0.0/12")),
        ];
        for (what, text) in said {
            let value = |wanted, help| ClusterError::Value { what, value: text.to_owned(), wanted, help };
            let net: IpNet = text.parse().map_err(|_| value("a network", "give it like 10.244.0.0/16"))?;
            if net.trunc() != net {
                return Err(value("a network", "clear the bits behind the prefix, as in 10.244.0.0/16"));
            }
            if networks.iter().any(|other| other.contains(&net) || net.contains(other)) {
                return Err(value("apart from the pod subnet", "choose networks that do not overlap"));
            }
            networks.push(net);
        }
        Ok(networks)
    }
}

fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_host(address: IpAddr) -> bool {
    let local = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    !local && address != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}
