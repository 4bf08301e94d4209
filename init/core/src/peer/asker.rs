//! [`Asker`]: what a member of a cluster says of itself when it asks.

use super::hello::{is_birth_id, is_incarnation};
use crate::formation::Standing;
use nodeimg_contract::birth::{BirthId, Incarnation};

/// The header of a question in which an asker says what it is.
pub const ASKER: &str = "Nodeimg-Standing";

/// A node that asks belongs to a cluster. Who it is, its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Its etcd file system.
    pub incarnation: Incarnation,
    /// The cluster's birth.
    pub birth: BirthId,
    /// Its etcd may hold what the cluster acknowledged.
    pub holds: bool,
}

impl Asker {
    /// What there is to say: nothing of a node that belongs to no cluster.
    pub fn of(standing: &Standing) -> Option<Self> {
        let (incarnation, birth) = (standing.incarnation()?.clone(), standing.cluster()?);
        let holds = !matches!(standing, Standing::Member { holds: false, .. });
        Some(Self { incarnation, birth, holds })
    }

    /// The same, as an answer would say it, and never more: without the birth's participants nobody promises that birth by it, and
    /// only who had promised it starts late. It is remembered, and may be older than the disk that it speaks of; a participant
    /// says more when it is asked back.
    pub fn standing(&self) -> Standing {
        Standing::Member {
            incarnation: self.incarnation.clone(),
            birth: self.birth.clone(),
            holds: self.holds,
        }
    }

    /// The header's value: `member INCARNATION BIRTH`, or `joining …` of a node that holds nothing yet.
    pub fn to_text(&self) -> String {
        let word = if self.holds { "member" } else { "joining" };
        format!("{word} {} {}", self.incarnation.0, self.birth.0)
    }

    /// Reads it. What has another form says nothing: a newer node may have other words.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let holds = match words.next()? {
            "member" => true,
            "joining" => false,
            _ => return None,
        };
        let incarnation = Incarnation(words.next()?.to_owned());
        let birth = BirthId(words.next()?.to_owned());
        let good = words.next().is_none() && is_incarnation(&incarnation) && is_birth_id(&birth);
        good.then_some(Self { incarnation, birth, holds })
    }
}
