//! What a node keeps of its formation: the [`Record`] on the etcd file system and the [`NodeRecord`] beside it on the
//! state partition.

use nodeimg_contract::birth::{Birth, BirthId, Incarnation};
use serde::{Deserialize, Serialize};

const SCHEMA: u32 = 1;
const MAX_BYTES: usize = 256 << 10;

/// What lies on the etcd file system: incarnation, promised birth, started birth, joined birth. A value is made by this
/// module alone, and each change needs the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    schema: u32,
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promised: Option<Birth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Birth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joined: Option<BirthId>,
}

/// A record that cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Not our JSON, or it contradicts itself.
    #[error("the record is damaged")]
    Damaged,
    /// From a newer nodeinit.
    #[error("the record was written by a newer nodeimg (schema {0})")]
    Newer(u32),
}

/// A record as it is read from a disk: there is none, there is one, or there is something that cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFile<T> {
    /// No such file.
    Missing,
    /// A good one.
    Good(T),
    /// A bad one.
    Bad(BadRecord),
}

impl<T> RecordFile<T> {
    /// From the bytes of a file that exists, with `parse`.
    pub fn read(bytes: Option<&[u8]>, parse: impl Fn(&[u8]) -> Result<T, BadRecord>) -> Self {
        match bytes.map(parse) {
            None => RecordFile::Missing,
            Some(Ok(record)) => RecordFile::Good(record),
            Some(Err(bad)) => RecordFile::Bad(bad),
        }
    }
}

impl Record {
    pub(super) fn blank(incarnation: Incarnation) -> Self {
        Self { schema: SCHEMA, incarnation, promised: None, started: None, joined: None }
    }
    /// Promises a birth; only a blank record does.
    pub(super) fn promise(&self, birth: Birth) -> Option<Self> {
        self.started.is_none().then(|| Self { promised: Some(birth), ..self.clone() })
    }
    /// Starts the promised birth; once.
    pub(super) fn start(&self) -> Option<Self> {
        match (&self.promised, &self.started) {
            (Some(birth), None) => Some(Self { started: Some(birth.clone()), ..self.clone() }),
            _ => None,
        }
    }
    /// Notes the first good start.
    pub(super) fn join(&self) -> Option<Self> {
        self.started.as_ref().map(|b| Self { joined: Some(b.id()), ..self.clone() })
    }
    /// The etcd file system's id.
    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }
    /// The birth that this node promised.
    pub fn promised(&self) -> Option<&Birth> {
        self.promised.as_ref()
    }
    /// The birth that this node started.
    pub fn started(&self) -> Option<&Birth> {
        self.started.as_ref()
    }
    /// The birth whose cluster this node has been a good member of.
    pub fn joined(&self) -> Option<&BirthId> {
        self.joined.as_ref()
    }

    /// JSON for the disk.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadRecord> {
        serde_json::to_vec_pretty(self).map_err(|_| BadRecord::Damaged)
    }

    /// Reads what [`Record::to_bytes`] wrote, and refuses what no run of this module writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        let record: Self = parse(bytes)?;
        let digits = &record.incarnation.0;
        let takes_part = |b: &Birth| b.participants().iter().any(|p| p.incarnation == record.incarnation);
        let consistent = digits.len() == 32
            && digits.bytes().all(|c| c.is_ascii_hexdigit())
            && record.promised.iter().chain(&record.started).all(takes_part)
            && (record.started.is_none() || record.started == record.promised)
            && record.joined.as_ref().is_none_or(|j| record.started.as_ref().is_some_and(|s| s.id() == *j));
        if consistent { Ok(record) } else { Err(BadRecord::Damaged) }
    }
}

/// What lies on the state partition: the pinned incarnation, and what was rendered for which birth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRecord {
    schema: u32,
    pinned: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rendered: Option<BirthId>,
}

impl NodeRecord {
    pub(super) fn pin(incarnation: Incarnation) -> Self {
        Self { schema: SCHEMA, pinned: incarnation, rendered: None }
    }
    pub(super) fn with_rendered(&self, birth: BirthId) -> Self {
        Self { rendered: Some(birth), ..self.clone() }
    }
    /// The incarnation of the etcd file system that belongs to this state partition.
    pub fn pinned(&self) -> &Incarnation {
        &self.pinned
    }
    /// The birth whose certificates and manifests are written and synced.
    pub fn rendered(&self) -> Option<&BirthId> {
        self.rendered.as_ref()
    }
    /// JSON for the disk.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadRecord> {
        serde_json::to_vec_pretty(self).map_err(|_| BadRecord::Damaged)
    }
    /// Reads what [`NodeRecord::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        parse(bytes)
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, BadRecord> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    if bytes.len() > MAX_BYTES {
        return Err(BadRecord::Damaged);
    }
    let version: Version = serde_json::from_slice(bytes).map_err(|_| BadRecord::Damaged)?;
    if version.schema != SCHEMA {
        return Err(BadRecord::Newer(version.schema));
    }
    serde_json::from_slice(bytes).map_err(|_| BadRecord::Damaged)
}
