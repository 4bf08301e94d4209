//! The node's network: links, addresses, routes, DHCP leases and the files that tell of them.
//!
//! Takes a [`NetworkSpec`]; keeps the links that way until another comes: links that appear later are configured too,
//! leases are renewed. Gives [`NetworkFacts`]. May touch: links, addresses, routes, `/run/nodeimg/etc`, the kernel's
//! host name. Waits are named and raise NI-NET-001, -002 or -003 at their deadline; they recover by themselves.

pub mod files;
pub mod netlink;
mod packet;
pub mod resolve;
pub mod table;
mod worker;

use crate::report::{Reporter, WaitGuard};
use files::EtcFiles;
use netlink::Netlink;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::status::milestone;
use nodeimg_init_core::network::{LinkMatch, LinkSpec, NetworkSpec};
use nodeimg_init_core::node_config::{NetworkFacts, Source, Sourced};
use nodeimg_init_core::resolv::Dns;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use table::{Missing, Table};

/// Deadline of the wait for a link.
const LINK_DEADLINE: Duration = Duration::from_secs(20);
/// Deadline of the wait for a lease.
const DHCP_DEADLINE: Duration = Duration::from_secs(30);
/// How often the machine's links are looked at while the node is not online, and after.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_SELDOM: Duration = Duration::from_secs(3);

/// The network, kept by threads of its own. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    table: Arc<Table>,
    reporter: Reporter,
    files: EtcFiles,
    hostname: Arc<Mutex<Option<String>>>,
}

impl Network {
    /// Brings the loopback link up and begins to look after what [`Network::apply`] will ask for.
    pub fn start(reporter: Reporter, files: EtcFiles) -> Result<Self, Fault> {
        let network =
            Self { table: Arc::new(Table::default()), reporter, files, hostname: Arc::new(Mutex::new(None)) };
        let netlink = Netlink::connect().map_err(refused)?;
        if let Some(lo) = netlink.links().map_err(refused)?.iter().find(|link| link.name == "lo") {
            netlink.up(lo.index).map_err(refused)?;
        }
        // Nothing is asked for yet: an empty spec, not the default one.
        network.table.begin(NetworkSpec { links: Vec::new(), ..NetworkSpec::default() });
        network.write_dns();
        let supervised = network.clone();
        std::thread::Builder::new()
            .name("net".into())
            .spawn(move || supervised.supervise(&netlink))
            .map_err(refused)?;
        Ok(network)
    }

    /// Replaces the configuration. Returns at once; [`Network::wait_online`] waits.
    pub fn apply(&self, spec: NetworkSpec) {
        for warning in &spec.warnings {
            self.reporter.warn(warning.clone());
        }
        self.table.begin(spec);
    }

    /// Waits until every link that is not optional works. `give_up` is asked all the while; when it says yes, `false`
    /// is returned and the threads go on.
    pub fn wait_online(&self, mut give_up: impl FnMut() -> bool) -> bool {
        loop {
            let seen = self.table.changes();
            if self.table.missing().is_none() {
                self.write_dns();
                self.reporter.milestone(milestone::NETWORK);
                return true;
            }
            if give_up() {
                return false;
            }
            self.table.wait(seen, Duration::from_millis(200));
        }
    }

    /// What the network taught. Networks are those of this moment's addresses.
    pub fn facts(&self) -> NetworkFacts {
        let (spec, links) = self.table.snapshot();
        let mut facts = NetworkFacts::default();
        for entry in &spec.links {
            facts.networks.extend(entry.addresses.iter().map(ipnet::IpNet::trunc));
            facts.dns_servers.extend(entry.dns.servers.iter().map(|server| seeded(*server)));
        }
        facts.dns_servers.extend(spec.dns.servers.iter().map(|server| seeded(*server)));
        let leases = || links.values().filter_map(|state| state.lease.as_ref());
        for lease in leases() {
            if let Ok(net) = ipnet::Ipv4Net::new(lease.address, lease.prefix) {
                facts.networks.push(net.trunc().into());
            }
            facts.ntp_servers.extend(lease.ntp.iter().copied().map(IpAddr::V4));
            facts.host_name = facts.host_name.or_else(|| lease.hostname.clone());
        }
        // DHCP fills only what the seed leaves empty.
        if facts.dns_servers.is_empty() {
            let servers = leases().flat_map(|lease| lease.dns.iter());
            facts.dns_servers =
                servers.map(|server| Sourced { value: IpAddr::V4(*server), source: Source::Dhcp }).collect();
        }
        facts
    }

    /// DNS as the node has it now.
    pub fn dns(&self) -> Dns {
        let (spec, links) = self.table.snapshot();
        let servers = self.facts().dns_servers.into_iter().map(|server| server.value);
        let mut search: Vec<String> =
            spec.links.iter().flat_map(|link| &link.dns.search).chain(&spec.dns.search).cloned().collect();
        if search.is_empty() {
            search = links
                .values()
                .filter_map(|state| state.lease.as_ref())
                .flat_map(|l| l.search.clone())
                .collect();
        }
        Dns::new(servers, search)
    }

    /// Sets the host name: kernel, `/etc/hostname`, and what DHCP servers are told from the next [`Network::apply`] on.
    pub fn set_hostname(&self, name: &str) -> Result<(), Fault> {
        *self.hostname.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
        files::set_kernel_hostname(name).map_err(refused)?;
        self.files.hostname(name).map_err(refused)
    }

    /// Writes `/etc/hosts` (NodeConfig renders the text).
    pub fn set_hosts(&self, text: &str) -> Result<(), Fault> {
        self.files.hosts(text).map_err(refused)
    }

    /// Resolves a name by `/etc/hosts` and this moment's DNS servers.
    pub fn resolve(&self, name: &str, patience: Duration) -> Result<Vec<IpAddr>, resolve::ResolveError> {
        resolve::resolve(name, self.dns().servers(), &self.files.hosts_path(), patience)
    }

    fn write_dns(&self) {
        if let Err(error) = self.files.dns(&self.dns()) {
            self.reporter.fault(refused(error));
        }
    }

    fn supervise(&self, netlink: &Netlink) {
        let mut guard: Option<(Missing, WaitGuard)> = None;
        let mut said: Vec<String> = Vec::new();
        loop {
            let seen = self.table.changes();
            self.look(netlink);
            let missing = self.table.missing();
            match (&missing, &guard) {
                (None, _) => guard = None,
                (Some(now), Some((before, _))) if same_wait(now, before) => {
                    if let Some((_, guard)) = &guard {
                        guard.cause(fault_of(now).cause);
                    }
                }
                (Some(now), _) => {
                    // The old wait ends before the new one begins: one line of the status for one thing.
                    drop(guard.take());
                    guard = Some((now.clone(), self.guard(now)));
                }
            }
            self.tell(&mut said);
            self.write_dns();
            self.table.wait(seen, if missing.is_some() { LOOK } else { LOOK_SELDOM });
        }
    }

    /// Starts a worker for every link that the configuration means and that has none.
    fn look(&self, netlink: &Netlink) {
        let generation = self.table.generation();
        let (spec, known) = self.table.snapshot();
        let Ok(links) = netlink.links() else { return };
        self.table.keep(|index| links.iter().any(|link| link.index == index));
        for link in links {
            if known.contains_key(&link.index) || link.name == "lo" {
                continue;
            }
            let means = |entry: &LinkSpec| match &entry.matches {
                LinkMatch::EveryEthernet => link.physical,
                // A pattern means hardware: pods bring links of their own, and their names fit patterns too.
                LinkMatch::Link { name: Some(name), .. } if name.contains(['*', '?', '[']) => {
                    link.physical && entry.matches.fits(&link.name, link.mac)
                }
                LinkMatch::Link { name: None, .. } => {
                    link.physical && entry.matches.fits(&link.name, link.mac)
                }
                LinkMatch::Link { .. } => entry.matches.fits(&link.name, link.mac),
            };
            let Some((entry, wanted)) = spec.links.iter().enumerate().find(|(_, entry)| means(entry)) else {
                continue;
            };
            // One address is for one link, however many a pattern means.
            let taken = self.table.snapshot().1.values().any(|state| state.entry == entry);
            if taken && !wanted.addresses.is_empty() {
                continue;
            }
            if !self.table.add(generation, link.index, link.name.clone(), entry) {
                continue;
            }
            let (table, wanted) = (self.table.clone(), wanted.clone());
            let hostname = self.hostname.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (index, name) = (link.index, format!("net {}", link.name));
            let work = move || worker::run(table, generation, wanted, link, hostname);
            if let Err(error) = std::thread::Builder::new().name(name).spawn(work) {
                self.table.update(generation, index, |state| state.error = Some(error.to_string()));
                self.table.done(index);
            }
        }
    }

    fn guard(&self, missing: &Missing) -> WaitGuard {
        let (what, deadline) = match missing {
            Missing::NoLink(what) => (what.clone(), LINK_DEADLINE),
            Missing::NoCarrier(link) => (format!("link {link}"), LINK_DEADLINE),
            Missing::Refused(link, _) => (format!("link {link}"), Duration::ZERO),
            Missing::NoLease(link, _) => (format!("DHCP on {link}"), DHCP_DEADLINE),
        };
        self.reporter.waiting(what, deadline, fault_of(missing))
    }

    /// One line for every address that a lease brings.
    fn tell(&self, said: &mut Vec<String>) {
        let (_, links) = self.table.snapshot();
        let lines: Vec<String> = links
            .values()
            .filter_map(|state| state.lease.as_ref().map(|lease| (state, lease)))
            .map(|(state, lease)| {
                format!("{} has {}/{} by DHCP from {}", state.name, lease.address, lease.prefix, lease.server)
            })
            .collect();
        for line in lines.iter().filter(|line| !said.contains(line)) {
            self.reporter.line(line);
        }
        *said = lines;
    }
}

fn seeded(value: IpAddr) -> Sourced<IpAddr> {
    Sourced { value, source: Source::NetworkConfig }
}

fn refused(error: impl std::fmt::Display) -> Fault {
    Fault {
        code: Code::NetApply,
        object: "network".into(),
        cause: error.to_string(),
        help: "this is a defect of the image or of nodeinit; the console's lines before this one say more"
            .into(),
    }
}

fn same_wait(a: &Missing, b: &Missing) -> bool {
    match (a, b) {
        (Missing::NoLease(a, _), Missing::NoLease(b, _))
        | (Missing::Refused(a, _), Missing::Refused(b, _)) => a == b,
        (a, b) => a == b,
    }
}

fn fault_of(missing: &Missing) -> Fault {
    let fault = |code, object: &str, cause: String, help: &str| Fault {
        code,
        object: object.to_owned(),
        cause,
        help: help.to_owned(),
    };
    match missing {
        Missing::NoLink(what) => fault(
            Code::NetNoLink,
            what,
            "the machine has no such link".into(),
            "check the card, its driver (linux-firmware in the profile) and the names and MACs in network-config",
        ),
        Missing::NoCarrier(link) => fault(
            Code::NetNoLink,
            link,
            "nothing is at the other end (no carrier)".into(),
            "check cable, switch port and, for a virtual machine, its network",
        ),
        Missing::NoLease(link, error) => fault(
            Code::NetDhcp,
            link,
            error.clone().unwrap_or_else(|| "no DHCP server has given an address".into()),
            "check the DHCP server and the VLAN of this port, or give a static address in network-config",
        ),
        Missing::Refused(link, error) => {
            fault(Code::NetApply, link, error.clone(), "correct this link's entry in network-config")
        }
    }
}

#[cfg(test)]
mod tests;
