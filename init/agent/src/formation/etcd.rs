//! etcd through its JSON gateway, as its health check's client: members, their state, one change at a time.

use super::files;
use super::https::{Https, Identity, Method};
use nodeimg_init_core::etcd_gateway::{self as gateway, MemberList, Status};
use nodeimg_init_core::formation::{ClusterRecord, Listed};
use nodeimg_init_core::pki;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// A member that is well answers in milliseconds; one without quorum not at all.
const LIMIT: Duration = Duration::from_secs(5);
const MAX_PEM: u64 = 64 << 10;
/// The certificate of kubeadm's liveness probes: a client of etcd, nothing else.
pub const HEALTH_CLIENT: &str = "etcd/healthcheck-client.crt";
const HEALTH_CLIENT_KEY: &str = "etcd/healthcheck-client.key";

/// A client of every member; cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    https: Https,
}

impl Etcd {
    /// With the health check's certificate that kubeadm made on this node.
    pub fn connect() -> Result<Self, String> {
        Self::with(pki::ETCD_CA, HEALTH_CLIENT, HEALTH_CLIENT_KEY)
    }

    /// With the API server's client certificate of an external etcd.
    pub fn external() -> Result<Self, String> {
        Self::with(pki::ETCD_CA, pki::ETCD_CLIENT, pki::ETCD_CLIENT_KEY)
    }

    fn with(ca: &str, certificate: &str, key: &str) -> Result<Self, String> {
        let read = |name: &str| {
            let path = Path::new(pki::DIR).join(name);
            files::text(&path, MAX_PEM).map_err(|e| format!("{}: {}", e.object, e.cause))
        };
        let (ca, certificate, key) = (read(ca)?, read(certificate)?, read(key)?);
        let identity = Identity::Certificate(certificate.as_bytes(), key.as_bytes());
        Ok(Self { https: Https::new(ca.as_bytes(), identity, LIMIT)? })
    }

    /// Every member, read through the quorum of the one that is asked.
    pub fn members(&self, address: IpAddr) -> Result<MemberList, String> {
        let body =
            self.ask(&gateway::client_url(address), gateway::MEMBER_LIST, gateway::MEMBER_LIST_BODY)?;
        gateway::member_list(&body).map_err(|e| e.to_string())
    }

    /// Every voter as the one that is asked remembers them, quorum or not, by name; one that never published
    /// its name goes by its address.
    pub fn remembered_voters(&self, address: IpAddr) -> Result<Vec<Listed>, String> {
        let body = self.ask(&gateway::client_url(address), gateway::MEMBER_LIST, gateway::OWN_LIST_BODY)?;
        let members = gateway::member_list(&body).map_err(|e| e.to_string())?.members;
        let name =
            |m: &gateway::Member| if m.name.is_empty() { m.address.to_string() } else { m.name.clone() };
        let voters = members.iter().filter(|m| !m.learner);
        let mut voters: Vec<_> = voters.map(|m| Listed { name: name(m), address: m.address }).collect();
        voters.sort();
        Ok(voters)
    }

    /// One member's own state.
    pub fn status(&self, address: IpAddr) -> Result<Status, String> {
        self.status_at(&gateway::client_url(address))
    }

    /// The same, at a URL without a path.
    pub fn status_at(&self, url: &str) -> Result<Status, String> {
        let body = self.ask(url, gateway::STATUS, "{}")?;
        gateway::status(&body).map_err(|e| e.to_string())
    }

    /// Adds a learner.
    pub fn add_learner(&self, through: IpAddr, address: IpAddr) -> Result<(), String> {
        self.change(through, gateway::MEMBER_ADD, &gateway::add_learner(address))
    }

    /// Makes a learner a voter.
    pub fn promote(&self, through: IpAddr, id: u64) -> Result<(), String> {
        self.change(through, gateway::MEMBER_PROMOTE, &gateway::member(id))
    }

    /// Removes a member.
    pub fn remove(&self, through: IpAddr, id: u64) -> Result<(), String> {
        self.change(through, gateway::MEMBER_REMOVE, &gateway::member(id))
    }

    /// The cluster's record, read through the quorum; `None`: there is none.
    pub fn record(&self, through: IpAddr) -> Result<Option<ClusterRecord>, String> {
        self.record_at(&gateway::client_url(through))
    }

    /// The same, at a URL without a path.
    pub fn record_at(&self, url: &str) -> Result<Option<ClusterRecord>, String> {
        let answer = self.ask(url, gateway::RANGE, &gateway::range(gateway::RECORD_KEY))?;
        let Some(kept) = gateway::kept(&answer).map_err(|e| e.to_string())? else { return Ok(None) };
        let record = ClusterRecord::from_json(&kept.value)
            .map_err(|_| format!("the key {} does not hold what nodeimg writes", gateway::RECORD_KEY))?;
        Ok(Some(record.at_version(kept.revision.to_string())))
    }

    /// Writes it, unless it has changed since it was read (`false`).
    pub fn write_record(&self, through: IpAddr, record: &ClusterRecord) -> Result<bool, String> {
        let revision = record.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0);
        let json = record.to_json().map_err(|e| e.to_string())?;
        let body = gateway::put_if_unchanged(gateway::RECORD_KEY, &json, revision);
        let answer = self.ask(&gateway::client_url(through), gateway::TXN, &body)?;
        gateway::was_put(&answer).map_err(|e| e.to_string())
    }

    fn change(&self, through: IpAddr, path: &str, body: &str) -> Result<(), String> {
        self.ask(&gateway::client_url(through), path, body).map(drop)
    }

    fn ask(&self, url: &str, path: &str, body: &str) -> Result<Vec<u8>, String> {
        let answer = self
            .https
            .call(&format!("{}{path}", url.trim_end_matches('/')), Method::Post(body.as_bytes()))
            .map_err(|e| e.to_string())?;
        if answer.is_success() { Ok(answer.body) } else { Err(gateway::complaint(&answer.body)) }
    }
}
