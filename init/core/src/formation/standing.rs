//! What a node says of its record when another asks: the words of the agreement.
//!
//! A [`Standing`] is made from a synced [`Record`] alone, or says that the node cannot tell. A node whose etcd file
//! system is absent, unread or in memory answers [`Standing::CannotSay`]: "blank" is a statement about a disk.

use super::record::{Record, RecordFile};
use nodeimg_contract::birth::{Birth, BirthId, Incarnation};
use serde::{Deserialize, Serialize};

/// What a node's record lets others count on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "standing")]
pub enum Standing {
    /// Never started nor joined anything on this etcd file system.
    Blank {
        /// Its etcd file system.
        incarnation: Incarnation,
        /// The birth that it promised last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        promised: Option<Birth>,
    },
    /// Started a birth as one of its participants; etcd may hold data.
    Started {
        /// Its etcd file system.
        incarnation: Incarnation,
        /// Which.
        birth: Birth,
    },
    /// Joined, or is joining, the cluster of a birth in which it has no part.
    Member {
        /// Its etcd file system.
        incarnation: Incarnation,
        /// Which.
        birth: BirthId,
        /// Its etcd may hold what the cluster acknowledged.
        #[serde(default = "may_hold")]
        holds: bool,
    },
    /// No etcd file system that can be believed.
    CannotSay {
        /// Why, for people.
        reason: String,
    },
}

fn may_hold() -> bool {
    true
}

impl Standing {
    /// From what the etcd file system holds; `holds`: etcd's own folder has, or may have, more than nothing. A node says
    /// [`super::State::standing`], which also compares the two disks.
    pub(super) fn of(record: &RecordFile<Record>, holds: bool) -> Self {
        let cannot = |reason: &str| Standing::CannotSay { reason: reason.into() };
        match record {
            RecordFile::Missing => cannot("no record is written yet"),
            RecordFile::Bad(bad) => cannot(&bad.to_string()),
            RecordFile::Good(record) => {
                let incarnation = record.incarnation().clone();
                match (record.started(), record.joining()) {
                    (Some(birth), _) => Standing::Started { incarnation, birth: birth.clone() },
                    (None, Some(birth)) => Standing::Member { incarnation, birth: birth.clone(), holds },
                    (None, None) => Standing::Blank { incarnation, promised: record.promised().cloned() },
                }
            }
        }
    }

    /// The cluster that this node belongs to.
    pub fn cluster(&self) -> Option<BirthId> {
        match self {
            Standing::Started { birth, .. } => Some(birth.id()),
            Standing::Member { birth, .. } => Some(birth.clone()),
            Standing::Blank { .. } | Standing::CannotSay { .. } => None,
        }
    }

    /// Whether it says that data of a birth may lie there.
    pub fn holds(&self, own: &BirthId) -> bool {
        match self {
            Standing::Started { birth, .. } => birth.id() == *own,
            Standing::Member { birth, holds, .. } => *holds && birth == own,
            Standing::Blank { .. } | Standing::CannotSay { .. } => false,
        }
    }

    /// The etcd file system that it speaks of.
    pub fn incarnation(&self) -> Option<&Incarnation> {
        match self {
            Standing::Blank { incarnation, .. }
            | Standing::Started { incarnation, .. }
            | Standing::Member { incarnation, .. } => Some(incarnation),
            Standing::CannotSay { .. } => None,
        }
    }
}

/// What answers behind the endpoint, in one round of questions: a cluster may live on nodes that no seed lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// Nothing of this cluster: nobody, no API server, or one whose certificate is of another CA.
    #[default]
    Nothing,
    /// An API server with a certificate of this cluster's CA: the birth that its cluster has recorded, or why that cannot
    /// be read (for people).
    Ours(Result<BirthId, String>),
}

/// How the entry of [`Answer::Said`] about versions begins.
pub const KUBERNETES: &str = "image.kubernetes ";

/// What one peer said in one round of questions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It answered under its own name.
    Said {
        /// Of its record.
        standing: Standing,
        /// Fields of the seed in which it differs from this node; and, after [`KUBERNETES`], the versions of images that
        /// must not be born together.
        differs: Vec<String>,
    },
    /// Nothing came now; it asked this node of late, and said this of itself then. Its disk may be another one by now: it
    /// counts for a cluster that may live, never for one that is gone.
    Remembered(Standing),
    /// Nothing came; why, for people.
    Silent(String),
    /// What came cannot be believed (certificate, name, version of the protocol); why, for people.
    Untrusted(String),
}

impl Answer {
    /// What it says or said of late.
    pub fn standing(&self) -> Option<&Standing> {
        match self {
            Answer::Said { standing, .. } | Answer::Remembered(standing) => Some(standing),
            Answer::Silent(_) | Answer::Untrusted(_) => None,
        }
    }
}
