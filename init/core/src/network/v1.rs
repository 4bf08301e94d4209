//! Version 1: a list of `physical` links, `nameserver` and `route` entries.

use super::v2::{network, value};
use super::{DnsSpec, LinkMatch, LinkSpec, NetworkError, NetworkSpec, RouteSpec};
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Deserialize)]
pub(super) struct Document {
    config: Config,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Config {
    Entries(Vec<Entry>),
    Word(String),
}

/// Every key that an entry of any type may have: untagged enums would hide which entry is wrong.
#[derive(Deserialize)]
struct Entry {
    r#type: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    mac_address: Option<String>,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default)]
    subnets: Vec<Subnet>,
    #[serde(default)]
    address: Option<OneOrMany>,
    #[serde(default)]
    search: Option<OneOrMany>,
    #[serde(default)]
    destination: Option<String>,
    #[serde(default)]
    netmask: Option<String>,
    #[serde(default)]
    gateway: Option<String>,
    #[serde(default)]
    metric: Option<u32>,
    #[serde(flatten)]
    other: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Subnet {
    r#type: String,
    address: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
    #[serde(default)]
    dns_nameservers: Option<OneOrMany>,
    #[serde(default)]
    dns_search: Option<OneOrMany>,
    #[serde(default)]
    routes: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    #[serde(alias = "destination")]
    network: String,
    netmask: Option<String>,
    gateway: Option<String>,
    metric: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(this: Option<Self>) -> Vec<String> {
        match this {
            None => Vec::new(),
            Some(OneOrMany::One(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(OneOrMany::Many(list)) => list,
        }
    }
}

pub(super) fn spec(document: Document) -> Result<NetworkSpec, NetworkError> {
    let entries = match document.config {
        Config::Entries(entries) => entries,
        Config::Word(word) if word == "disabled" => {
            return Err(NetworkError::NotYet { what: "a node without network".into(), name: word });
        }
        Config::Word(value) => {
            return Err(NetworkError::Value { link: "config".into(), value, wanted: "a list of entries" });
        }
    };
    let mut spec = NetworkSpec { links: Vec::new(), dns: DnsSpec::default(), warnings: Vec::new() };
    let mut routes = Vec::new();
    for entry in entries {
        match entry.r#type.as_str() {
            "physical" => {
                let link = physical(entry, &mut spec.warnings)?;
                spec.links.push(link);
            }
            "nameserver" => {
                let servers = OneOrMany::list(entry.address);
                spec.dns.take(DnsSpec {
                    servers: servers
                        .iter()
                        .map(|s| value("nameserver", s, "an IP address"))
                        .collect::<Result<_, _>>()?,
                    search: OneOrMany::list(entry.search),
                });
            }
            "route" => {
                let to = entry.destination.unwrap_or_default();
                routes.push(route("route", &to, entry.netmask, entry.gateway, entry.metric)?);
            }
            "loopback" => {}
            other => {
                let (what, name) = (format!("a link of type {other}"), entry.name.unwrap_or_default());
                return Err(NetworkError::NotYet { what, name });
            }
        }
    }
    // A route that stands alone goes to the link whose addresses cover its gateway.
    for route in routes {
        let covers = |link: &&mut LinkSpec| {
            route.via.is_some_and(|via| link.addresses.iter().any(|address| address.contains(&via)))
        };
        match spec.links.iter_mut().find(covers) {
            Some(link) => link.routes.push(route),
            None => {
                let value = route.to.to_string();
                let wanted = "a route whose gateway lies in the network of a link";
                return Err(NetworkError::Value { link: "route".into(), value, wanted });
            }
        }
    }
    Ok(spec)
}

fn physical(entry: Entry, warnings: &mut Vec<String>) -> Result<LinkSpec, NetworkError> {
    let Some(id) = entry.name else {
        return Err(NetworkError::Form("network-config: a link of type physical has no name".into()));
    };
    for key in entry.other.keys().filter(|key| key.as_str() != "accept-ra") {
        warnings.push(format!("network-config: \"{key}\" of \"{id}\" is not acted on"));
    }
    let mac = match &entry.mac_address {
        Some(text) => Some(value(&id, text, "a hardware address (six pairs of hexadecimal digits)")?),
        None => None,
    };
    let mut link = LinkSpec {
        // With a hardware address, the name is what the link shall be called (cloud-init's rule).
        matches: LinkMatch::Link { name: mac.is_none().then(|| id.clone()), mac },
        set_name: mac.is_some().then(|| id.clone()),
        mtu: entry.mtu,
        dhcp4: false,
        addresses: Vec::new(),
        routes: Vec::new(),
        dns: DnsSpec::default(),
        optional: false,
        id,
    };
    for subnet in entry.subnets {
        match subnet.r#type.as_str() {
            "dhcp" | "dhcp4" => link.dhcp4 = true,
            "static" | "static6" => {}
            "manual" => link.optional = true,
            other => {
                let what = format!("a subnet of type {other}");
                return Err(NetworkError::NotYet { what, name: link.id });
            }
        }
        fixed(&mut link, subnet)?;
    }
    Ok(link)
}

/// The fixed part of a subnet; also beside DHCP, as in cloud-init.
fn fixed(link: &mut LinkSpec, subnet: Subnet) -> Result<(), NetworkError> {
    let id = link.id.clone();
    match subnet.address.as_deref() {
        Some(text) => link.addresses.push(address(&id, text, subnet.netmask.as_deref())?),
        None if subnet.r#type.starts_with("static") => {
            let wanted = "a static subnet with an address";
            return Err(NetworkError::Value { link: id, value: subnet.r#type, wanted });
        }
        None => {}
    }
    if let Some(gateway) = &subnet.gateway {
        let via: IpAddr = value(&id, gateway, "an IP address")?;
        let to = if via.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        link.routes.push(RouteSpec { to: network(&id, to)?, via: Some(via), metric: None, on_link: false });
    }
    for entry in subnet.routes {
        link.routes.push(route(&id, &entry.network, entry.netmask, entry.gateway, entry.metric)?);
    }
    let servers = OneOrMany::list(subnet.dns_nameservers);
    link.dns.take(DnsSpec {
        servers: servers.iter().map(|s| value(&id, s, "an IP address")).collect::<Result<_, _>>()?,
        search: OneOrMany::list(subnet.dns_search),
    });
    Ok(())
}

fn address(id: &str, text: &str, netmask: Option<&str>) -> Result<IpNet, NetworkError> {
    let wanted = "an address with a prefix length or a netmask";
    match (text.contains('/'), netmask) {
        (true, _) => value(id, text, wanted),
        (false, Some(mask)) => {
            let address: IpAddr = value(id, text, "an IP address")?;
            let bad = || NetworkError::Value { link: id.into(), value: mask.into(), wanted: "a netmask" };
            match mask.parse::<u8>() {
                Ok(prefix) => IpNet::new(address, prefix).map_err(|_| bad()),
                Err(_) => {
                    let mask: IpAddr = value(id, mask, "a netmask")?;
                    IpNet::with_netmask(address, mask).map_err(|_| bad())
                }
            }
        }
        (false, None) => Err(NetworkError::Value { link: id.into(), value: text.into(), wanted }),
    }
}

fn route(
    id: &str,
    to: &str,
    netmask: Option<String>,
    gateway: Option<String>,
    metric: Option<u32>,
) -> Result<RouteSpec, NetworkError> {
    let via = match &gateway {
        Some(text) => Some(value(id, text, "an IP address")?),
        None => None,
    };
    let to = match netmask {
        Some(_) => address(id, to, netmask.as_deref())?.trunc(),
        None => network(id, to)?,
    };
    Ok(RouteSpec { to, via, metric, on_link: false })
}
