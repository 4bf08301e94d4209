//! What a node that has started a birth, or goes to join one, makes of one round of answers: whether it has company, whether
//! what it has is worth nothing, whether the majority is gone. Pure, and without memory, as the agreement is.

use super::record::Record;
use super::rules::Rules;
use super::standing::{Answer, Standing};
use super::{Listed, Seeded};
use nodeimg_contract::birth::{Birth, BirthId, Incarnation};
use std::collections::{BTreeMap, BTreeSet};

/// Whether what this node started, or went to join, is worth nothing: its etcd holds no entry beyond the birth's own (the
/// caller's `etcd_is_empty`), and every other listed node says that it holds nothing of that birth and never will under
/// the incarnation that the birth names. Nothing was ever acknowledged that this node alone holds.
///
/// "Holds nothing" is: blank, of another birth, or on its way into this one without data. A joiner has no vote, or is a
/// participant that begins late, so the last of these never takes a voter from a birth that lives. Whoever else answers (a member that is not in the list) must
/// hold nothing of it either; what is remembered of a node that is silent now is no word that it holds nothing (its disk may be
/// a younger one); and of a cluster that only such a node told of, nothing is given up at all: it may be off.
pub fn is_worth_nothing(
    seeded: &Seeded,
    record: &Record,
    etcd_is_empty: bool,
    answers: &BTreeMap<String, Answer>,
    rules: Rules,
) -> bool {
    let Some(own) = record.cluster() else { return false };
    let participants = || record.started().into_iter().flat_map(Birth::participants);
    let in_birth =
        |name: &str, i: &Incarnation| participants().any(|p| p.name == name && p.incarnation == *i);
    let holds_nothing = |name: &String| match answers.get(name) {
        Some(Answer::Said { standing, .. }) => match standing {
            Standing::Blank { incarnation, .. } => !in_birth(name, incarnation),
            Standing::Started { birth, .. } => birth.id() != own,
            Standing::Member { birth, .. } if *birth != own => true,
            Standing::Member { incarnation, holds, .. } => !holds && !in_birth(name, incarnation),
            Standing::CannotSay { .. } => false,
        },
        _ => false,
    };
    let names: BTreeSet<String> = seeded
        .others()
        .map(|n| n.name.clone())
        .chain(participants().map(|p| p.name.clone()))
        .filter(|n| *n != seeded.name)
        .collect();
    let held = answers.values().filter_map(Answer::standing).any(|s| s.holds(&own));
    let has_served = record.joined().is_some();
    let empty = etcd_is_empty && !has_served;
    (empty || !rules.data_is_never_given_up)
        && !held
        && !record.joins_outside()
        && !names.is_empty()
        && names.iter().all(holds_nothing)
}

/// Another birth than this node's own that a peer belongs to.
pub fn other_birth<'a>(own: &BirthId, answers: &'a BTreeMap<String, Answer>) -> Option<&'a String> {
    answers.iter().find_map(|(name, answer)| answer.standing()?.cluster().filter(|b| b != own).map(|_| name))
}

/// Whether the cluster that a node without data was on its way into goes on under another birth (an operator's recovery):
/// somebody has started another, and nobody who answers holds data of the own.
pub fn is_superseded(own: &BirthId, answers: &BTreeMap<String, Answer>) -> bool {
    let said = || answers.values().filter_map(Answer::standing);
    let other = |s: &Standing| matches!(s, Standing::Started { birth, .. } if birth.id() != *own);
    said().any(other) && !said().any(|s| s.holds(own))
}

/// Whether anybody says that it belongs to this birth.
pub fn has_company(own: &BirthId, answers: &BTreeMap<String, Answer>) -> bool {
    answers.values().filter_map(Answer::standing).any(|s| s.cluster().as_ref() == Some(own))
}

/// Voters whose disks are gone, if they are so many that no majority is left: their nodes answer, hold nothing, and are not
/// about to start the birth as its participants. `voters`: etcd's own list, for members come and go after a birth; empty for
/// a node that has never seen one, which knows its birth's participants alone.
///
/// A node that joined later does not know the birth's incarnations: a participant whose own etcd has not begun yet counts as
/// gone there. Its disk holds nothing, so what is said is true of the disks; that it can still begin ends the wait.
pub fn lost_majority(
    record: &Record,
    voters: &[Listed],
    answers: &BTreeMap<String, Answer>,
) -> Option<Vec<String>> {
    let takes_part = |name: &str, i: &Incarnation| {
        let mut participants = record.started().into_iter().flat_map(Birth::participants);
        participants.any(|p| p.name == name && p.incarnation == *i)
    };
    let is_gone = |voter: &&Listed| match answers.get(&voter.name) {
        Some(Answer::Said {
            standing: Standing::Blank { incarnation, .. } | Standing::Member { incarnation, holds: false, .. },
            ..
        }) => !takes_part(&voter.name, incarnation),
        _ => false,
    };
    let born = || record.started().into_iter().flat_map(Birth::participants);
    let born = || born().map(|p| Listed { name: p.name.clone(), address: p.address });
    let voters = if voters.is_empty() { born().collect() } else { voters.to_vec() };
    let gone: Vec<String> = voters.iter().filter(is_gone).map(|v| v.name.clone()).collect();
    (!gone.is_empty() && gone.len() >= voters.len().div_ceil(2)).then_some(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_contract::birth::{Method, Permit};

    #[test]
    fn a_birth_is_superseded_only_when_nobody_holds_its_data() {
        let permit = Permit { cluster: "c".into(), nonce: "n".into(), not_after: jiff::Timestamp::MAX };
        let incarnation = |n: u8| Incarnation(format!("{n:032x}"));
        let new = Birth::new(permit.clone(), Method::Recover, Vec::new());
        let own = Birth::new(permit, Method::Quorum, Vec::new());
        let said = |standing| Answer::Said { standing, differs: Vec::new() };
        let survivor = said(Standing::Started { incarnation: incarnation(1), birth: new });
        let beside = |holds| Standing::Member { incarnation: incarnation(2), birth: own.id(), holds };
        let answers =
            |other| BTreeMap::from([("cp1".to_owned(), survivor.clone()), ("cp2".to_owned(), said(other))]);
        assert!(is_superseded(&own.id(), &answers(beside(false))), "it is on its way too");
        assert!(!is_superseded(&own.id(), &answers(beside(true))), "it holds data of the old birth");
        let started = Standing::Started { incarnation: incarnation(2), birth: own.clone() };
        assert!(!is_superseded(&own.id(), &answers(started)));
        let alone = BTreeMap::from([("cp2".to_owned(), said(beside(false)))]);
        assert!(!is_superseded(&own.id(), &alone), "nobody has another");
    }
}
