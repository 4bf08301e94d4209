//! What a node keeps of its formation: the [`Record`] on the etcd file system and the [`NodeRecord`] beside it on the
//! state partition.
//!
//! Changes are made by this room alone, each from the record before it: a promise is replaced only while nothing is
//! started, a birth is started once, a join excludes a start. `from_bytes` refuses what no such sequence writes.

use nodeimg_contract::birth::{Birth, BirthId, Incarnation, Method, Participant, Permit};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

const SCHEMA: u32 = 1;
const MAX_BYTES: usize = 256 << 10;

/// What lies on the etcd file system: incarnation, promised birth, started birth, joined birth.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    schema: u32,
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promised: Option<Birth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Birth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joining: Option<BirthId>,
    /// Nobody in the seed's list told of the birth that it joins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    outside: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joined: Option<BirthId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovered_from: Option<BirthId>,
    #[serde(default)]
    starts: u64,
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
        Self {
            schema: SCHEMA,
            incarnation,
            promised: None,
            started: None,
            joining: None,
            outside: false,
            joined: None,
            recovered_from: None,
            starts: 0,
        }
    }
    /// One more opening of the gate is about to happen.
    pub(super) fn counted(&self) -> Self {
        Self { starts: self.starts.saturating_add(1), ..self.clone() }
    }
    /// How often the gate was opened, or was about to be.
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }
    fn is_blank(&self) -> bool {
        self.started.is_none() && self.joining.is_none()
    }
    fn takes_part_in(&self, birth: &Birth) -> bool {
        birth.participants().iter().any(|p| p.incarnation == self.incarnation)
    }
    /// Promises a birth, as a participant or as a witness; only a blank record does.
    pub(super) fn promise(&self, birth: Birth) -> Option<Self> {
        self.is_blank().then(|| Self { promised: Some(birth), ..self.clone() })
    }
    /// Starts the promised birth; once, and only as its participant.
    pub(super) fn start(&self) -> Option<Self> {
        let birth = self.promised.as_ref().filter(|b| self.is_blank() && self.takes_part_in(b))?;
        Some(Self { started: Some(birth.clone()), ..self.clone() })
    }
    /// Goes to join the cluster of a birth in which this incarnation has no part. `outside`: nobody in the list told of it.
    pub(super) fn begin_join(&self, birth: BirthId, outside: bool) -> Option<Self> {
        self.is_blank().then(|| Self { joining: Some(birth), outside, ..self.clone() })
    }
    /// Notes the first good start (of a participant), or the promotion to a voter (of a joined node).
    pub(super) fn join(&self) -> Option<Self> {
        self.cluster().map(|b| Self { joined: Some(b), ..self.clone() })
    }
    /// The survivor of a lost majority goes on alone, as a birth of its own, under a new incarnation: its etcd data was
    /// restored from a snapshot under the new birth's token.
    pub fn recover(&self, fresh: Incarnation, permit: Permit, name: String, address: IpAddr) -> Option<Self> {
        let from = self.cluster()?;
        let me = Participant { name, address, incarnation: fresh.clone() };
        let birth = Birth::new(permit, Method::Recover, vec![me]);
        Some(Self {
            promised: Some(birth.clone()),
            started: Some(birth),
            recovered_from: Some(from),
            ..Self::blank(fresh)
        })
    }
    /// The node record that belongs to a recovered record: the pin alone, so that everything is rendered anew. `None` for
    /// any other record.
    pub fn recovered_node(&self) -> Option<NodeRecord> {
        self.recovered_from.as_ref().map(|_| NodeRecord::pin(self.incarnation.clone()))
    }
    /// The cluster that this node belongs to: its started birth, or the one that it joins or joined.
    pub fn cluster(&self) -> Option<BirthId> {
        self.started.as_ref().map(Birth::id).or_else(|| self.joining.clone())
    }
    /// The birth that this node joins or joined without a part in it.
    pub fn joining(&self) -> Option<&BirthId> {
        self.joining.as_ref()
    }
    /// Whether nobody in the list told of the birth that this node joins, and it has not been a member yet.
    pub fn joins_outside(&self) -> bool {
        self.outside && self.joined.is_none()
    }
    /// The birth whose data an operator's recovery took over.
    pub fn recovered_from(&self) -> Option<&BirthId> {
        self.recovered_from.as_ref()
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
        let consistent = digits.len() == 32
            && digits.bytes().all(|c| c.is_ascii_hexdigit())
            && record.started.iter().all(|b| record.takes_part_in(b))
            && (record.started.is_none() || record.started == record.promised)
            && (record.started.is_none() || record.joining.is_none())
            && (!record.outside || record.joining.is_some())
            && (record.joined.is_none() || record.joined == record.cluster())
            && (record.recovered_from.is_none() || record.started.is_some());
        if consistent { Ok(record) } else { Err(BadRecord::Damaged) }
    }
}

/// What lies on the state partition: the pinned incarnation (of a node with an etcd file system) or the pinned birth (of
/// one without), and what was done for which birth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRecord {
    schema: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pinned: Option<Incarnation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    birth: Option<BirthId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rendered: Option<BirthId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<BirthId>,
    /// How many openings of the gate the etcd file system must know of: one that knows fewer was put back.
    #[serde(default)]
    starts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    giving_up: Option<GivingUp>,
}

/// This node clears its etcd file system and becomes blank. Noted first: the clearing ends in one way, whatever happens
/// to the power meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivingUp {
    /// What it started is worth nothing, unless etcd has received something by the time it is stopped.
    Worthless,
    /// etcd's list does not have this node's member any more, and never takes it back.
    Removed,
}

impl NodeRecord {
    pub(super) fn pin(incarnation: Incarnation) -> Self {
        Self { schema: SCHEMA, pinned: Some(incarnation), ..Self::default() }
    }
    pub(super) fn pin_birth(birth: BirthId) -> Self {
        Self { schema: SCHEMA, birth: Some(birth), ..Self::default() }
    }
    /// The cluster goes on under another birth: what was done for the one before holds.
    pub(super) fn goes_on_as(&self, birth: BirthId) -> Self {
        let moved = |done: &Option<BirthId>| done.as_ref().map(|_| birth.clone());
        let (rendered, finished) = (moved(&self.rendered), moved(&self.finished));
        Self { birth: Some(birth), rendered, finished, ..self.clone() }
    }
    pub(super) fn with_rendered(&self, birth: BirthId) -> Self {
        Self { rendered: Some(birth), ..self.clone() }
    }
    pub(super) fn with_finished(&self, birth: BirthId) -> Self {
        Self { finished: Some(birth), ..self.clone() }
    }
    pub(super) fn with_starts(&self, starts: u64) -> Self {
        Self { starts, ..self.clone() }
    }
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }
    pub(super) fn with_giving_up(&self, giving_up: Option<GivingUp>) -> Self {
        Self { giving_up, ..self.clone() }
    }
    /// Whether this node was about to become blank again, and why.
    pub fn giving_up(&self) -> Option<GivingUp> {
        self.giving_up
    }
    /// The incarnation of the etcd file system that belongs to this state partition.
    pub fn pinned(&self) -> Option<&Incarnation> {
        self.pinned.as_ref()
    }
    /// The cluster that this node (without etcd) belongs to.
    pub fn birth(&self) -> Option<&BirthId> {
        self.birth.as_ref()
    }
    /// The birth whose certificates and manifests are written and synced.
    pub fn rendered(&self) -> Option<&BirthId> {
        self.rendered.as_ref()
    }
    /// The birth for which this node's own last steps (label, taint, rotating certificate) are done.
    pub fn finished(&self) -> Option<&BirthId> {
        self.finished.as_ref()
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
