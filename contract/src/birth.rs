//! Words of formation that stand in seeds, records and etcd's cluster token: permit, incarnation, birth.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;

/// Random 128-bit id of one preparation of a node's etcd file system, 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

/// Leave for one birth.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Permit {
    /// The cluster's UUID.
    pub cluster: String,
    /// Random, 32 hexadecimal digits.
    pub nonce: String,
    /// No birth after this, RFC 3339 UTC.
    pub not_after: jiff::Timestamp,
}

/// How a birth's participants are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All listed control planes.
    #[default]
    Quorum,
    /// The lowest name alone; the others join.
    First,
    /// The survivor of a lost majority, by an operator's command. Never in a seed.
    Recover,
}

/// Whether a birth may come about without so many of the listed nodes (`formation.without`); else why not. Two births of one
/// permit must never both be possible: any two sets that agree on one have a node in common, and with `first`, whose
/// participant is the lowest name that answers, two names that come and go could each be the lowest in turn.
pub fn may_go_without(method: Method, listed: usize, left_out: usize) -> Result<(), &'static str> {
    if listed.saturating_sub(left_out) * 2 <= listed {
        return Err("no majority of the list is left");
    }
    if method == Method::First && left_out > 1 {
        return Err("with method first one node at most is left out");
    }
    Ok(())
}

/// What to do where [`may_go_without`] refuses.
pub const WITHOUT_HELP: &str = "leave more nodes in: two births of one cluster must never both be possible";

/// One etcd member of a birth.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Participant {
    /// Node name.
    pub name: String,
    /// Address that its etcd peers use.
    pub address: IpAddr,
    /// Its etcd file system.
    pub incarnation: Incarnation,
}

/// Permit, method and participants, sorted by name: what must be agreed on before any etcd starts. It does not change, so
/// clones share it, and its hash is taken once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Agreed", into = "Agreed")]
pub struct Birth(Arc<(Agreed, BirthId)>);

/// What a birth is, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Agreed {
    permit: Permit,
    method: Method,
    participants: Vec<Participant>,
}

/// Hash of a birth; etcd's `--initial-cluster-token`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BirthId(pub String);

impl BirthId {
    /// Of a cluster that nodeimg did not make: by the UID of its namespace kube-system, which names a cluster as nothing else
    /// in Kubernetes does.
    pub fn adopted(kube_system_uid: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"nodeimg adopted cluster\n");
        hash.update(kube_system_uid.as_bytes());
        Self(hex::encode(hash.finalize()))
    }
}

impl std::fmt::Display for BirthId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Birth {
    /// Sorts the participants, so that all who saw the same answers hold the same birth.
    pub fn new(permit: Permit, method: Method, mut participants: Vec<Participant>) -> Self {
        participants.sort();
        Agreed { permit, method, participants }.into()
    }
    /// The permit that it uses up.
    pub fn permit(&self) -> &Permit {
        &self.0.0.permit
    }
    /// How the participants were chosen.
    pub fn method(&self) -> Method {
        self.0.0.method
    }
    /// Sorted by name.
    pub fn participants(&self) -> &[Participant] {
        &self.0.0.participants
    }
    /// SHA-256 over an unambiguous text form, hexadecimal.
    pub fn id(&self) -> BirthId {
        self.0.1.clone()
    }
}

impl std::fmt::Debug for Birth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.0.fmt(f)
    }
}

impl From<Agreed> for Birth {
    fn from(agreed: Agreed) -> Self {
        let id = agreed.id();
        Self(Arc::new((agreed, id)))
    }
}

impl From<Birth> for Agreed {
    fn from(birth: Birth) -> Self {
        birth.0.0.clone()
    }
}

impl Agreed {
    fn id(&self) -> BirthId {
        let mut h = Sha256::new();
        let mut field = |s: &str| {
            h.update((s.len() as u64).to_le_bytes());
            h.update(s.as_bytes());
        };
        field("nodeimg birth 1");
        field(&self.permit.cluster);
        field(&self.permit.nonce);
        field(&self.permit.not_after.to_string());
        field(match self.method {
            Method::Quorum => "quorum",
            Method::First => "first",
            Method::Recover => "recover",
        });
        for p in &self.participants {
            field(&p.name);
            field(&p.address.to_string());
            field(&p.incarnation.0);
        }
        BirthId(hex::encode(h.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participant(name: &str) -> Participant {
        Participant {
            name: name.into(),
            address: "192.0.2.1".parse().expect("address"),
            incarnation: Incarnation("a".repeat(32)),
        }
    }

    #[test]
    fn order_of_answers_does_not_matter_but_everything_else_does() {
        let permit =
            Permit { cluster: "c".into(), nonce: "n".into(), not_after: jiff::Timestamp::UNIX_EPOCH };
        let a = Birth::new(permit.clone(), Method::Quorum, vec![participant("a"), participant("b")]);
        let b = Birth::new(permit.clone(), Method::Quorum, vec![participant("b"), participant("a")]);
        assert_eq!(a.id(), b.id());
        assert_ne!(a.id(), Birth::new(permit.clone(), Method::First, a.participants().to_vec()).id());
        assert_ne!(a.id(), Birth::new(permit, Method::Quorum, vec![participant("a")]).id());
    }
}
