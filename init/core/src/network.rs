//! What a node's network shall be: cloud-init's network-config (versions 1 and 2, a subset) into one [`NetworkSpec`].
//!
//! Takes the text of a network-config document, gives typed links with addresses, routes and DNS servers. Pure. What a
//! document asks for and nodeimg cannot do yet (bonds, VLANs, bridges, DHCPv6 …) is refused by name, never skipped;
//! keys that do not change what the node's network is become warnings.
//!
//! Formats: cloud-init's "Networking Config Version 1" and "Version 2" (netplan's `ethernets`).

mod glob;
mod v1;
mod v2;

use glob::glob;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Bytes of a network-config document that are read; more is refused.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// Links that one document may name.
pub const MAX_LINKS: usize = 64;
/// Addresses, routes or DNS servers that one link may have.
pub const MAX_PER_LINK: usize = 256;

/// The network that was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Links, in the document's order.
    pub links: Vec<LinkSpec>,
    /// DNS servers and search domains that belong to no link.
    pub dns: DnsSpec,
    /// What the document says and nodeimg does not act on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One link and what it shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkSpec {
    /// The document's own word for it (for messages).
    pub id: String,
    /// Which links of the machine it is about.
    pub matches: LinkMatch,
    /// The name that the link shall get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_name: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether a DHCPv4 lease is asked for.
    pub dhcp4: bool,
    /// Static addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// Static routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
    /// DNS of this link.
    #[serde(default)]
    pub dns: DnsSpec,
    /// Whether the boot goes on without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Which links are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LinkMatch {
    /// Every Ethernet link with hardware behind it; the first that works is enough.
    EveryEthernet,
    /// By name (`*`, `?` and `[…]` as in a shell) and hardware address; what is given must fit.
    Link {
        /// Name pattern.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Hardware address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<Mac>,
    },
}

impl LinkMatch {
    /// Whether a link of this name and hardware address is meant.
    pub fn fits(&self, link_name: &str, link_mac: Option<Mac>) -> bool {
        match self {
            LinkMatch::EveryEthernet => true,
            LinkMatch::Link { name, mac } => {
                name.as_ref().is_none_or(|pattern| glob(pattern.as_bytes(), link_name.as_bytes()))
                    && mac.is_none_or(|mac| link_mac == Some(mac))
            }
        }
    }
}

impl fmt::Display for LinkMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkMatch::EveryEthernet => f.write_str("any Ethernet link"),
            LinkMatch::Link { name: Some(name), mac: None } => f.write_str(name),
            LinkMatch::Link { name: None, mac: Some(mac) } => write!(f, "{mac}"),
            LinkMatch::Link { name: Some(name), mac: Some(mac) } => write!(f, "{name} ({mac})"),
            LinkMatch::Link { name: None, mac: None } => f.write_str("no link"),
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// Where to.
    pub to: IpNet,
    /// Through whom; without: directly on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The gateway is reached on the link even if no address of the link covers it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_link: bool,
}

/// DNS servers and search domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsSpec {
    /// Servers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Search domains, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

impl DnsSpec {
    fn take(&mut self, other: DnsSpec) {
        self.servers.extend(other.servers);
        self.search.extend(other.search);
    }
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// A text that is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a hardware address (six pairs of hexadecimal digits, like 52:54:00:12:34:56)")]
pub struct BadMac(String);

impl FromStr for Mac {
    type Err = BadMac;
    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.chars().take(40).collect());
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(bad)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        match parts.next() {
            None => Ok(Mac(bytes)),
            Some(_) => Err(bad()),
        }
    }
}
impl TryFrom<String> for Mac {
    type Error = BadMac;
    fn try_from(text: String) -> Result<Self, BadMac> {
        text.parse()
    }
}
impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

/// A network-config that is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Larger than [`MAX_DOCUMENT`].
    #[error("network-config has {0} bytes; at most {MAX_DOCUMENT} are read")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("network-config is not UTF-8 text")]
    NotText,
    /// Not YAML, or not of the form that its version has. The text names line and column.
    #[error("{0}")]
    Form(String),
    /// Another version.
    #[error("network-config has version {0}; nodeimg reads 1 and 2")]
    Version(u64),
    /// Sensible, and not built yet.
    #[error("network-config asks for {what} (\"{name}\"), which nodeimg cannot do yet")]
    NotYet {
        /// The kind of thing.
        what: String,
        /// Which.
        name: String,
    },
    /// A value that makes no sense.
    #[error("network-config: \"{value}\" of \"{link}\" is not {wanted}")]
    Value {
        /// The link, or the place.
        link: String,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
    /// Too many of something.
    #[error("network-config has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
}

impl Default for NetworkSpec {
    /// DHCPv4 on every Ethernet link: what holds without a network-config.
    fn default() -> Self {
        let any = LinkSpec {
            id: "default".into(),
            matches: LinkMatch::EveryEthernet,
            set_name: None,
            mtu: None,
            dhcp4: true,
            addresses: Vec::new(),
            routes: Vec::new(),
            dns: DnsSpec::default(),
            optional: false,
        };
        Self { links: vec![any], dns: DnsSpec::default(), warnings: Vec::new() }
    }
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: Option<u64>,
    /// cloud-init accepts the document below this key too.
    #[serde(default)]
    network: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Below<T> {
    network: T,
}

/// Parses a network-config document. An empty one means [`NetworkSpec::default`].
pub fn parse(document: &[u8]) -> Result<NetworkSpec, NetworkError> {
    if document.len() > MAX_DOCUMENT {
        return Err(NetworkError::TooLarge(document.len()));
    }
    let text = std::str::from_utf8(document).map_err(|_| NetworkError::NotText)?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(NetworkSpec::default());
    }
    let head: Version = yaml(text)?;
    let (version, below) = match (head.version, head.network) {
        (Some(version), _) => (version, false),
        (None, Some(Inner { version: Some(version) })) => (version, true),
        _ => return Err(NetworkError::Form("network-config has no version (nodeimg reads 1 and 2)".into())),
    };
    let mut spec = match (version, below) {
        (1, false) => v1::spec(yaml(text)?)?,
        (1, true) => v1::spec(yaml::<Below<_>>(text)?.network)?,
        (2, false) => v2::spec(yaml(text)?)?,
        (2, true) => v2::spec(yaml::<Below<_>>(text)?.network)?,
        (other, _) => return Err(NetworkError::Version(other)),
    };
    check(&mut spec)?;
    Ok(spec)
}

fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, NetworkError> {
    crate::seed::yaml("network-config", text).map_err(|error| NetworkError::Form(error.to_string()))
}

fn check(spec: &mut NetworkSpec) -> Result<(), NetworkError> {
    let many = |what, limit| Err(NetworkError::TooMany { what, limit });
    if spec.links.len() > MAX_LINKS {
        return many("links", MAX_LINKS);
    }
    spec.warnings.truncate(MAX_PER_LINK);
    let name = |link: &str, value: &String| match link_name(value) {
        true => Ok(()),
        false => Err(NetworkError::Value {
            link: link.to_owned(),
            value: value.clone(),
            wanted: "a link's name (1 to 15 characters, no slash or space)",
        }),
    };
    for link in &spec.links {
        if link.addresses.len() > MAX_PER_LINK || link.routes.len() > MAX_PER_LINK {
            return many("addresses or routes on one link", MAX_PER_LINK);
        }
        if let Some(wanted) = &link.set_name {
            name(&link.id, wanted)?;
        }
        if let Some(mtu) = link.mtu.filter(|mtu| !(576..=65535).contains(mtu)) {
            let value = mtu.to_string();
            return Err(NetworkError::Value {
                link: link.id.clone(),
                value,
                wanted: "an MTU (576 to 65535)",
            });
        }
        for route in &link.routes {
            if route.via.is_some_and(|via| via.is_ipv4() != route.to.addr().is_ipv4()) {
                return Err(NetworkError::Value {
                    link: link.id.clone(),
                    value: route.to.to_string(),
                    wanted: "a route of its gateway's address family",
                });
            }
        }
    }
    if spec.dns.servers.len() > MAX_PER_LINK || spec.dns.search.len() > MAX_PER_LINK {
        return many("DNS servers or search domains", MAX_PER_LINK);
    }
    Ok(())
}

fn link_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_graphic() && c != b'/' && c != b':')
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests;
