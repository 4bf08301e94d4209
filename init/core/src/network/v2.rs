//! Version 2: netplan's `ethernets`.

use super::{DnsSpec, LinkMatch, LinkSpec, Mac, NetworkError, NetworkSpec, RouteSpec, link_name};
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

type Ignored = BTreeMap<String, serde::de::IgnoredAny>;

#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    ethernets: BTreeMap<String, Ethernet>,
    #[serde(flatten)]
    other: Ignored,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ethernet {
    #[serde(default, rename = "match")]
    matches: Option<Match>,
    set_name: Option<String>,
    #[serde(default)]
    dhcp4: bool,
    #[serde(default)]
    dhcp6: bool,
    #[serde(default)]
    addresses: Vec<String>,
    gateway4: Option<String>,
    gateway6: Option<String>,
    #[serde(default)]
    nameservers: Nameservers,
    mtu: Option<u32>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    optional: bool,
    #[serde(flatten)]
    other: Ignored,
}

#[derive(Deserialize)]
struct Match {
    macaddress: Option<String>,
    name: Option<String>,
    #[serde(flatten)]
    other: Ignored,
}

#[derive(Deserialize, Default)]
struct Nameservers {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    search: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Route {
    to: String,
    via: Option<String>,
    metric: Option<u32>,
    #[serde(default)]
    on_link: bool,
    #[serde(flatten)]
    other: Ignored,
}

/// Sections of a netplan document that ask for links which nodeimg cannot make.
const NOT_YET: [(&str, &str); 9] = [
    ("bonds", "a bond"),
    ("bridges", "a bridge"),
    ("vlans", "a VLAN"),
    ("wifis", "a wireless link"),
    ("modems", "a modem"),
    ("tunnels", "a tunnel"),
    ("vrfs", "a VRF"),
    ("dummy-devices", "a dummy link"),
    ("virtual-ethernets", "a veth pair"),
];
/// Keys of an Ethernet that change what its network is, and that nodeimg does not do.
const LINK_NOT_YET: [(&str, &str); 4] = [
    ("auth", "802.1X"),
    ("macaddress", "another hardware address"),
    ("virtual-function-count", "SR-IOV"),
    ("routing-policy", "a routing policy"),
];
/// Keys that change nothing here and are not worth a word.
const SILENT: [&str; 5] = ["version", "renderer", "critical", "dhcp-identifier", "accept-ra"];

pub(super) fn spec(document: Document) -> Result<NetworkSpec, NetworkError> {
    let mut warnings = Vec::new();
    for key in document.other.keys() {
        if let Some((_, what)) = NOT_YET.iter().find(|(section, _)| section == key) {
            return Err(NetworkError::NotYet { what: (*what).into(), name: key.clone() });
        }
        if !SILENT.contains(&key.as_str()) {
            warnings.push(format!("network-config: \"{key}\" is not acted on"));
        }
    }
    let links = document
        .ethernets
        .into_iter()
        .map(|(id, ethernet)| link(id, ethernet, &mut warnings))
        .collect::<Result<_, _>>()?;
    Ok(NetworkSpec { links, dns: DnsSpec::default(), warnings })
}

fn link(id: String, ethernet: Ethernet, warnings: &mut Vec<String>) -> Result<LinkSpec, NetworkError> {
    if ethernet.dhcp6 {
        return Err(NetworkError::NotYet { what: "DHCPv6".into(), name: id });
    }
    for key in ethernet.other.keys() {
        if let Some((_, what)) = LINK_NOT_YET.iter().find(|(name, _)| name == key) {
            return Err(NetworkError::NotYet { what: (*what).into(), name: id });
        }
        if !SILENT.contains(&key.as_str()) {
            warnings.push(format!("network-config: \"{key}\" of \"{id}\" is not acted on"));
        }
    }
    let mut routes = Vec::new();
    for (gateway, to) in [(&ethernet.gateway4, "0.0.0.0/0"), (&ethernet.gateway6, "::/0")] {
        if let Some(gateway) = gateway {
            let via = value(&id, gateway, "an IP address")?;
            routes.push(RouteSpec {
                to: value(&id, to, "a network")?,
                via: Some(via),
                metric: None,
                on_link: false,
            });
        }
    }
    for entry in ethernet.routes {
        routes.push(route(&id, entry)?);
    }
    let servers = ethernet.nameservers.addresses;
    Ok(LinkSpec {
        matches: matches(&id, ethernet.matches)?,
        set_name: ethernet.set_name,
        mtu: ethernet.mtu,
        dhcp4: ethernet.dhcp4,
        addresses: ethernet
            .addresses
            .iter()
            .map(|text| value(&id, text, "an address with a prefix length, like 192.0.2.11/24"))
            .collect::<Result<_, _>>()?,
        routes,
        dns: DnsSpec {
            servers: servers.iter().map(|s| value(&id, s, "an IP address")).collect::<Result<_, _>>()?,
            search: ethernet.nameservers.search,
        },
        optional: ethernet.optional,
        id,
    })
}

fn matches(id: &str, asked: Option<Match>) -> Result<LinkMatch, NetworkError> {
    let Some(asked) = asked else {
        if !link_name(id) {
            let wanted = "a link's name (give `match` with a macaddress or a name)";
            return Err(NetworkError::Value { link: id.into(), value: id.into(), wanted });
        }
        return Ok(LinkMatch::Link { name: Some(id.into()), mac: None });
    };
    if let Some(key) = asked.other.keys().next() {
        return Err(NetworkError::NotYet { what: format!("a match by {key}"), name: id.into() });
    }
    let mac = match asked.macaddress {
        Some(text) => Some(value::<Mac>(id, &text, "a hardware address (six pairs of hexadecimal digits)")?),
        None => None,
    };
    match (asked.name, mac) {
        (None, None) => Ok(LinkMatch::EveryEthernet),
        (name, mac) => Ok(LinkMatch::Link { name, mac }),
    }
}

fn route(id: &str, entry: Route) -> Result<RouteSpec, NetworkError> {
    if let Some(key) = entry.other.keys().next() {
        return Err(NetworkError::NotYet { what: format!("a route with {key}"), name: id.into() });
    }
    let via: Option<IpAddr> = match &entry.via {
        Some(text) => Some(value(id, text, "an IP address")?),
        None => None,
    };
    let to = match (entry.to.as_str(), via) {
        ("default", Some(IpAddr::V6(_))) => "::/0",
        ("default", _) => "0.0.0.0/0",
        (network, _) => network,
    };
    Ok(RouteSpec { to: network(id, to)?, via, metric: entry.metric, on_link: entry.on_link })
}

/// A network, or an address that stands for itself alone.
pub(super) fn network(id: &str, text: &str) -> Result<IpNet, NetworkError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => value::<IpNet>(id, text, "a network, like 198.51.100.0/24").map(|net| net.trunc()),
    }
}

/// Parses one value, or names it, its link and what was wanted.
pub(super) fn value<T: std::str::FromStr>(
    link: &str,
    text: &str,
    wanted: &'static str,
) -> Result<T, NetworkError> {
    text.trim().parse().map_err(|_| NetworkError::Value {
        link: link.into(),
        value: text.chars().take(80).collect(),
        wanted,
    })
}
