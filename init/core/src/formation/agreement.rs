//! The agreement on one birth: what a node that has not started does with one round of answers.
//!
//! Takes the node's own record and the answers of one round, gives one [`Agreement`]. Pure, and without memory: the
//! caller asks everybody anew after every change of its own record. That is what the proof needs:
//!
//! *Two nodes never start two births.* Say A starts X after a round in which every required node said "promised X", and C
//! starts Y likewise, and each is required for the other's birth. Within its round a node's own promise does not change
//! (a change begins a new round). So C said "promised X" during A's round and before its own (it promises Y in that one),
//! and A said "promised Y" during C's round and before its own: each round begins before the other. Any two required sets
//! are strict majorities of one list, so some node is in both.
//!
//! - [`required`] keeps the sets majorities: all of the list less `without`, and `without` counts only while silent. (That C is
//!   not required by A is what consent means: the operator says that it has started nothing. It may come after all, be
//!   promised a birth, start it and fall silent: consent is spent on whom a promise could make a quorum without this node.)
//! - The candidate names incarnations: a promise of a disk that is gone supports no birth of another disk.
//! - What lives outside of the list is a cluster as well: an API server behind the endpoint ([`Endpoint::Ours`]), and whoever
//!   asked this node as a member (among the answers, under whatever name). Nothing is born beside either.
//! - "Started" always wins over "blank": a birth that somebody started is joined, or started late by those in it.

use super::record::Record;
use super::refusal::Refusal;
use super::rules::Rules;
use super::standing::{Answer, Endpoint, KUBERNETES, Standing};
use super::wait::Wait;
use super::{Now, Seeded};
use nodeimg_contract::birth::{Birth, BirthId, Incarnation, Method, Participant};
use std::collections::{BTreeMap, BTreeSet};

/// How the seed's fields of Kubernetes' and etcd's CAs begin.
const PKI: &str = "nodeimg.pki.";

/// What follows from one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Write this promise, then ask anew.
    Promise(Birth),
    /// Write that the promised birth is started, then start etcd.
    Start,
    /// The cluster of this birth exists and has no place for this incarnation: join it.
    Join {
        /// Which.
        birth: BirthId,
        /// Nobody in the list says so.
        outside: bool,
    },
    /// Ask again later.
    Wait(Wait),
}

/// What one round gave.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    /// By name: of the list, and of members that asked this node.
    pub answers: &'a BTreeMap<String, Answer>,
    /// What answers there.
    pub endpoint: &'a Endpoint,
}

/// Decides for a record that is blank.
pub fn agree(
    seeded: &Seeded,
    record: &Record,
    round: Round<'_>,
    now: Now,
    rules: Rules,
) -> Result<Agreement, Refusal> {
    let listed: BTreeMap<String, Answer>;
    let answers = if rules.askers_are_heard {
        round.answers
    } else {
        let all = round.answers.iter().filter(|(name, _)| is_listed(seeded, name));
        listed = all.map(|(name, answer)| (name.clone(), answer.clone())).collect();
        &listed
    };
    let endpoint = if rules.endpoint_is_asked { round.endpoint } else { &Endpoint::Nothing };
    doubles(seeded, record, answers)?;
    if let Some((name, found)) = cluster(seeded, answers)?
        && rules.started_wins
    {
        another_pki(answers)?;
        return match endpoint {
            Endpoint::Ours(Ok(other)) if *other != found.id => {
                Err(Refusal::TwoBirths { one: name, other: "what answers behind the endpoint".into() })
            }
            _ => Ok(towards(seeded, record, found, rules)),
        };
    }
    match endpoint {
        Endpoint::Nothing => {}
        Endpoint::Ours(Ok(id)) => {
            let found = Found { id: id.clone(), birth: None, outside: true };
            return Ok(towards(seeded, record, found, rules));
        }
        Endpoint::Ours(Err(why)) => return Ok(Agreement::Wait(Wait::Outside(why.clone()))),
    }
    let required = required(seeded, record, answers, rules);
    let mut silent = Vec::new();
    let mut blank = BTreeMap::new();
    for name in &required {
        match answers.get(name) {
            Some(Answer::Said { standing: Standing::Blank { incarnation, promised }, .. }) => {
                blank.insert(name.as_str(), (incarnation, promised.as_ref()));
            }
            Some(Answer::Said { standing: Standing::CannotSay { reason }, .. }) => {
                silent.push((name.clone(), reason.clone()));
            }
            Some(Answer::Untrusted(why)) => {
                return Err(Refusal::Untrusted { name: name.clone(), why: why.clone() });
            }
            Some(Answer::Silent(why)) if seeded.without.contains(name) => {
                silent.push((
                    name.clone(),
                    format!("{why}; it came after the consent to go on without it, and may have begun"),
                ));
            }
            Some(Answer::Silent(why)) => silent.push((name.clone(), why.clone())),
            // `cluster` found nobody who has the cluster that it goes to join: it finds that out too, and becomes blank.
            Some(Answer::Said { .. }) => {
                silent.push((name.clone(), "it joins a cluster of which nobody answers".into()));
            }
            None => silent.push((name.clone(), "not asked yet".into())),
        }
    }
    disagreement(seeded, answers)?;
    permit(seeded, now)?;
    if !silent.is_empty() {
        return Ok(Agreement::Wait(Wait::Peers(silent)));
    }
    let Some(candidate) = candidate(seeded, record, &blank) else {
        return Err(Refusal::NoPermit);
    };
    if record.promised() != Some(&candidate) {
        return Ok(Agreement::Promise(candidate));
    }
    let behind: Vec<String> = blank
        .iter()
        .filter(|(_, (_, promised))| *promised != Some(&candidate))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    if rules.everybody_promised && !behind.is_empty() {
        return Ok(Agreement::Wait(Wait::Promises(behind)));
    }
    Ok(match candidate.participants().iter().any(|p| p.incarnation == *record.incarnation()) {
        true => Agreement::Start,
        false => {
            let names: Vec<_> = candidate.participants().iter().map(|p| p.name.as_str()).collect();
            Agreement::Wait(Wait::Participant(names.join(", ")))
        }
    })
}

/// The listed nodes whose word a birth needs, without this one.
fn required(
    seeded: &Seeded,
    record: &Record,
    answers: &BTreeMap<String, Answer>,
    rules: Rules,
) -> BTreeSet<String> {
    let answered = |name: &str| matches!(answers.get(name), Some(Answer::Said { .. }));
    let begun = match record.promised() {
        Some(birth) if rules.consent_ends_with_a_promise => may_have_begun(seeded, birth, answered),
        _ => BTreeSet::new(),
    };
    let counts = |name: &String| {
        let spent = begun.contains(name.as_str()) || (rules.without_ends_with_an_answer && answered(name));
        seeded.without.contains(name) && !spent
    };
    seeded.others().map(|n| n.name.clone()).filter(|name| !counts(name)).collect()
}

/// Those whom this permit's consent names, who are silent, and who are a quorum of a birth that was promised under it: they
/// came after all. A new permit's consent was given after that promise, and counts.
fn may_have_begun<'a>(
    seeded: &Seeded,
    birth: &'a Birth,
    answered: impl Fn(&str) -> bool,
) -> BTreeSet<&'a str> {
    if seeded.permit.as_ref() != Some(birth.permit()) {
        return BTreeSet::new();
    }
    let names = birth.participants().iter().map(|p| p.name.as_str());
    let gone: BTreeSet<&str> =
        names.filter(|name| seeded.without.contains(*name) && !answered(name)).collect();
    if gone.len() > birth.participants().len() / 2 { gone } else { BTreeSet::new() }
}

fn is_listed(seeded: &Seeded, name: &str) -> bool {
    seeded.listed.iter().any(|n| n.name == name)
}

/// The birth that somebody has started or joined, and its participants if somebody said them. Who is on the way into a
/// cluster and holds nothing of it is no witness of it: blank nodes would follow each other for ever.
struct Found {
    id: BirthId,
    birth: Option<Birth>,
    /// Nobody in the list says so.
    outside: bool,
}

fn cluster(seeded: &Seeded, answers: &BTreeMap<String, Answer>) -> Result<Option<(String, Found)>, Refusal> {
    let mut found: Option<(String, Found)> = None;
    for (name, answer) in answers {
        let Answer::Said { standing, .. } = answer else { continue };
        let Some(id) = standing.cluster() else { continue };
        if matches!(standing, Standing::Member { holds: false, .. }) {
            continue;
        }
        let birth = match standing {
            Standing::Started { birth, .. } => Some(birth.clone()),
            _ => None,
        };
        let ours = |b: &Birth| seeded.permit.as_ref().is_none_or(|p| p.cluster == b.permit().cluster);
        if birth.as_ref().is_some_and(|b| !ours(b)) {
            return Err(Refusal::AnotherCluster { name: name.clone() });
        }
        let outside = !is_listed(seeded, name);
        match &mut found {
            None => found = Some((name.clone(), Found { id, birth, outside })),
            Some((_, f)) if f.id == id => {
                f.birth = f.birth.take().or(birth);
                f.outside &= outside;
            }
            Some((first, _)) => {
                return Err(Refusal::TwoBirths { one: first.clone(), other: name.clone() });
            }
        }
    }
    Ok(found)
}

/// A cluster exists: start late what this incarnation is part of, else join.
fn towards(seeded: &Seeded, record: &Record, found: Found, rules: Rules) -> Agreement {
    let promised = record.promised().filter(|b| b.id() == found.id);
    let birth = found.birth.as_ref().or(promised);
    let is_me = |p: &Participant| {
        p.name == seeded.name
            && p.address == seeded.address
            && (!rules.late_start_needs_its_incarnation || p.incarnation == *record.incarnation())
    };
    match birth {
        Some(birth) if birth.participants().iter().any(is_me) => {
            if record.promised() == Some(birth) {
                Agreement::Start
            } else {
                Agreement::Promise(birth.clone())
            }
        }
        _ => Agreement::Join { birth: found.id, outside: found.outside },
    }
}

fn candidate(
    seeded: &Seeded,
    record: &Record,
    blank: &BTreeMap<&str, (&Incarnation, Option<&Birth>)>,
) -> Option<Birth> {
    let permit = seeded.permit.clone()?;
    let mut all: Vec<_> = seeded
        .listed
        .iter()
        .filter_map(|n| {
            let incarnation = if n.name == seeded.name {
                record.incarnation()
            } else {
                blank.get(n.name.as_str()).map(|(incarnation, _)| *incarnation)?
            };
            Some(Participant { name: n.name.clone(), address: n.address, incarnation: incarnation.clone() })
        })
        .collect();
    all.sort();
    if seeded.method == Method::First {
        all.truncate(1);
    }
    Some(Birth::new(permit, seeded.method, all))
}

/// Leave for a birth, now.
pub fn permit(seeded: &Seeded, now: Now) -> Result<(), Refusal> {
    let permit = seeded.permit.as_ref().ok_or(Refusal::NoPermit)?;
    if now.wall > permit.not_after {
        return Err(Refusal::PermitExpired { not_after: permit.not_after, now: now.wall });
    }
    Ok(())
}

/// A birth needs one mind: the seeds of all in the list who answered say the same, and API servers are of one minor version.
fn disagreement(seeded: &Seeded, answers: &BTreeMap<String, Answer>) -> Result<(), Refusal> {
    for (name, answer) in answers.iter().filter(|(name, _)| is_listed(seeded, name)) {
        let Answer::Said { differs, .. } = answer else { continue };
        let versions = differs.iter().find_map(|d| d.strip_prefix(KUBERNETES));
        if let Some(versions) = versions.filter(|_| seeded.kind.has_api()) {
            return Err(Refusal::PeerVersion { name: name.clone(), versions: versions.into() });
        }
        let fields: Vec<String> = differs.iter().filter(|d| !d.starts_with(KUBERNETES)).cloned().collect();
        if !fields.is_empty() {
            return Err(Refusal::Disagree { name: name.clone(), fields });
        }
    }
    Ok(())
}

/// Who joins a cluster may have an older list or permit than its members, and never another CA.
fn another_pki(answers: &BTreeMap<String, Answer>) -> Result<(), Refusal> {
    for (name, answer) in answers {
        let Answer::Said { standing, differs } = answer else { continue };
        let fields: Vec<String> = differs.iter().filter(|f| f.starts_with(PKI)).cloned().collect();
        if standing.cluster().is_some() && !fields.is_empty() {
            return Err(Refusal::Disagree { name: name.clone(), fields });
        }
    }
    Ok(())
}

/// Two etcd file systems never share an incarnation, except as a copy.
fn doubles(seeded: &Seeded, record: &Record, answers: &BTreeMap<String, Answer>) -> Result<(), Refusal> {
    let mut seen = BTreeMap::from([(record.incarnation(), seeded.name.as_str())]);
    for (name, answer) in answers {
        let Answer::Said { standing, .. } = answer else { continue };
        if let Some(incarnation) = standing.incarnation()
            && let Some(first) = seen.insert(incarnation, name)
        {
            return Err(Refusal::Copy { one: first.to_owned(), other: name.clone() });
        }
    }
    Ok(())
}

/// Whether what this node started, or went to join, is worth nothing: its etcd holds no entry beyond the birth's own (the
/// caller's `etcd_is_empty`), and every other listed node says that it holds nothing of that birth and never will under
/// the incarnation that the birth names. Nothing was ever acknowledged that this node alone holds.
///
/// "Holds nothing" is: blank, of another birth, or on its way into this one without data. A joiner has no vote, so the
/// last of these never takes a voter from a birth that lives. Whoever else answers (a member that is not in the list) must
/// hold nothing of it either; and of a cluster that only such a node told of, nothing is given up at all: it may be off.
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
    let held = answers.values().any(|a| matches!(a, Answer::Said { standing, .. } if standing.holds(&own)));
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
    answers.iter().find_map(|(name, answer)| match answer {
        Answer::Said { standing, .. } => standing.cluster().filter(|b| b != own).map(|_| name),
        _ => None,
    })
}

/// Whether the cluster that a node without data was on its way into goes on under another birth (an operator's recovery):
/// somebody has started another, and nobody who answers holds data of the own.
pub fn is_superseded(own: &BirthId, answers: &BTreeMap<String, Answer>) -> bool {
    let said = || {
        answers.values().filter_map(|a| match a {
            Answer::Said { standing, .. } => Some(standing),
            _ => None,
        })
    };
    let other = |s: &Standing| matches!(s, Standing::Started { birth, .. } if birth.id() != *own);
    said().any(other) && !said().any(|s| s.holds(own))
}

/// Whether anybody says that it belongs to this birth.
pub fn has_company(own: &BirthId, answers: &BTreeMap<String, Answer>) -> bool {
    answers
        .values()
        .any(|a| matches!(a, Answer::Said { standing, .. } if standing.cluster().as_ref() == Some(own)))
}

/// Participants of a started birth whose disks are gone, if they are so many that no majority is left: their nodes answer
/// under another incarnation that holds nothing of the birth.
pub fn lost_majority(record: &Record, answers: &BTreeMap<String, Answer>) -> Option<Vec<String>> {
    let birth = record.started()?;
    let is_gone = |p: &&Participant| match answers.get(&p.name) {
        Some(Answer::Said {
            standing: Standing::Blank { incarnation, .. } | Standing::Member { incarnation, holds: false, .. },
            ..
        }) => *incarnation != p.incarnation,
        _ => false,
    };
    let gone: Vec<String> = birth.participants().iter().filter(is_gone).map(|p| p.name.clone()).collect();
    (gone.len() >= birth.participants().len().div_ceil(2)).then_some(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_contract::birth::Permit;

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
