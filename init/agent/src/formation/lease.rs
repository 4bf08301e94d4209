//! The Lease of formation: who does what is done once for the cluster.
//!
//! A `coordination.k8s.io/v1` Lease, replaced by resourceVersion, so that one of two wins. As with Kubernetes' own
//! leader election nobody's clock is believed: a Lease is over when it has not changed for its duration while this node
//! watched. A holder of this node's own name is this node, before its last boot.

use super::Formation;
use super::api::Api;
use nodeimg_contract::fault::Fault;
use serde_json::{Value, json};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const NAME: &str = "nodeimg-formation";
/// Seconds without a renewal after which another may take it.
const SECONDS: u64 = 60;
const RENEW: Duration = Duration::from_secs(15);

/// What was seen of somebody else's Lease: its version, and since when it is that.
#[derive(Debug, Default)]
pub struct Watched {
    seen: Option<(String, Instant)>,
}

/// Whose it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    /// This node's.
    Own,
    /// Another's.
    Other(String),
}

/// Takes or renews it.
pub fn hold(f: &Formation<'_>) -> Result<Holder, Fault> {
    let api = Api::connect(&f.config)?;
    take(&api, f.config.name.value.as_str(), &mut f.memory.lease.borrow_mut())
}

/// Renews it in the background while `work` goes on.
pub fn renewed<T>(f: &Formation<'_>, work: impl FnOnce() -> T) -> T {
    let name = f.config.name.value.to_string();
    std::thread::scope(|scope| {
        let (done, ends) = channel::<()>();
        let config = &f.config;
        let _ = std::thread::Builder::new().name("lease".into()).spawn_scoped(scope, move || {
            while ends.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
                // Whatever is done can be done twice: losing the Lease ends nothing that has begun.
                let _ = Api::connect(config).and_then(|api| take(&api, &name, &mut Watched::default()));
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn take(api: &Api, own: &str, watched: &mut Watched) -> Result<Holder, Fault> {
    let path = format!("{LEASES}/{NAME}");
    let found = api.get(&path)?;
    let found = match found.status {
        404 => None,
        _ if found.is_success() => Some(serde_json::from_slice::<Value>(&found.body).unwrap_or_default()),
        _ => return Err(found.fault(&path)),
    };
    if let Some(holder) =
        found.as_ref().and_then(|lease| held_by_another(lease, own, watched, Instant::now()))
    {
        return Ok(Holder::Other(holder));
    }
    let version = found.as_ref().and_then(|l| l.pointer("/metadata/resourceVersion")).cloned();
    let body = lease(own, version).to_string();
    let answer = match &found {
        None => api.post(LEASES, body.as_bytes())?,
        Some(_) => api.put(&path, body.as_bytes())?,
    };
    match answer.status {
        // Somebody was quicker; who, is seen at the next look.
        409 => Ok(Holder::Other("another control plane".into())),
        _ if answer.is_success() => Ok(Holder::Own),
        _ => Err(answer.fault(&path)),
    }
}

fn lease(own: &str, version: Option<Value>) -> Value {
    let now = crate::clock::now();
    let mut metadata = json!({ "name": NAME, "namespace": "kube-system" });
    if let (Some(version), Some(fields)) = (version, metadata.as_object_mut()) {
        fields.insert("resourceVersion".into(), version);
    }
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": own,
            "leaseDurationSeconds": SECONDS,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        },
    })
}

/// The other holder of a Lease that is not over.
fn held_by_another(lease: &Value, own: &str, watched: &mut Watched, now: Instant) -> Option<String> {
    let holder = lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
    if holder.is_empty() || holder == own {
        return None;
    }
    let version = lease.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let long = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(SECONDS);
    match &watched.seen {
        Some((seen, since)) if seen == version => {
            (now.duration_since(*since) < Duration::from_secs(long)).then(|| holder.to_owned())
        }
        _ => {
            watched.seen = Some((version.to_owned(), now));
            Some(holder.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_over_when_it_has_not_changed_for_its_duration() {
        let held = |by: &str, version: &str| {
            json!({ "metadata": { "resourceVersion": version },
                "spec": { "holderIdentity": by, "leaseDurationSeconds": 60, "renewTime": "2000-01-01T00:00:00Z" } })
        };
        let (mut watched, begin) = (Watched::default(), Instant::now());
        let mut at = |lease: &Value, s: u64| {
            held_by_another(lease, "cp1", &mut watched, begin + Duration::from_secs(s))
        };
        assert_eq!(at(&held("cp1", "1"), 0), None, "one's own, before the last boot");
        assert_eq!(at(&held("cp2", "1"), 0).as_deref(), Some("cp2"), "an old time proves nothing");
        assert_eq!(at(&held("cp2", "2"), 59).as_deref(), Some("cp2"), "renewed");
        assert_eq!(at(&held("cp2", "2"), 118).as_deref(), Some("cp2"));
        assert_eq!(at(&held("cp2", "2"), 119), None, "60 s without a renewal");
        assert_eq!(at(&json!({}), 0), None, "given back");
    }

    #[test]
    fn a_lease_is_what_the_api_takes() {
        let lease = lease("cp1", Some("7".into()));
        assert_eq!(lease.pointer("/metadata/resourceVersion"), Some(&json!("7")));
        let time = lease.pointer("/spec/renewTime").and_then(Value::as_str).expect("a time");
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == "2026-01-01T00:00:00.000000Z".len());
    }
}
