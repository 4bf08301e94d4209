//! [`Hello`]: what a node says when another asks; [`Rejection`]: why it does not.

use super::text::{MAX_CHARS, is_printable, printable};
use super::{BadMessage, MAX_BYTES, PROTOCOL};
use crate::formation::Standing;
use crate::node_config::{NodeName, disagreements};
use nodeimg_contract::birth::{Birth, BirthId, Incarnation};
use nodeimg_contract::image::Role;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Lists have at most this many entries (control planes, participants, contacts).
const MAX_LIST: usize = 64;
/// Names of the seed's fields, and their digests, have at most this many bytes.
const MAX_FIELD: usize = 64;
/// Versions and the cluster's id have at most this many characters.
const MAX_WORD: usize = 128;

/// The answer to `GET /nodeimg/v1/standing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The node's name; the one in its certificate.
    pub name: NodeName,
    /// Its address in the list: etcd's.
    pub address: IpAddr,
    /// Its role; the one in its certificate.
    pub role: Role,
    /// UUID of the cluster (the permit's), or its name where the seed has no permit.
    pub cluster: String,
    /// What it says of its record.
    pub standing: Standing,
    /// Digest by field of the seed ([`crate::node_config::NodeConfig::seed_fields`]).
    #[serde(default)]
    pub seed: BTreeMap<String, String>,
    /// What it waits for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The control planes that the cluster has now, as a member knows; empty: this node does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_planes: Vec<Listed>,
    /// Kubernetes version of its image, without `v`.
    pub kubernetes: String,
    /// Version of its nodeinit.
    pub nodeinit: String,
    /// Whom it heard of, and when. One name stands here once for every incarnation that was heard under it: the contact
    /// with an old one must not hide behind a new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_contact: Vec<Contact>,
}

/// One line of a list of nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listed {
    /// Node name.
    pub name: NodeName,
    /// etcd's and the API server's address.
    pub address: IpAddr,
}

/// When a node last heard of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contact {
    /// Node name.
    pub name: NodeName,
    /// The etcd file system that answered under that name.
    pub incarnation: Incarnation,
    /// Seconds since then, by a clock that no time server sets.
    pub seconds: u64,
}

/// What stands in an answer that is not a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Why, for people.
    pub error: String,
}

/// Every message has its version beside its fields.
#[derive(Serialize)]
struct Versioned<'a, T> {
    protocol: u32,
    #[serde(flatten)]
    message: &'a T,
}

#[derive(Deserialize)]
struct Version {
    protocol: u32,
}

impl Hello {
    /// JSON for the wire. Free text is clipped and cleaned; anything else beyond its bounds is an error here, as it would
    /// be at the other end.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadMessage> {
        let mut hello = self.clone();
        hello.waits_for = hello.waits_for.map(|text| printable(&text, MAX_CHARS));
        if let Standing::CannotSay { reason } = &mut hello.standing {
            *reason = printable(reason, MAX_CHARS);
        }
        hello.check()?;
        write(&hello)
    }

    /// Reads what [`Hello::to_bytes`] wrote, at this node or another of the same major version.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadMessage> {
        let hello: Self = read(bytes)?;
        hello.check()?;
        Ok(hello)
    }

    /// The fields in which the seed of the node that says this differs from `own`, by name.
    pub fn differs_from(&self, own: &BTreeMap<&'static str, String>) -> Vec<String> {
        disagreements(own, &self.seed).into_iter().map(str::to_owned).collect()
    }

    fn check(&self) -> Result<(), BadMessage> {
        let bad = |field, why| Err(BadMessage::Field { field, why });
        for (field, word) in
            [("cluster", &self.cluster), ("kubernetes", &self.kubernetes), ("nodeinit", &self.nodeinit)]
        {
            if word.is_empty() || !is_printable(word, MAX_WORD) {
                return bad(field, "is no short text");
            }
        }
        if self.waits_for.as_ref().is_some_and(|text| !is_printable(text, MAX_CHARS)) {
            return bad("waitsFor", "is no short text");
        }
        if self.control_planes.len() > MAX_LIST {
            return bad("controlPlanes", "is too long");
        }
        if self.last_contact.len() > MAX_LIST {
            return bad("lastContact", "is too long");
        }
        if !self.last_contact.iter().all(|c| is_incarnation(&c.incarnation)) {
            return bad("lastContact", "has no 32 hexadecimal digits");
        }
        let is_word = |s: &str| s.len() <= MAX_FIELD && s.bytes().all(|c| c.is_ascii_graphic());
        if self.seed.len() > MAX_LIST
            || !self.seed.iter().all(|(name, digest)| is_word(name) && is_word(digest))
        {
            return bad("seed", "has too many fields, or one that is no short word");
        }
        check_standing(&self.standing)
    }
}

impl Rejection {
    /// With cleaned text.
    pub fn new(error: &str) -> Self {
        Self { error: printable(error, MAX_CHARS) }
    }

    /// JSON for the wire.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadMessage> {
        write(&Self::new(&self.error))
    }

    /// Reads it; a node of another version ends here as [`BadMessage::Version`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadMessage> {
        read::<Self>(bytes).map(|rejection| Self::new(&rejection.error))
    }
}

fn write<T: Serialize>(message: &T) -> Result<Vec<u8>, BadMessage> {
    let bytes = serde_json::to_vec(&Versioned { protocol: PROTOCOL, message }).map_err(|e| malformed(&e))?;
    if bytes.len() > MAX_BYTES { Err(BadMessage::TooLong) } else { Ok(bytes) }
}

/// The version is looked at first: of another one nothing else is understood.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadMessage> {
    if bytes.len() > MAX_BYTES {
        return Err(BadMessage::TooLong);
    }
    let version: Version = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    if version.protocol != PROTOCOL {
        return Err(BadMessage::Version { own: PROTOCOL, theirs: version.protocol });
    }
    serde_json::from_slice(bytes).map_err(|e| malformed(&e))
}

fn malformed(e: &serde_json::Error) -> BadMessage {
    BadMessage::Malformed(printable(&e.to_string(), 200))
}

fn check_standing(standing: &Standing) -> Result<(), BadMessage> {
    let bad = |why| Err(BadMessage::Field { field: "standing", why });
    if standing.incarnation().is_some_and(|i| !is_incarnation(i)) {
        return bad("has no incarnation of 32 hexadecimal digits");
    }
    match standing {
        Standing::Blank { promised: Some(birth), .. } | Standing::Started { birth, .. } => check_birth(birth),
        Standing::Member { birth, .. } if !is_birth_id(birth) => {
            bad("has no birth ID of 64 hexadecimal digits")
        }
        Standing::CannotSay { reason } if !is_printable(reason, MAX_CHARS) => {
            bad("has a reason that is no short text")
        }
        Standing::Blank { .. } | Standing::Member { .. } | Standing::CannotSay { .. } => Ok(()),
    }
}

/// A birth as [`Birth::new`] makes it: sorted, names and incarnations in their form, none of them twice.
fn check_birth(birth: &Birth) -> Result<(), BadMessage> {
    let bad = |why| Err(BadMessage::Field { field: "standing", why });
    let (permit, participants) = (birth.permit(), birth.participants());
    if participants.is_empty() || participants.len() > MAX_LIST {
        return bad("has a birth with no or too many participants");
    }
    if ![&permit.cluster, &permit.nonce].iter().all(|s| is_printable(s, MAX_WORD)) {
        return bad("has a permit that is no short text");
    }
    for p in participants {
        if p.name.parse::<NodeName>().is_err() || !is_incarnation(&p.incarnation) {
            return bad("has a participant with a bad name or incarnation");
        }
    }
    let rises = |(a, b): (&nodeimg_contract::birth::Participant, &nodeimg_contract::birth::Participant)| {
        a.name < b.name
    };
    if !participants.iter().zip(participants.iter().skip(1)).all(rises) {
        return bad("has a birth whose participants are not in order");
    }
    Ok(())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

pub(super) fn is_incarnation(incarnation: &Incarnation) -> bool {
    is_hex(&incarnation.0, 32)
}

pub(super) fn is_birth_id(birth: &BirthId) -> bool {
    is_hex(&birth.0, 64)
}
