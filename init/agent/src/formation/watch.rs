//! What a node goes on doing behind its gate: it hears of its peers, and they of it; once it is steady, it looks at itself.

use super::book::Book;
use super::{Desk, Formation, certs, external, guest, nodes, perform, roles, tokens, voters};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::formation::{Kind, Seeded};
use nodeimg_init_core::node_config::NodeConfig;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Between two looks at the own node.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds between two looks at the bootstrap tokens.
const TOKENS: u64 = 12;
/// Between two rounds of questions to the peers: a contact is at most that old.
const CONTACT: Duration = Duration::from_secs(10);
/// Between two questions to a listed node that is not known as a member.
const STRANGERS: Duration = Duration::from_secs(1);

/// Waits, then looks at the node once; `false` when the node goes down.
pub fn round(f: &Formation<'_>) -> bool {
    if !f.pause(ROUND) {
        return false;
    }
    match Seeded::new(&f.config, &[]).kind {
        Kind::Etcd => external::look(f),
        Kind::Lb => {}
        Kind::Worker => {
            nodes::look(f);
            if let Err(fault) = guest::keep_certificate(f) {
                f.reporter.fault(fault);
            }
        }
        Kind::StackedControlPlane | Kind::ExternalControlPlane => {
            nodes::look(f);
            let rounds = f.memory.rounds.get();
            f.memory.rounds.set(rounds.wrapping_add(1));
            // An API server that does not answer is told by the look.
            let _ = roles::keep(f);
            if rounds.is_multiple_of(TOKENS) {
                let (tokens, keys) = (tokens::keep(f), certs::keep(f));
                tell(f, tokens.and(keys));
            }
        }
    }
    !f.stopping()
}

/// Says what could not be put into the cluster twice in a row, until it could: those who are to join wait for it. While the
/// API server does not answer, the look says so.
fn tell(f: &Formation<'_>, kept: Result<(), Fault>) {
    let failed = kept.err().map(|fault| Fault { code: Code::KubeadmFailed, ..fault });
    if failed.is_some() && f.memory.missed.get() > 0 {
        return;
    }
    let before = f.memory.not_kept.replace(failed.clone());
    match (before, failed) {
        (Some(before), Some(fault)) if before.object == fault.object => f.reporter.fault(fault),
        (Some(gone), _) => f.reporter.clear_fault_of(gone.code, &gone.object),
        (None, _) => {}
    }
}

/// Asks every member of the cluster and everybody in the seed's list again and again, in the background. Who was heard of,
/// and when, decides whether an old member may be removed. And who is asked hears of this node's cluster: a listed node
/// that says nothing of it (it is blank, or silent) is asked every second, so that it is not born anew beside it.
pub fn contacts(f: &Formation<'_>) {
    let kind = Seeded::new(&f.config, &[]).kind;
    if !kind.has_etcd() {
        return;
    }
    let (desk, config) = (f.desk.clone(), f.config.clone());
    let listed: BTreeMap<String, IpAddr> =
        perform::others(f).into_iter().map(|n| (n.name, n.address)).collect();
    let asks = move || {
        loop {
            let mut strangers = hear(&desk, &config, &listed);
            for _ in 0..CONTACT.as_secs() / STRANGERS.as_secs() {
                std::thread::sleep(STRANGERS);
                strangers = ask(&desk, &strangers);
            }
        }
    };
    if let Err(e) = std::thread::Builder::new().name("contacts".into()).spawn(asks) {
        f.reporter.warn(format!("no thread for talk with the other control planes: {e}"));
    }
}

/// Gives those of the list that are strange to this node's cluster.
fn hear(desk: &Desk, config: &NodeConfig, listed: &BTreeMap<String, IpAddr>) -> BTreeMap<String, IpAddr> {
    let mut all = listed.clone();
    if let Ok(Some(record)) = Book::own(config).and_then(|book| book.read()) {
        desk.watches(&record);
        if let Some(own) = config.address {
            // What could not be written is tried again in the next round.
            let _ = voters::keep(own, record.birth());
        }
        let own = config.name.value.as_str();
        let others = record.members().iter().filter(|(name, _)| *name != own);
        all.extend(others.map(|(name, member)| (name.clone(), member.address)));
    }
    let mut strangers = ask(desk, &all);
    strangers.retain(|name, _| listed.contains_key(name));
    strangers
}

/// Asks all at once, and gives those that did not say that they belong to this node's cluster. What is heard is
/// remembered by the desk.
fn ask(desk: &Desk, all: &BTreeMap<String, IpAddr>) -> BTreeMap<String, IpAddr> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = all
            .iter()
            .map(|(name, address)| {
                let is_ours = move || name.parse().is_ok_and(|name| desk.is_ours(&name, *address));
                (name, address, std::thread::Builder::new().spawn_scoped(scope, is_ours))
            })
            .collect();
        let stranger = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, bool>>| {
            !thread.ok().and_then(|t| t.join().ok()).unwrap_or(false)
        };
        asked
            .into_iter()
            .filter_map(|(name, address, thread)| stranger(thread).then(|| (name.clone(), *address)))
            .collect()
    })
}
