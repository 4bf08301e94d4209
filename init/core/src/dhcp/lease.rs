//! What a server gives, checked: an address that a host can have, and facts beside it.

use super::wire::Reply;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Servers, routes and domains that are taken from one lease, of each.
const MAX_FACTS: usize = 32;
/// A shorter lease is treated as this long, so that a broken server makes no storm of renewals.
const SHORTEST: Duration = Duration::from_secs(60);

/// A route of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: Ipv4Net,
    /// Through whom; `None`: directly on the link (RFC 3442, router 0.0.0.0).
    pub via: Option<Ipv4Addr>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Its prefix length (option 1; else by the address's class).
    pub prefix: u8,
    /// Who gave it (option 54).
    pub server: Ipv4Addr,
    /// Option 121, else a default route for each of option 3.
    pub routes: Vec<Route>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Options 119 and 15.
    pub search: Vec<String>,
    /// Option 42.
    pub ntp: Vec<Ipv4Addr>,
    /// Option 12.
    pub hostname: Option<String>,
    /// Option 26, bytes.
    pub mtu: Option<u16>,
    seconds: u32,
    renew: Option<u32>,
    rebind: Option<u32>,
}

impl Lease {
    /// A lease if the reply has what one needs and an address that a host can have.
    pub(super) fn from_reply(reply: &Reply) -> Option<Self> {
        let address = Some(reply.your_address).filter(|a| is_host(*a))?;
        let server = reply.server.filter(|s| is_host(*s))?;
        let prefix = match reply.netmask {
            Some(mask) => ipnet::ipv4_mask_to_prefix(mask).ok().filter(|prefix| (1..=32).contains(prefix))?,
            None => class_prefix(address),
        };
        let gateways = reply.routers.iter().filter(|router| is_host(**router));
        let routes: Vec<Route> = match &reply.classless_routes {
            Some(routes) => routes
                .iter()
                .filter(|(_, via)| via.is_unspecified() || is_host(*via))
                .map(|(to, via)| Route { to: to.trunc(), via: (!via.is_unspecified()).then_some(*via) })
                .take(MAX_FACTS)
                .collect(),
            None => gateways.take(1).map(|via| Route { to: Ipv4Net::default(), via: Some(*via) }).collect(),
        };
        let hosts =
            |list: &[Ipv4Addr]| list.iter().copied().filter(|a| is_host(*a)).take(MAX_FACTS).collect();
        let mut search: Vec<String> = reply.search.iter().take(MAX_FACTS).cloned().collect();
        search.extend(reply.domain.clone());
        Some(Self {
            address,
            prefix,
            server,
            routes,
            dns: hosts(&reply.dns),
            search,
            ntp: hosts(&reply.ntp),
            hostname: reply.hostname.clone(),
            mtu: reply.mtu.filter(|mtu| *mtu >= 576),
            seconds: reply.lease_seconds?,
            renew: reply.renew_seconds,
            rebind: reply.rebind_seconds,
        })
    }

    /// How long it holds; `None`: for ever.
    pub fn length(&self) -> Option<Duration> {
        match self.seconds {
            u32::MAX => None,
            seconds => Some(Duration::from_secs(seconds.into()).max(SHORTEST)),
        }
    }

    /// T1, before T2: option 58, else half.
    pub(super) fn renew(&self) -> Option<Duration> {
        let (length, rebind) = (self.length()?, self.rebind()?);
        let said = self.renew.map(|s| Duration::from_secs(s.into())).filter(|t| !t.is_zero() && *t < rebind);
        Some(said.unwrap_or(length / 2).min(rebind))
    }

    /// T2, before the end: option 59, else seven eighths.
    pub(super) fn rebind(&self) -> Option<Duration> {
        let length = self.length()?;
        let said = self.rebind.map(|s| Duration::from_secs(s.into())).filter(|t| !t.is_zero() && *t < length);
        Some(said.unwrap_or(length * 7 / 8))
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224 && !address.is_loopback()
}

fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}
