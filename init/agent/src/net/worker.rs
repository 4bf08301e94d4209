//! One link, kept as its [`LinkSpec`] says: MTU, addresses, routes, a DHCP lease.
//!
//! Takes the spec and the link; gives [`LinkState`] to the shared table. Runs in a thread of its own until it is told
//! to stop or its link is gone. May touch: that link, its addresses and routes, sockets bound to it. Never decides when
//! to send what: [`nodeimg_init_core::dhcp::Client`] does.

use super::netlink::{Link, Netlink, NetlinkError};
use super::packet::Socket;
use super::table::{LinkState, Table};
use ipnet::{IpNet, Ipv4Net};
use nodeimg_init_core::dhcp::{Action, Client, Event, Lease, Now, wire};
use nodeimg_init_core::network::{LinkSpec, RouteSpec};
use rtnetlink::packet_route::route::RouteProtocol;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a worker looks whether it shall stop, and whether there is a carrier.
const TICK: Duration = Duration::from_millis(500);
/// While nothing works yet: a boot waits for this.
const QUICK: Duration = Duration::from_millis(50);
/// Routes of a lease lose against static ones.
const LEASE_METRIC: u32 = 1024;

pub(super) struct Worker {
    spec: LinkSpec,
    link: Link,
    netlink: Netlink,
    table: Arc<Table>,
    generation: u64,
    hostname: Option<String>,
    began: Instant,
    applied: Option<(Lease, Vec<RouteSpec>)>,
}

/// Runs a worker until it is stopped.
pub(super) fn run(table: Arc<Table>, generation: u64, spec: LinkSpec, link: Link, hostname: Option<String>) {
    let index = link.index;
    match Netlink::connect() {
        Ok(netlink) => work(table.clone(), netlink, generation, spec, link, hostname),
        Err(error) => table.update(generation, index, |state| state.error = Some(error.to_string())),
    }
    table.done(index);
}

fn work(
    table: Arc<Table>,
    netlink: Netlink,
    generation: u64,
    spec: LinkSpec,
    link: Link,
    hostname: Option<String>,
) {
    let began = Instant::now();
    let mut worker = Worker { spec, link, netlink, table, generation, hostname, began, applied: None };
    worker.prepare();
    while worker.goes_on() && !worker.look() {
        std::thread::sleep(QUICK);
    }
    if worker.spec.dhcp4 {
        worker.dhcp();
    } else {
        while worker.goes_on() {
            worker.look();
            std::thread::sleep(TICK);
        }
    }
    worker.take_back();
}

impl Worker {
    fn goes_on(&self) -> bool {
        self.table.generation() == self.generation && self.table.has(self.link.index)
    }

    fn say(&self, change: impl FnOnce(&mut LinkState)) {
        self.table.update(self.generation, self.link.index, change);
    }

    /// Notes the carrier; whether there is one.
    fn look(&self) -> bool {
        let carrier = self.netlink.carrier(self.link.index).unwrap_or(false);
        self.say(|state| state.carrier = carrier);
        carrier
    }

    fn prepare(&mut self) {
        let mut errors = Vec::new();
        let mut note =
            |result: Result<(), NetlinkError>| errors.extend(result.err().map(|error| error.to_string()));
        let index = self.link.index;
        if let Some(name) = self.spec.set_name.clone().filter(|name| *name != self.link.name) {
            note(self.netlink.down(index).and_then(|()| self.netlink.rename(index, &name)));
            self.link.name.clone_from(&name);
            self.say(|state| state.name = name);
        }
        if let Some(mtu) = self.spec.mtu {
            note(self.netlink.mtu(index, mtu));
        }
        note(self.netlink.up(index));
        for address in &self.spec.addresses {
            note(self.netlink.add_address(index, *address));
        }
        // Routes to gateways first: a default route may need one of them.
        let (direct, through): (Vec<_>, Vec<_>) =
            self.spec.routes.iter().partition(|route| route.via.is_none());
        for route in direct.into_iter().chain(through) {
            note(self.netlink.add_route(index, route, RouteProtocol::Static));
        }
        self.say(|state| {
            state.prepared = errors.is_empty();
            state.error = (!errors.is_empty()).then(|| errors.join("; "));
        });
    }

    /// Gives back what this worker set, for another configuration.
    fn take_back(&mut self) {
        self.deconfigure();
        let index = self.link.index;
        for route in &self.spec.routes {
            let _ = self.netlink.remove_route(index, route, RouteProtocol::Static);
        }
        for address in &self.spec.addresses {
            let _ = self.netlink.remove_address(index, *address);
        }
    }

    fn dhcp(&mut self) {
        let Some(mac) = self.link.mac else {
            return self.say(|state| state.error = Some("DHCP needs an Ethernet link".into()));
        };
        let mut client = Client::new(mac, self.hostname.clone());
        let mut wake = Duration::ZERO;
        let mut socket: Option<Socket> = None;
        let mut event = Some(Event::Start);
        let mut looked = Instant::now();
        while self.goes_on() {
            if let Some(event) = event.take() {
                for action in client.step(event, self.now()) {
                    self.act(action, &mut socket, &mut wake);
                }
            }
            if looked.elapsed() >= TICK {
                looked = Instant::now();
                self.look();
            }
            let left = wake.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                // Without a client that names a next time, this must not spin.
                wake = self.began.elapsed() + Duration::from_secs(1);
                event = Some(Event::Timer);
                continue;
            }
            event = self.listen(&mut socket, left.min(TICK)).map(|reply| Event::Received(Box::new(reply)));
        }
    }

    fn now(&self) -> Now {
        let random = std::hash::RandomState::new().build_hasher().finish();
        Now { monotonic: self.began.elapsed(), random: (random >> 16) as u32 }
    }

    fn listen(&self, socket: &mut Option<Socket>, patience: Duration) -> Option<wire::Reply> {
        let Some(open) = socket.as_ref() else {
            std::thread::sleep(patience);
            return None;
        };
        match open.receive(patience) {
            Ok(payload) => payload.as_deref().and_then(wire::parse),
            Err(error) => {
                // The link went down or away; another socket is opened with the next message.
                self.say(|state| state.error = Some(format!("DHCP: {error}")));
                *socket = None;
                std::thread::sleep(QUICK);
                None
            }
        }
    }

    fn act(&mut self, action: Action, socket: &mut Option<Socket>, wake: &mut Duration) {
        match action {
            Action::WakeAt(time) => *wake = time,
            Action::Send { request, to } => {
                if let Err(error) = self.send(&request, to, socket) {
                    *socket = None;
                    self.say(|state| state.error = Some(format!("DHCP: {error}")));
                }
            }
            Action::Configure(lease) => {
                *socket = None;
                let error = self.configure(lease.clone()).err().map(|error| error.to_string());
                self.say(|state| {
                    state.error = error;
                    state.lease = Some(lease);
                });
            }
            Action::Deconfigure => {
                *socket = None;
                self.deconfigure();
                self.say(|state| state.lease = None);
            }
        }
    }

    fn send(
        &self,
        request: &wire::Request,
        to: Option<std::net::Ipv4Addr>,
        socket: &mut Option<Socket>,
    ) -> std::io::Result<()> {
        let open = match (socket.take(), request.client_address) {
            (Some(open), _) => open,
            (None, Some(address)) => Socket::udp(&self.link.name, address)?,
            (None, None) => Socket::raw(self.link.index)?,
        };
        let payload = wire::encode(request).ok_or(std::io::ErrorKind::InvalidData)?;
        socket.insert(open).send(&payload, to)
    }

    fn configure(&mut self, lease: Lease) -> Result<(), NetlinkError> {
        let index = self.link.index;
        let address = net(&lease);
        if self.applied.as_ref().is_some_and(|(old, _)| net(old) != address) {
            self.deconfigure();
        }
        if let (None, Some(mtu)) = (self.spec.mtu, lease.mtu) {
            self.netlink.mtu(index, mtu.into())?;
        }
        if let Some(address) = address {
            self.netlink.add_address(index, address)?;
        }
        let mut routes = Vec::new();
        for route in &lease.routes {
            let via = route.via.map(IpAddr::V4);
            let covered = via.is_none_or(|via| address.is_some_and(|net| net.contains(&via)));
            let metric = Some(LEASE_METRIC + index);
            routes.push(RouteSpec { to: IpNet::V4(route.to), via, metric, on_link: !covered });
        }
        // Those without a gateway first: they may lead to the gateways of the others.
        routes.sort_by_key(|route| route.via.is_some());
        let old = self.applied.replace((lease, routes.clone()));
        for route in old.map(|(_, routes)| routes).unwrap_or_default() {
            if !routes.contains(&route) {
                self.netlink.remove_route(index, &route, RouteProtocol::Dhcp)?;
            }
        }
        for route in &routes {
            self.netlink.add_route(index, route, RouteProtocol::Dhcp)?;
        }
        Ok(())
    }

    fn deconfigure(&mut self) {
        let Some((lease, routes)) = self.applied.take() else { return };
        for route in &routes {
            let _ = self.netlink.remove_route(self.link.index, route, RouteProtocol::Dhcp);
        }
        if let Some(address) = net(&lease) {
            let _ = self.netlink.remove_address(self.link.index, address);
        }
    }
}

fn net(lease: &Lease) -> Option<IpNet> {
    Ipv4Net::new(lease.address, lease.prefix).ok().map(IpNet::V4)
}
