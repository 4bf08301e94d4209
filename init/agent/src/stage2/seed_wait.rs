//! Looks for a seed until there is a good one.
//!
//! Local datasources first, then (with a network) a remote one, then what the last good boot has kept on the state
//! partition. A missing or wrong seed is a fault, and looking goes on: the right disk may be plugged in.

use super::{Node, config};
use crate::datasource::{Found, Sources, nobody_has_a_seed};
use crate::net::Network;
use crate::storage;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::network::{self, NetworkSpec};
use nodeimg_init_core::node_config::{NetworkFacts, NodeConfig, Problem, decide};
use nodeimg_init_core::seed::Seed;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Deadline of the wait for a seed; looking goes on after it.
const DEADLINE: Duration = Duration::from_secs(20);
/// A kept configuration is used when no datasource has answered for this long.
const KEPT_AFTER: Duration = Duration::from_secs(5);
/// An IPv6 address is no address yet while the kernel asks whether somebody else has it.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Codes of faults that a better seed ends.
const SEED_CODES: [Code; 6] = [
    Code::SeedMissing,
    Code::SeedMalformed,
    Code::SeedInvalid,
    Code::SeedRole,
    Code::NotListed,
    Code::NetOverlap,
];

/// A seed that can be worked with.
pub struct Seeded {
    /// Where the configuration comes from.
    pub origin: Origin,
    /// What links shall have.
    pub network: NetworkSpec,
}

/// Where the configuration comes from.
#[derive(PartialEq)]
pub enum Origin {
    /// A datasource.
    Seed(Box<Seed>),
    /// The state partition: no datasource has answered.
    Cache(Box<NodeConfig>),
}

impl Seeded {
    /// The host name, as far as it is known before the network is.
    pub fn name(&self) -> Option<String> {
        match &self.origin {
            Origin::Seed(seed) => {
                seed.user_data.hostname.clone().or_else(|| seed.meta_data.local_hostname.clone())
            }
            Origin::Cache(config) => Some(config.name.value.to_string()),
        }
    }
}

/// Waits for a seed; none when the node goes down. `settled` says whether every device is known.
pub fn find(node: &Node, sources: &Sources, network: &Network, settled: &dyn Fn() -> bool) -> Option<Seeded> {
    let r = &node.reporter;
    let begun = Instant::now();
    let wait_for_one = || r.waiting("a seed", DEADLINE, nobody_has_a_seed());
    let mut wait = Some(wait_for_one());
    let mut searched = RemoteSearch::NotYet;
    loop {
        match sources.find_local() {
            Ok(Some(found)) => {
                if let Some(seeded) = accept(node, &found, &NetworkFacts::default()) {
                    return Some(seeded);
                }
            }
            Ok(None) => searched.step(node, sources, network, settled),
            Err(fault) => r.fault(fault),
        }
        if let RemoteSearch::Found(found) = &searched
            && let Some(seeded) = accept(node, found, &NetworkFacts::default())
        {
            return Some(seeded);
        }
        let nobody = !SEED_CODES.iter().any(|c| *c != Code::SeedMissing && r.has_fault(*c));
        if nobody
            && settled()
            && begun.elapsed() >= KEPT_AFTER
            && let Some(seeded) = from_kept(node)
        {
            return Some(seeded);
        }
        if node.shutdown.asked() {
            return None;
        }
        // A seed that is there and wrong is not missing: its own fault stands.
        wait = nobody.then(|| {
            let wait = wait.take().unwrap_or_else(wait_for_one);
            wait.cause(if sources.remote().is_some() {
                "no datasource has answered yet"
            } else {
                "no local datasource has a seed, and none is named for the network"
            });
            wait
        });
        std::thread::sleep(LOOK);
    }
}

/// The remote round: a minimal link (DHCP on every Ethernet link), then the URL.
enum RemoteSearch {
    NotYet,
    Linked,
    Found(Box<Found>),
}

impl RemoteSearch {
    fn step(&mut self, node: &Node, sources: &Sources, network: &Network, settled: &dyn Fn() -> bool) {
        if sources.remote().is_none() || !settled() {
            return;
        }
        if matches!(self, RemoteSearch::NotYet) {
            network.apply(NetworkSpec::default());
            let begun = Instant::now();
            network.wait_online(|| begun.elapsed() > Duration::from_secs(60) || node.shutdown.asked());
            *self = RemoteSearch::Linked;
        }
        let resolve = |name: &str| super::resolved(network, name);
        match sources.find_remote(&resolve) {
            Ok(Some(found)) => *self = RemoteSearch::Found(Box::new(found)),
            Ok(None) => {}
            Err(fault) => node.reporter.fault(fault),
        }
    }
}

/// Parses what was found and decides with what is known now. A seed that makes no sense is a fault.
fn accept(node: &Node, found: &Found, facts: &NetworkFacts) -> Option<Seeded> {
    let r = &node.reporter;
    let malformed = |cause: String| Fault {
        code: Code::SeedMalformed,
        object: found.datasource.clone(),
        cause,
        help: "correct it (nodeimg cluster new makes good ones); the node looks again by itself".to_owned(),
    };
    let seed = match found.parse() {
        Ok(Some(seed)) => seed,
        Ok(None) => return None,
        Err(e) => {
            r.fault(malformed(e.to_string()));
            return None;
        }
    };
    let network = match seed.network_config.as_deref().map(|t| network::parse(t.as_bytes())) {
        None => NetworkSpec::default(),
        Some(Ok(spec)) => spec,
        Some(Err(e)) => {
            r.fault(malformed(format!("network-config: {e}")));
            return None;
        }
    };
    if let Err(problems) = decide(&seed, &node.image, facts) {
        for problem in problems.iter().rev() {
            r.fault(problem.fault());
        }
        return None;
    }
    for code in SEED_CODES {
        r.clear_fault(code);
    }
    r.line(format!("seed from {}", found.datasource));
    if !found.later.is_empty() {
        r.line(format!("other datasources with a seed, not used: {}", found.later.join(", ")));
    }
    for warning in found.warnings.iter().chain(&network.warnings) {
        r.warn(warning.clone());
    }
    Some(Seeded { origin: Origin::Seed(Box::new(seed)), network })
}

fn from_kept(node: &Node) -> Option<Seeded> {
    if !storage::mount_kept(&node.reporter, &node.processes) {
        return None;
    }
    let kept = match config::kept() {
        Ok(kept) => kept?,
        Err(fault) => {
            node.reporter.fault(fault);
            return None;
        }
    };
    if let Err(problem) = kept.fits(&node.image) {
        node.reporter.fault(problem.fault());
        return None;
    }
    let text = std::fs::read_to_string(config::KEPT_NETWORK).unwrap_or_default();
    let network = match text.trim() {
        "" => NetworkSpec::default(),
        text => network::parse(text.as_bytes()).unwrap_or_default(),
    };
    node.reporter.clear_fault(Code::SeedMissing);
    node.reporter.warn("no datasource has a seed: the configuration of the last boot is used");
    Some(Seeded { origin: Origin::Cache(Box::new(kept)), network })
}

/// The NodeConfig, once the network is known. What does not fit it is a fault, and another seed is looked for.
pub fn decided(
    node: &Node,
    sources: &Sources,
    network: &Network,
    mut seeded: Seeded,
) -> Option<(NodeConfig, Seeded)> {
    let r = &node.reporter;
    let mut begun = Instant::now();
    loop {
        let facts = network.facts();
        match configuration(node, &seeded, &facts) {
            Ok((config, warnings)) => {
                SEED_CODES.into_iter().for_each(|code| r.clear_fault(code));
                if config.address.is_none_or(is_on_a_link) {
                    r.clear_fault(Code::NetOwnAddress);
                    warnings.into_iter().for_each(|warning| r.warn(warning));
                    r.node(config.name.value.as_str());
                    return Some((config, seeded));
                }
                if let Some(address) = config.address.filter(|_| begun.elapsed() > ADDRESS_PATIENCE) {
                    r.fault(no_link_has(address, &facts));
                }
            }
            Err(problems) => {
                for problem in problems.iter().rev() {
                    r.fault(problem.fault());
                }
            }
        }
        if node.shutdown.asked() {
            return None;
        }
        std::thread::sleep(LOOK);
        if let Ok(Some(found)) = sources.find_local()
            && let Some(other) = accept(node, &found, &network.facts())
            && other.origin != seeded.origin
        {
            network.apply(other.network.clone());
            network.wait_online(|| node.shutdown.asked());
            (seeded, begun) = (other, Instant::now());
        }
    }
}

fn configuration(
    node: &Node,
    seeded: &Seeded,
    facts: &NetworkFacts,
) -> Result<(NodeConfig, Vec<String>), Vec<Problem>> {
    match &seeded.origin {
        Origin::Cache(config) => Ok(((**config).clone(), Vec::new())),
        Origin::Seed(seed) => decide(seed, &node.image, facts).map(|d| (d.config, d.warnings)),
    }
}

/// The kernel lets a program listen only there.
fn is_on_a_link(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Err(e) => e.kind() != std::io::ErrorKind::AddrNotAvailable,
        Ok(_) => true,
    }
}

fn no_link_has(address: IpAddr, facts: &NetworkFacts) -> Fault {
    let networks: Vec<String> = facts.networks.iter().map(ToString::to_string).collect();
    let there = if networks.is_empty() { "no network".into() } else { networks.join(", ") };
    Fault {
        code: Code::NetOwnAddress,
        object: address.to_string(),
        cause: format!("the seed gives this node that address, and its links are in {there}"),
        help: "give the machine that address (a reservation in DHCP, or network-config in the seed), or make a seed with the \
               address that it has"
            .to_owned(),
    }
}
