//! What a steady node goes on doing: it looks at itself, and hears of its peers.

use super::book::Book;
use super::{Desk, Formation, external, guest, nodes, perform, roles, tokens};
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
                let _ = tokens::keep(f);
            }
        }
    }
    !f.stopping()
}

/// Asks every member of the cluster again and again, in the background: who was heard of, and when, decides whether an
/// old member may be removed.
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
            hear(&desk, &config, &listed);
            std::thread::sleep(CONTACT);
        }
    };
    if let Err(e) = std::thread::Builder::new().name("contacts".into()).spawn(asks) {
        f.reporter.warn(format!("no thread for talk with the other control planes: {e}"));
    }
}

fn hear(desk: &Desk, config: &NodeConfig, listed: &BTreeMap<String, IpAddr>) {
    let mut all = listed.clone();
    if let Ok(Some(record)) = Book::own(config).and_then(|book| book.read()) {
        desk.watches(&record);
        let own = config.name.value.as_str();
        let others = record.members().iter().filter(|(name, _)| *name != own);
        all.extend(others.map(|(name, member)| (name.clone(), member.address)));
    }
    std::thread::scope(|scope| {
        for (name, address) in &all {
            let Ok(name) = name.parse() else { continue };
            // What is heard is remembered by the desk.
            let _ =
                std::thread::Builder::new().spawn_scoped(scope, move || desk.ask(&name, *address).is_ok());
        }
    });
}
