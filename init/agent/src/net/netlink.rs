//! The kernel's links, addresses and routes, through rtnetlink.
//!
//! Takes what shall be; gives what is. Blocks the caller for one request at a time. May touch: links, addresses and
//! routes of the network namespace of the thread that made it. Never decides.

use crate::machine;
use futures_util::TryStreamExt;
use ipnet::IpNet;
use nodeimg_init_core::network::{Mac, RouteSpec};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// No request takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Links that are looked at.
const MAX_LINKS: usize = 1024;

/// A request that the kernel refused, or that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket, or no runtime for it.
    #[error("no netlink socket: {0}")]
    Socket(#[source] std::io::Error),
    /// Refused.
    #[error("{what}: {source}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// No answer.
    #[error("{0}: the kernel gave no answer")]
    Timeout(String),
}

/// One link as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Ethernet address.
    pub mac: Option<Mac>,
    /// Whether something is at the other end.
    pub carrier: bool,
    /// An Ethernet link that was not made by software (bridge, veth, VXLAN …).
    pub physical: bool,
}

/// A connection to the kernel.
pub struct Netlink {
    runtime: tokio::runtime::Runtime,
    handle: Handle,
}

impl Netlink {
    /// Connects, in this thread's network namespace.
    pub fn connect() -> Result<Self, NetlinkError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(NetlinkError::Socket)?;
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Socket)?;
            tokio::spawn(connection);
            Ok(handle)
        })?;
        Ok(Self { runtime, handle })
    }

    fn ask<T>(
        &self,
        what: impl Into<String>,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetlinkError> {
        let what = what.into();
        match self.runtime.block_on(async { tokio::time::timeout(PATIENCE, request).await }) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(NetlinkError::Refused { what, source }),
            Err(_) => Err(NetlinkError::Timeout(what)),
        }
    }

    /// Every link.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let list = async {
            let mut stream = std::pin::pin!(self.handle.link().get().execute());
            let mut links = Vec::new();
            while let Some(message) = stream.try_next().await? {
                if links.len() < MAX_LINKS {
                    links.extend(link(&message));
                }
            }
            Ok(links)
        };
        self.ask("list the links", list)
    }

    /// Whether something is at the other end of one link; a link that is gone has nothing there.
    pub fn carrier(&self, index: u32) -> Result<bool, NetlinkError> {
        let one = async {
            let mut stream = std::pin::pin!(self.handle.link().get().match_index(index).execute());
            let message = stream.try_next().await?;
            Ok(message.and_then(|message| link(&message)).is_some_and(|link| link.carrier))
        };
        self.ask(format!("look at link {index}"), one)
    }

    /// Brings a link up.
    pub fn up(&self, index: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.ask(format!("bring link {index} up"), self.handle.link().set(message).execute())
    }

    /// Takes a link down.
    pub fn down(&self, index: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).down().build();
        self.ask(format!("take link {index} down"), self.handle.link().set(message).execute())
    }

    /// Renames a link; it must be down.
    pub fn rename(&self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).name(name).build();
        self.ask(format!("rename link {index} to {name}"), self.handle.link().set(message).execute())
    }

    /// Sets the MTU in bytes.
    pub fn mtu(&self, index: u32, bytes: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).mtu(bytes).build();
        self.ask(format!("set MTU {bytes}"), self.handle.link().set(message).execute())
    }

    /// Adds an address; one that is there already is fine.
    pub fn add_address(&self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let request = self.handle.address().add(index, address.addr(), address.prefix_len()).replace();
        self.ask(format!("add address {address}"), request.execute())
    }

    /// Removes an address; one that is gone already is fine.
    pub fn remove_address(&self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let message = match address.addr() {
            IpAddr::V4(v4) => rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
                .index(index)
                .address(v4, address.prefix_len())
                .build(),
            IpAddr::V6(v6) => rtnetlink::AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(v6, address.prefix_len())
                .build(),
        };
        let gone = [libc::EADDRNOTAVAIL, libc::ENODEV];
        forgive(
            self.ask(format!("remove address {address}"), self.handle.address().del(message).execute()),
            &gone,
        )
    }

    /// Adds a route, or replaces the one with the same destination and metric.
    pub fn add_route(
        &self,
        index: u32,
        route: &RouteSpec,
        protocol: RouteProtocol,
    ) -> Result<(), NetlinkError> {
        let message = route_message(index, route, protocol);
        self.ask(format!("add route to {}", route.to), self.handle.route().add(message).replace().execute())
    }

    /// Removes a route; one that is gone already is fine.
    pub fn remove_route(
        &self,
        index: u32,
        route: &RouteSpec,
        protocol: RouteProtocol,
    ) -> Result<(), NetlinkError> {
        let message = route_message(index, route, protocol);
        let gone = [libc::ESRCH, libc::ENODEV];
        forgive(
            self.ask(format!("remove route to {}", route.to), self.handle.route().del(message).execute()),
            &gone,
        )
    }
}

fn forgive(answer: Result<(), NetlinkError>, fine: &[i32]) -> Result<(), NetlinkError> {
    match answer {
        Err(NetlinkError::Refused { source: rtnetlink::Error::NetlinkError(error), .. })
            if fine.contains(&-error.raw_code()) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn route_message(index: u32, route: &RouteSpec, protocol: RouteProtocol) -> RouteMessage {
    let scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    let mut message = match (route.to, route.via) {
        (IpNet::V4(to), via) => {
            let mut builder =
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.network(), to.prefix_len());
            if let Some(IpAddr::V4(via)) = via {
                builder = builder.gateway(via);
            }
            builder.scope(scope).output_interface(index).protocol(protocol).build()
        }
        (IpNet::V6(to), via) => {
            let mut builder =
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to.network(), to.prefix_len());
            if let Some(IpAddr::V6(via)) = via {
                builder = builder.gateway(via);
            }
            builder.output_interface(index).protocol(protocol).build()
        }
    };
    if let Some(metric) = route.metric {
        message.attributes.push(rtnetlink::packet_route::route::RouteAttribute::Priority(metric));
    }
    if route.on_link {
        message.header.flags |= rtnetlink::packet_route::route::RouteFlags::Onlink;
    }
    message
}

fn link(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut mac, mut kind) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
            LinkAttribute::LinkInfo(infos) => kind = infos.iter().find_map(info_kind),
            _ => {}
        }
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let name = name?;
    // In a namespace every link is made by software: the lab says which ones stand for hardware.
    let hardware = match machine::namespace() {
        Some(namespace) => namespace.links.contains(&name),
        None => kind.is_none(),
    };
    Some(Link {
        index: message.header.index,
        name,
        mac: mac.filter(|_| ethernet),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        physical: ethernet && hardware,
    })
}

fn info_kind(info: &LinkInfo) -> Option<InfoKind> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.clone()),
        _ => None,
    }
}
