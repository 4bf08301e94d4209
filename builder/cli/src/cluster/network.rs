//! How a node gets its address: the words of `--network` and of `network` in cluster.toml.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// How a node gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeNetwork {
    /// DHCPv4 on every Ethernet link.
    Dhcp,
    /// The same address at every boot.
    Static {
        /// None: the address that the node has in the cluster.
        address: Option<IpAddr>,
        /// Length of the network's prefix, in bits.
        prefix: u8,
        /// Default route.
        gateway: Option<IpAddr>,
        /// DNS servers.
        dns: Vec<IpAddr>,
    },
}

const WANTED: &str = "give dhcp, or static:[ADDRESS]/PREFIX[,GATEWAY[,DNS…]]";

impl FromStr for NodeNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "dhcp" {
            return Ok(Self::Dhcp);
        }
        let mut parts = text.strip_prefix("static:").ok_or(WANTED)?.split(',');
        let first = parts.next().unwrap_or_default();
        let parse = |part: &str| {
            part.parse::<IpAddr>().map_err(|_| format!("\"{part}\" is not an IP address; {WANTED}"))
        };
        let (address, prefix) = first
            .split_once('/')
            .ok_or_else(|| format!("\"{first}\" has no address and prefix length; {WANTED}"))?;
        let address = Some(address).filter(|a| !a.is_empty()).map(parse).transpose()?;
        let bits = if address.is_some_and(|a| a.is_ipv4()) { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|p| (1..=bits).contains(p));
        let prefix =
            prefix.ok_or_else(|| format!("\"{first}\" has no address and prefix length; {WANTED}"))?;
        let gateway = parts.next().filter(|part| !part.is_empty()).map(parse).transpose()?;
        let dns = parts.map(parse).collect::<Result<_, _>>()?;
        Ok(Self::Static { address, prefix, gateway, dns })
    }
}

impl fmt::Display for NodeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Static { address, prefix, gateway, dns } = self else { return f.write_str("dhcp") };
        f.write_str("static:")?;
        if let Some(address) = address {
            write!(f, "{address}")?;
        }
        write!(f, "/{prefix}")?;
        if gateway.is_some() || !dns.is_empty() {
            f.write_str(",")?;
        }
        if let Some(gateway) = gateway {
            write!(f, "{gateway}")?;
        }
        dns.iter().try_for_each(|server| write!(f, ",{server}"))
    }
}

impl NodeNetwork {
    /// cloud-init's version 2, for a node with this address. Debian names every Ethernet link with an `e`.
    pub fn document(&self, own: Option<IpAddr>) -> String {
        let head = "version: 2\nethernets:\n  uplink:\n    match:\n      name: \"e*\"\n";
        let Self::Static { address, prefix, gateway, dns } = self else {
            return format!("{head}    dhcp4: true\n");
        };
        let mut text = head.to_owned();
        if let Some(address) = address.or(own) {
            text.push_str(&format!("    addresses:\n    - \"{address}/{prefix}\"\n"));
        }
        if let Some(gateway) = gateway {
            text.push_str(&format!("    routes:\n    - to: default\n      via: \"{gateway}\"\n"));
        }
        if !dns.is_empty() {
            text.push_str("    nameservers:\n      addresses:\n");
            text.extend(dns.iter().map(|server| format!("      - \"{server}\"\n")));
        }
        text
    }

    /// Whether the gateway lies in the network of a node with this address.
    pub fn reaches_gateway(&self, own: IpAddr) -> bool {
        match self {
            Self::Static { prefix, gateway: Some(gateway), .. } => {
                IpNet::new(own, *prefix).is_ok_and(|net| net.contains(gateway))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_there_and_back() {
        for good in [
            "dhcp",
            "static:192.0.2.11/24",
            "static:/24,192.0.2.1",
            "static:192.0.2.11/24,192.0.2.1,192.0.2.53",
            "static:/64,,2001:db8::53",
        ] {
            assert_eq!(good.parse::<NodeNetwork>().expect(good).to_string(), good);
        }
        for bad in
            ["static", "static:", "static:192.0.2.11", "static:192.0.2.11/24,x", "slaac", "static:1.2.3.4/33"]
        {
            assert!(bad.parse::<NodeNetwork>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,60}") {
            let _ = text.parse::<NodeNetwork>();
            let _ = format!("static:{text}").parse::<NodeNetwork>();
        }
    }
}
