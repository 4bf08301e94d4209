//! What is known of every configured link, shared by the workers (one a link) and the supervisor.

use nodeimg_init_core::dhcp::Lease;
use nodeimg_init_core::network::{LinkMatch, LinkSpec, NetworkSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One link as its worker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its name now.
    pub name: String,
    /// Which entry of the spec it follows.
    pub entry: usize,
    /// Something is at the other end.
    pub carrier: bool,
    /// MTU, static addresses and routes are set.
    pub prepared: bool,
    /// What DHCP gave.
    pub lease: Option<Lease>,
    /// What went wrong last.
    pub error: Option<String>,
}

/// What stands between the node and its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// No link of the machine is meant by this entry.
    NoLink(String),
    /// A link without carrier.
    NoCarrier(String),
    /// The kernel refused something.
    Refused(String, String),
    /// No lease.
    NoLease(String, Option<String>),
}

#[derive(Default)]
struct Inner {
    generation: u64,
    spec: NetworkSpec,
    links: BTreeMap<u32, LinkState>,
    /// Links whose worker has not returned yet, of any configuration: two must never care for one link.
    busy: BTreeSet<u32>,
    changes: u64,
}

/// The table.
#[derive(Default)]
pub struct Table {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Table {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another configuration: every worker of the one before stops.
    pub fn begin(&self, spec: NetworkSpec) -> u64 {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.changes += 1;
        inner.spec = spec;
        inner.links.clear();
        self.changed.notify_all();
        inner.generation
    }
    /// Which configuration holds.
    pub fn generation(&self) -> u64 {
        self.inner().generation
    }
    /// Counts up with every change.
    pub fn changes(&self) -> u64 {
        self.inner().changes
    }
    /// The configuration and its links.
    pub fn snapshot(&self) -> (NetworkSpec, BTreeMap<u32, LinkState>) {
        let inner = self.inner();
        (inner.spec.clone(), inner.links.clone())
    }
    /// Whether the link is (still) configured.
    pub fn has(&self, index: u32) -> bool {
        self.inner().links.contains_key(&index)
    }
    /// A link that a worker will care for. `false`: not now, its last worker has not returned, or the configuration is
    /// another one already.
    pub fn add(&self, generation: u64, index: u32, name: String, entry: usize) -> bool {
        let state = LinkState { name, entry, carrier: false, prepared: false, lease: None, error: None };
        let mut inner = self.inner();
        if inner.generation != generation || !inner.busy.insert(index) {
            return false;
        }
        inner.links.insert(index, state);
        inner.changes += 1;
        self.changed.notify_all();
        true
    }
    /// The worker of a link has returned.
    pub fn done(&self, index: u32) {
        let mut inner = self.inner();
        inner.busy.remove(&index);
        inner.changes += 1;
        self.changed.notify_all();
    }
    /// Links that are gone from the machine.
    pub fn keep(&self, is_there: impl Fn(u32) -> bool) {
        let mut inner = self.inner();
        let before = inner.links.len();
        inner.links.retain(|index, _| is_there(*index));
        if inner.links.len() != before {
            inner.changes += 1;
            self.changed.notify_all();
        }
    }
    /// Changes one link's state, if the configuration is still the one of this generation.
    pub fn update(&self, generation: u64, index: u32, change: impl FnOnce(&mut LinkState)) {
        let mut inner = self.inner();
        if inner.generation != generation {
            return;
        }
        let Some(state) = inner.links.get_mut(&index) else { return };
        let before = state.clone();
        change(state);
        if *state != before {
            inner.changes += 1;
            self.changed.notify_all();
        }
    }
    /// Waits until something changes, or not.
    pub fn wait(&self, seen: u64, patience: Duration) {
        let inner = self.inner();
        if inner.changes == seen {
            let _ = self.changed.wait_timeout(inner, patience);
        }
    }
    /// What is missing, the worst first; `None`: the node is online.
    pub fn missing(&self) -> Option<Missing> {
        let inner = self.inner();
        let entries = inner.spec.links.iter().enumerate().filter(|(_, spec)| !spec.optional);
        entries.filter_map(|(entry, spec)| of_entry(entry, spec, &inner.links)).next()
    }
}

/// One working link of an entry is enough: an entry may mean several.
fn of_entry(entry: usize, spec: &LinkSpec, links: &BTreeMap<u32, LinkState>) -> Option<Missing> {
    let of_entry = links.values().filter(|state| state.entry == entry);
    let mut worst: Option<Missing> = None;
    for state in of_entry {
        let missing = match (state, spec.dhcp4) {
            (LinkState { prepared: false, error: Some(error), .. }, _) => {
                Missing::Refused(state.name.clone(), error.clone())
            }
            (LinkState { carrier: true, prepared: true, .. }, false) => return None,
            (LinkState { lease: Some(_), prepared: true, .. }, true) => return None,
            (LinkState { carrier: true, .. }, true) => {
                Missing::NoLease(state.name.clone(), state.error.clone())
            }
            _ => Missing::NoCarrier(state.name.clone()),
        };
        // A link that has got further says more about what is wrong.
        let rank = |missing: &Missing| match missing {
            Missing::NoLink(_) => 0,
            Missing::NoCarrier(_) => 1,
            Missing::NoLease(..) => 2,
            Missing::Refused(..) => 3,
        };
        if worst.as_ref().is_none_or(|worst| rank(&missing) > rank(worst)) {
            worst = Some(missing);
        }
    }
    Some(worst.unwrap_or_else(|| {
        let what = match &spec.matches {
            LinkMatch::EveryEthernet => spec.matches.to_string(),
            matches => format!("link {matches}"),
        };
        Missing::NoLink(what)
    }))
}
