//! Whether a survivor may go on alone: what was heard of etcd's other voters decides, and, of those of whom nothing was
//! heard, the operator's word.

use super::Listed;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was heard of one of the voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Its etcd has a leader.
    Leader,
    /// It holds data of this node's birth.
    Data,
    /// Its disk holds nothing of it: wiped, or another's.
    Nothing,
    /// Nobody answers.
    Silence,
}

/// Why a survivor must not go on alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLost {
    /// The cluster lives, through this voter.
    Lives(Listed),
    /// These have data, and are a majority together with this node.
    Enough(Vec<String>),
    /// Nothing was heard of these: they may live where this node does not reach them.
    Silent(Vec<String>),
}

/// Whether the majority is lost. `others`: every voter but this node; `lost`: names or addresses of which the operator says
/// that their disks are gone for good.
pub fn majority_is_lost(others: &BTreeMap<Listed, Heard>, lost: &BTreeSet<String>) -> Result<(), NotLost> {
    if let Some((voter, _)) = others.iter().find(|(_, heard)| **heard == Heard::Leader) {
        return Err(NotLost::Lives(voter.clone()));
    }
    let names = |wanted: Heard| others.iter().filter(move |(_, h)| **h == wanted).map(|(v, _)| v);
    let data: Vec<String> = names(Heard::Data).map(|v| v.name.clone()).collect();
    let voters = others.len().saturating_add(1);
    if !data.is_empty() && data.len().saturating_add(1) > voters / 2 {
        return Err(NotLost::Enough(data));
    }
    let said = |v: &&Listed| lost.contains(&v.name) || lost.contains(&v.address.to_string());
    let silent: Vec<String> = names(Heard::Silence).filter(|v| !said(v)).map(|v| v.name.clone()).collect();
    if silent.is_empty() { Ok(()) } else { Err(NotLost::Silent(silent)) }
}

impl fmt::Display for NotLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotLost::Lives(v) => write!(
                f,
                "etcd of {} ({}) has a leader: the cluster lives, without this node. Mend what keeps this node from it, or let it join \
                 anew with \"nodeinit reset --yes\"",
                v.name, v.address
            ),
            NotLost::Enough(names) => write!(
                f,
                "{} and this node have the cluster's data and are a majority: look why their etcd does not run (nodeinit logs kubelet)",
                names.join(", ")
            ),
            NotLost::Silent(names) => write!(
                f,
                "nobody answers at {}: they may live where this node does not reach them. Of each whose disk is gone for good say so: {}",
                names.join(", "),
                names.iter().map(|n| format!("--lost {n}")).collect::<Vec<_>>().join(" ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn heard(all: &[(u8, Heard)]) -> BTreeMap<Listed, Heard> {
        let voter = |n: u8| Listed { name: format!("cp{n}"), address: IpAddr::from([192, 0, 2, n]) };
        all.iter().map(|(n, h)| (voter(*n), *h)).collect()
    }

    fn judged(all: &[(u8, Heard)], lost: &[&str]) -> Result<(), NotLost> {
        majority_is_lost(&heard(all), &lost.iter().map(|l| (*l).to_owned()).collect())
    }

    #[test]
    fn wiped_disks_are_lost() {
        assert_eq!(judged(&[(2, Heard::Nothing), (3, Heard::Nothing)], &[]), Ok(()));
        assert_eq!(judged(&[], &[]), Ok(()), "a cluster of one");
    }

    #[test]
    fn a_leader_anywhere_is_a_cluster() {
        let all = [(2, Heard::Nothing), (3, Heard::Leader)];
        assert!(matches!(judged(&all, &["cp3"]), Err(NotLost::Lives(v)) if v.name == "cp3"));
    }

    #[test]
    fn who_is_silent_is_lost_by_the_operators_word_alone() {
        let all = [(2, Heard::Nothing), (3, Heard::Silence)];
        assert_eq!(judged(&all, &[]), Err(NotLost::Silent(vec!["cp3".into()])));
        assert_eq!(judged(&all, &["cp2"]), Err(NotLost::Silent(vec!["cp3".into()])));
        assert_eq!(judged(&all, &["cp3"]), Ok(()));
        assert_eq!(judged(&all, &["192.0.2.3"]), Ok(()));
    }

    #[test]
    fn a_majority_with_data_is_no_loss() {
        let three = [(2, Heard::Data), (3, Heard::Silence)];
        assert_eq!(judged(&three, &["cp3"]), Err(NotLost::Enough(vec!["cp2".into()])));
        let five = [(2, Heard::Data), (3, Heard::Nothing), (4, Heard::Nothing), (5, Heard::Nothing)];
        assert_eq!(judged(&five, &[]), Ok(()), "two of five");
        let two = [(2, Heard::Data)];
        assert_eq!(judged(&two, &[]), Err(NotLost::Enough(vec!["cp2".into()])), "both of two");
        assert_eq!(judged(&[(2, Heard::Nothing)], &[]), Ok(()), "one of two");
    }
}
