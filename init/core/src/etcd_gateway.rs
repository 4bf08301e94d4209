//! etcd's JSON gateway (`/v3/…` on the client port): requests as text, answers as values.
//!
//! Source of the format: etcd `api/etcdserverpb/rpc.proto`, as grpc-gateway writes it: 64-bit numbers are strings, fields
//! that are zero are left out. Pure; every answer is bounded by the caller.

mod kept;

pub use kept::{Kept, RANGE, RECORD_KEY, TXN, kept, put_if_unchanged, range, was_put};

use nodeimg_contract::birth::BirthId;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Port of etcd's clients.
pub const CLIENT_PORT: u16 = 2379;
/// Port of etcd's peers.
pub const PEER_PORT: u16 = 2380;

/// `POST` with [`MEMBER_LIST_BODY`] or [`OWN_LIST_BODY`]: every member.
pub const MEMBER_LIST: &str = "/v3/cluster/member/list";
/// The body: read through the quorum, never a list that one member remembers.
pub const MEMBER_LIST_BODY: &str = r#"{"linearizable":true}"#;
/// The body for the list that the member who is asked remembers; it answers without a quorum.
pub const OWN_LIST_BODY: &str = r#"{"linearizable":false}"#;
/// `POST {}`: one member's own state.
pub const STATUS: &str = "/v3/maintenance/status";
/// `POST` with [`add_learner`].
pub const MEMBER_ADD: &str = "/v3/cluster/member/add";
/// `POST` with [`member`].
pub const MEMBER_PROMOTE: &str = "/v3/cluster/member/promote";
/// `POST` with [`member`].
pub const MEMBER_REMOVE: &str = "/v3/cluster/member/remove";

/// An answer that cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not what etcd writes")]
pub struct BadAnswer;

/// `MemberListResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberList {
    /// etcd's id of the cluster.
    pub cluster: u64,
    /// Every member.
    pub members: Vec<Member>,
}

/// `Member`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// etcd's id.
    pub id: u64,
    /// `--name`; empty before it has started.
    pub name: String,
    /// Host of its first peer URL; kubeadm and nodeimg write addresses there, never names.
    pub address: IpAddr,
    /// Not a voter yet.
    pub learner: bool,
}

/// `StatusResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// etcd's id of the cluster.
    pub cluster: u64,
    /// The leader's id; 0: it knows none.
    pub leader: u64,
    /// What it complains of (no leader, corruption, no space).
    pub errors: Vec<String>,
}

impl Status {
    /// Why this is no healthy member of that cluster; `None`: it is one.
    pub fn ailment(&self, cluster: u64) -> Option<String> {
        if self.cluster != cluster {
            return Some("another etcd cluster answers at its address".into());
        }
        // "No leader" is among its complaints as well; an alarm says more.
        match (self.errors.is_empty(), self.leader) {
            (false, _) => Some(self.errors.join("; ")),
            (true, 0) => Some("it knows no leader".into()),
            (true, _) => None,
        }
    }
}

#[derive(Deserialize)]
struct Header {
    cluster_id: String,
}
#[derive(Deserialize)]
struct ListAnswer {
    header: Header,
    #[serde(default)]
    members: Vec<MemberAnswer>,
}
#[derive(Deserialize)]
struct MemberAnswer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default)]
    learner: bool,
}
#[derive(Deserialize)]
struct StatusAnswer {
    header: Header,
    #[serde(default)]
    leader: String,
    #[serde(default)]
    errors: Vec<String>,
}

/// Reads the answer to [`MEMBER_LIST`].
pub fn member_list(bytes: &[u8]) -> Result<MemberList, BadAnswer> {
    let answer: ListAnswer = serde_json::from_slice(bytes).map_err(|_| BadAnswer)?;
    let member = |m: MemberAnswer| {
        let url = m.peer_urls.first().ok_or(BadAnswer)?;
        Ok(Member {
            id: number(&m.id)?,
            name: m.name,
            address: host(url).ok_or(BadAnswer)?,
            learner: m.learner,
        })
    };
    let members = answer.members.into_iter().map(member).collect::<Result<Vec<_>, _>>()?;
    if members.is_empty() {
        return Err(BadAnswer);
    }
    Ok(MemberList { cluster: number(&answer.header.cluster_id)?, members })
}

/// Reads the answer to [`STATUS`].
pub fn status(bytes: &[u8]) -> Result<Status, BadAnswer> {
    let answer: StatusAnswer = serde_json::from_slice(bytes).map_err(|_| BadAnswer)?;
    let leader = if answer.leader.is_empty() { 0 } else { number(&answer.leader)? };
    Ok(Status { cluster: number(&answer.header.cluster_id)?, leader, errors: answer.errors })
}

/// What etcd complains of (`{"code":…,"message":…}`), clipped; for people and for [`is_voter_already`].
pub fn complaint(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Complaint {
        #[serde(default)]
        message: String,
        #[serde(default)]
        error: String,
    }
    let said: Option<Complaint> = serde_json::from_slice(bytes).ok();
    let text = said.map(|c| if c.message.is_empty() { c.error } else { c.message }).unwrap_or_default();
    if text.is_empty() {
        return "no message".into();
    }
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Body of [`MEMBER_ADD`]: a learner at this address.
pub fn add_learner(address: IpAddr) -> String {
    format!(r#"{{"peerURLs":["{}"],"isLearner":true}}"#, peer_url(address))
}

/// Body of [`MEMBER_PROMOTE`] and [`MEMBER_REMOVE`].
pub fn member(id: u64) -> String {
    format!(r#"{{"ID":"{id}"}}"#)
}

/// A member's `--initial-advertise-peer-urls`, as kubeadm writes it.
pub fn peer_url(address: IpAddr) -> String {
    format!("https://{}", std::net::SocketAddr::new(address, PEER_PORT))
}

/// Where a member's clients ask.
pub fn client_url(address: IpAddr) -> String {
    format!("https://{}", std::net::SocketAddr::new(address, CLIENT_PORT))
}

/// The birth that stands for an etcd that somebody else runs: etcd's own id of its cluster, under a name that no birth of
/// ours can have.
pub fn birth_of(cluster: u64) -> BirthId {
    let mut digest = Sha256::new();
    digest.update(b"nodeimg external etcd 1\n");
    digest.update(cluster.to_le_bytes());
    BirthId(hex::encode(digest.finalize()))
}

/// Whether a promotion was refused because the member is a voter already (`ErrMemberNotLearner`).
pub fn is_voter_already(complaint: &str) -> bool {
    complaint.contains("can only promote a learner member") && !complaint.contains("in sync")
}

fn number(text: &str) -> Result<u64, BadAnswer> {
    text.parse().map_err(|_| BadAnswer)
}

fn host(url: &str) -> Option<IpAddr> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    match authority.parse::<std::net::SocketAddr>() {
        Ok(at) => Some(at.ip()),
        Err(_) => authority.trim_matches(['[', ']']).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = r#"{"header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437",
        "raft_term":"2"},"members":[{"ID":"10276657743932975437","name":"cp1","peerURLs":["https://192.0.2.11:2380"],
        "clientURLs":["https://192.0.2.11:2379"]},{"ID":"7","peerURLs":["https://[2001:db8::2]:2380"],"isLearner":true}]}"#;

    #[test]
    fn a_list_as_etcd_writes_it() {
        let list = member_list(LIST.as_bytes()).expect("a list");
        assert_eq!(list.cluster, 14841639068965178418);
        let lines: Vec<_> = list.members.iter().map(|m| (m.id, m.name.as_str(), m.learner)).collect();
        assert_eq!(lines, [(10276657743932975437, "cp1", false), (7, "", true)]);
        assert_eq!(list.members.last().expect("two").address.to_string(), "2001:db8::2");
        assert_eq!(member_list(br#"{"header":{"cluster_id":"1"}}"#), Err(BadAnswer));
    }

    #[test]
    fn a_member_without_leader_says_so() {
        let sick = br#"{"header":{"cluster_id":"5"},"version":"3.6.8","errors":["etcdserver: no leader"]}"#;
        let status = status(sick).expect("a status");
        assert_eq!((status.leader, status.errors.len()), (0, 1));
        assert_eq!(status.ailment(5).as_deref(), Some("etcdserver: no leader"));
        assert!(status.ailment(6).is_some_and(|why| why.contains("another etcd cluster")));
        assert_eq!(Status { leader: 7, errors: Vec::new(), ..status }.ailment(5), None);
    }

    #[test]
    fn another_cluster_is_another_birth() {
        assert_ne!(birth_of(1), birth_of(2));
        assert_eq!(birth_of(1).0.len(), 64);
    }

    #[test]
    fn complaints_are_told_apart() {
        let behind = complaint(
            br#"{"code":9,"message":"etcdserver: can only promote a learner member which is in sync with leader"}"#,
        );
        assert!(!is_voter_already(&behind));
        assert!(is_voter_already("etcdserver: can only promote a learner member"));
        assert_eq!(complaint(b"<html>"), "no message");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_at_most(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (member_list(&bytes), status(&bytes), complaint(&bytes));
        }

        #[test]
        fn any_list_of_addresses_comes_back(octets in any::<[u8; 4]>(), id in any::<u64>()) {
            let address = IpAddr::from(octets);
            let text = format!(
                r#"{{"header":{{"cluster_id":"1"}},"members":[{{"ID":"{id}","peerURLs":["{}"]}}]}}"#,
                peer_url(address)
            );
            let list = member_list(text.as_bytes()).expect("a list");
            prop_assert_eq!(list.members.first().map(|m| (m.id, m.address)), Some((id, address)));
        }
    }
}
