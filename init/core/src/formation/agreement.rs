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
//! - [`required`] keeps the sets majorities: all of the list less `without`, and `without` counts only while silent.
//! - That C is not required by A is what consent means: the operator says that it has started nothing. It may come after all
//!   and start Y, for which A has promised it Y. Consent ends with that promise: C is required from then on, so every later
//!   promise of A's has C in it, until a permit of another day. (With `first` a later promise may name another, lower one:
//!   hence one name at most in `without` there, [`nodeimg_contract::birth::may_go_without`].)
//! - The candidate names incarnations: a promise of a disk that is gone supports no birth of another disk.
//! - What lives outside of the list is a cluster as well: an API server behind the endpoint ([`Endpoint::Ours`]), and whoever
//!   asked this node as a member (among the answers, under whatever name). Nothing is born beside either.
//! - "Started" always wins over "blank": a birth that somebody started is joined, or started late by those in it. What is
//!   remembered of an asker names no participants: to promise a birth anew takes the word of a disk that is there. It stops
//!   births ([`Answer::Remembered`]), and [`super::started`] gives nothing up by it.

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
            Some(Answer::Said { .. } | Answer::Remembered(_)) => {
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
    let answered = |name: &str| answers.get(name).is_some_and(|a| a.standing().is_some());
    let begun = match record.promised() {
        Some(birth) if rules.consent_ends_with_a_promise => may_have_begun(seeded, birth),
        _ => BTreeSet::new(),
    };
    let counts = |name: &String| {
        let spent = begun.contains(name.as_str()) || (rules.without_ends_with_an_answer && answered(name));
        seeded.without.contains(name) && !spent
    };
    seeded.others().map(|n| n.name.clone()).filter(|name| !counts(name)).collect()
}

/// Those whom a birth was promised under this permit: they came after all. The consent of a new permit is the operator's new
/// word, and counts.
fn may_have_begun<'a>(seeded: &Seeded, birth: &'a Birth) -> BTreeSet<&'a str> {
    let of_today = seeded.permit.as_ref() == Some(birth.permit());
    birth.participants().iter().filter(|_| of_today).map(|p| p.name.as_str()).collect()
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
        let Some(standing) = answer.standing() else { continue };
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
        let Some(standing) = answer.standing() else { continue };
        if let Some(incarnation) = standing.incarnation()
            && let Some(first) = seen.insert(incarnation, name)
        {
            return Err(Refusal::Copy { one: first.to_owned(), other: name.clone() });
        }
    }
    Ok(())
}
