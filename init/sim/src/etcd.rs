//! etcd, as little of it as the properties need, with the real one's rules:
//!
//! - a member is data on a disk: a token, an id, a log; its configuration is the last one in its log;
//! - a log entry is acknowledged once a majority of the configuration's voters holds it;
//! - who leads has the longest log (last term, then length) of a majority of voters; its log replaces the others';
//! - an empty member of a listed id and the same token is trusted: it counts as a voter like any other;
//! - members of two tokens never speak; a removed id never comes back; one learner at a time; a listed address is not
//!   added again (kubeadm skips it); a manifest that says `existing` starts a member only if its list is the cluster's.

use std::sync::Arc;

/// One line of the member list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// etcd's id.
    pub id: u64,
    /// Which address (and name) it has.
    pub slot: usize,
    /// Not a voter yet.
    pub learner: bool,
    /// It has published its name: for one that was added, it has started.
    pub published: bool,
}

/// What an entry of the log does; the numbers are places in [`Tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A client's write.
    Write(u32),
    /// The member list is this from now on.
    Members(usize),
    /// The cluster's record is this.
    Record(usize),
    /// The Lease: holder (machine) and end.
    Lease(usize, u64),
    /// A new leader's own entry.
    Nothing,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Under which leader it was first written.
    pub term: u32,
    /// What it does.
    pub change: Change,
}

/// A log; members that hold the same one share it.
pub type Log = Arc<Vec<Entry>>;

/// A member's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The cluster, by its token: a place in [`Tables::tokens`].
    pub token: usize,
    /// This member.
    pub id: u64,
    /// The highest term in which it voted.
    pub term: u32,
    /// The list that it was made with.
    pub base: usize,
    /// Everything since.
    pub log: Log,
}

impl Data {
    /// Where its log ends; what elections compare.
    pub fn end(&self) -> (u32, usize) {
        (self.log.last().map_or(0, |e| e.term), self.log.len())
    }
    /// The last configuration in its log.
    pub fn members(&self) -> usize {
        let last = self
            .log
            .iter()
            .rev()
            .find_map(|e| if let Change::Members(n) = e.change { Some(n) } else { None });
        last.unwrap_or(self.base)
    }
    /// The last record in its log.
    pub fn record(&self) -> Option<usize> {
        self.log.iter().rev().find_map(|e| if let Change::Record(n) = e.change { Some(n) } else { None })
    }
    /// The last Lease in its log.
    pub fn lease(&self) -> Option<(usize, u64)> {
        self.log
            .iter()
            .rev()
            .find_map(|e| if let Change::Lease(m, t) = e.change { Some((m, t)) } else { None })
    }
}

/// What a whole schedule knows of one token: kept apart from every disk, to check them.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Every acknowledged entry, in order.
    pub acknowledged: Log,
}
