//! Where a node stands between blank and steady: the states of the picture in the docs.
//!
//! [`State::place`] is a view of what the disks say and what runs; nothing is decided by it. `formation-sim --diagram` draws
//! the ways between places that the machine really goes.

use super::record::RecordFile;
use super::{Action, State};

/// A place; its name is what the picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The disks are not read: the node says that it cannot say.
    Dark,
    /// A record or pin that cannot be read.
    Unreadable,
    /// Nothing was promised on this etcd file system.
    Blank,
    /// A birth is promised, synced.
    Promised,
    /// A birth is started, synced; the kubelet does not run yet.
    Started,
    /// The kubelet runs, the birth's etcd has not served yet.
    Born,
    /// A cluster is being joined; the kubelet does not run yet.
    Joining,
    /// The kubelet runs, etcd has this node as a learner.
    Learner,
    /// Has been a voter before this boot; the kubelet does not run yet.
    Returning,
    /// A voter; the kubelet runs.
    Voter,
    /// What was started or joined is being cleared.
    GivingUp,
    /// A node without etcd that has met no cluster.
    Stranger,
    /// A node without etcd that pinned a birth; its kubelet does not run.
    Pinned,
    /// A node without etcd whose kubelet runs.
    Guest,
    /// Everything is done.
    Steady,
}

impl State {
    /// Where this node stands; `next` is what the machine wants of it.
    pub fn place(&self, next: Option<&Action>) -> Place {
        let Some(disks) = &self.disks else { return Place::Dark };
        if matches!(next, Some(Action::Steady)) {
            return Place::Steady;
        }
        let open = self.run.gate_open;
        let node = match &disks.node {
            RecordFile::Bad(_) => return Place::Unreadable,
            RecordFile::Missing => None,
            RecordFile::Good(node) => Some(node),
        };
        if !self.seeded.kind.has_etcd() {
            return match node.and_then(|n| n.birth()) {
                None => Place::Stranger,
                Some(_) if open => Place::Guest,
                Some(_) => Place::Pinned,
            };
        }
        if node.is_some_and(|n| n.giving_up().is_some()) {
            return Place::GivingUp;
        }
        let record = match &disks.record {
            RecordFile::Bad(_) => return Place::Unreadable,
            RecordFile::Missing => return Place::Blank,
            RecordFile::Good(record) => record,
        };
        match (record.joined(), record.started(), record.joining()) {
            (Some(_), _, _) if open => Place::Voter,
            (Some(_), _, _) => Place::Returning,
            (None, Some(_), _) if open => Place::Born,
            (None, Some(_), _) => Place::Started,
            (None, None, Some(_)) if open => Place::Learner,
            (None, None, Some(_)) => Place::Joining,
            (None, None, None) if record.promised().is_some() => Place::Promised,
            (None, None, None) => Place::Blank,
        }
    }
}
