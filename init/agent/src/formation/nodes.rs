//! Waiting for the own API server, and looking at the own Node object.

use super::api::Api;
use super::{Formation, guest, last_words, records};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::Role;
use nodeimg_contract::paths;
use nodeimg_contract::status::milestone;
use nodeimg_init_core::formation::{Event, NodeSeen};
use nodeimg_init_core::kubeadm;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// A control plane needs two minutes on an emulated CPU.
const API_DEADLINE: Duration = Duration::from_secs(300);
const NODE_DEADLINE: Duration = Duration::from_secs(240);
/// One try of the wait; the first of a boot lasts as long as a good start may.
const API_PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PATIENCE: Duration = Duration::from_secs(45);
/// One try of the wait for the Node to be Ready.
const NODE_PATIENCE: Duration = Duration::from_secs(10);
/// A refused connection costs nothing; a `/readyz` runs some fifty checks in the API server.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ASK_PAUSE: Duration = Duration::from_millis(500);

/// Waits for a while until `/readyz` says ok. The wait's deadline runs on over several such tries.
pub fn await_api(f: &Formation<'_>) -> Result<Event, Fault> {
    let fault = Fault {
        code: Code::ApiNotReady,
        object: kubeadm::local_api(&f.config),
        cause: "nothing listens there yet".into(),
        help: "look at /var/log/nodeimg/kubelet.log and /var/log/pods (kube-apiserver, etcd)".into(),
    };
    // Nodes without an API server of their own do not come here.
    let address = f.config.address.ok_or_else(|| fault.clone())?;
    let address = SocketAddr::new(address, f.config.api_port());
    let mut kept = f.memory.api_wait.borrow_mut();
    let wait =
        kept.get_or_insert_with(|| f.reporter.waiting("the API server of this node", API_DEADLINE, fault));
    let patience = if f.memory.waited.replace(true) { API_PATIENCE } else { FIRST_PATIENCE };
    let begun = Instant::now();
    // What the pods of the last try have said explains the whole of this one.
    let words = last_words::of_this_boot(f);
    let because = |cause: String| match &words {
        Some(words) => wait.cause(format!("{cause}; {words}")),
        None => wait.cause(cause),
    };
    let mut listens = false;
    while begun.elapsed() < patience {
        let pause = if listens || TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_ok() {
            listens = true;
            f.reporter.milestone(milestone::APISERVER);
            match Api::connect(&f.config)?.get("/readyz") {
                Ok(answer) if answer.status == 200 => {
                    f.reporter.milestone(milestone::READYZ);
                    *kept = None;
                    return Ok(Event::ApiReady);
                }
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    let failing: Vec<_> = text.lines().filter(|l| l.starts_with("[-]")).take(5).collect();
                    because(format!("/readyz says {}: {}", answer.status, failing.join(" ")));
                }
                Err(e) => because(e.cause),
            }
            ASK_PAUSE
        } else {
            because("nothing listens there yet".into());
            CONNECT_PAUSE
        };
        if !f.pause(pause) {
            break;
        }
    }
    Ok(Event::ApiNotYet(records::etcd_data(Path::new(paths::ETCD))))
}

/// Waits for a while until the Node is Ready by the word of the kubelet that was started at `opened`: after a power cut the
/// object says for a while what it said before. If it is not, time has passed, and the machine looks around: an own API
/// server that does not answer any more, or an endpoint that leads elsewhere, is its question. The wait's deadline runs on
/// over several tries.
pub fn await_ready(f: &Formation<'_>, opened: Option<jiff::Timestamp>) -> Event {
    let fault = Fault {
        code: Code::NodeNotReady,
        object: f.config.name.value.to_string(),
        cause: "the kubelet has not registered the node yet".into(),
        help: "look at /var/log/nodeimg/kubelet.log and \"kubectl describe node\"".into(),
    };
    let mut kept = f.memory.node_wait.borrow_mut();
    let wait = kept.get_or_insert_with(|| f.reporter.waiting("the node to be Ready", NODE_DEADLINE, fault));
    let begun = Instant::now();
    let mut answered = false;
    while begun.elapsed() < NODE_PATIENCE {
        // A worker's credentials change while it waits.
        let seen = Api::of(f).and_then(|api| condition(f, &api));
        answered = seen.is_ok();
        match seen {
            Ok(Condition { ready: true, heartbeat, .. }) if is_fresh(heartbeat, opened) => {
                *kept = None;
                f.reporter.ready(true);
                f.reporter.milestone(milestone::READY);
                return Event::NodeReady;
            }
            Ok(Condition { ready: true, .. }) => wait.cause("the kubelet has not reported since this boot"),
            Ok(Condition { message, .. }) => wait.cause(message),
            Err(e) => wait.cause(e.cause),
        }
        if !f.pause(ASK_PAUSE) {
            break;
        }
    }
    if answered || f.config.role.value != Role::ControlPlane {
        return Event::Tick;
    }
    *kept = None;
    Event::ApiNotYet(records::etcd_data(Path::new(paths::ETCD)))
}

/// Looks once whether the Node is Ready, and tells.
pub fn look(f: &Formation<'_>) {
    // Reading the credentials again each time: kubeadm renews them.
    match Api::of(f).and_then(|api| condition(f, &api)) {
        Ok(condition) => {
            f.memory.missed.set(0);
            f.reporter.clear_fault(Code::ApiNotReady);
            f.reporter.ready(condition.ready);
        }
        // One lost answer is a restart of the API server, not news.
        Err(fault) => {
            guest::turn(f);
            f.memory.missed.set(f.memory.missed.get().saturating_add(1));
            if f.memory.missed.get() >= 3 && !f.stopping() {
                f.reporter.fault(last_words::explain(f, fault));
                f.reporter.ready(false);
            }
        }
    }
}

/// The Node object of a name, as an API server has it.
pub fn seen(api: &Api, name: &str) -> Result<NodeSeen, Fault> {
    let path = format!("/api/v1/nodes/{name}");
    let answer = api.get(&path)?;
    match answer.status {
        200 if ready_condition(&answer.body).ready => Ok(NodeSeen::Ready),
        200 => Ok(NodeSeen::NotReady),
        404 => Ok(NodeSeen::Absent),
        _ => Err(answer.fault(&path)),
    }
}

/// The Node's Ready condition.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    ready: bool,
    message: String,
    /// When the kubelet last wrote it, in whole seconds.
    heartbeat: Option<jiff::Timestamp>,
}

impl Condition {
    fn not_yet(message: &str) -> Self {
        Self { ready: false, message: message.into(), heartbeat: None }
    }
}

fn is_fresh(heartbeat: Option<jiff::Timestamp>, opened: Option<jiff::Timestamp>) -> bool {
    match (heartbeat, opened) {
        (Some(heartbeat), Some(opened)) => heartbeat.as_second() >= opened.as_second(),
        _ => false,
    }
}

fn condition(f: &Formation<'_>, api: &Api) -> Result<Condition, Fault> {
    let path = format!("/api/v1/nodes/{}", f.config.name.value);
    let answer = api.get(&path)?;
    match answer.status {
        200 => Ok(ready_condition(&answer.body)),
        404 => Ok(Condition::not_yet("the kubelet has not registered the node yet")),
        _ => Err(answer.fault(&path)),
    }
}

fn ready_condition(node: &[u8]) -> Condition {
    let node: serde_json::Value = serde_json::from_slice(node).unwrap_or_default();
    let conditions = node.pointer("/status/conditions").and_then(|c| c.as_array());
    let text =
        |c: &serde_json::Value, key: &str| c.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    conditions
        .into_iter()
        .flatten()
        .find(|c| text(c, "type") == "Ready")
        .map(|c| Condition {
            ready: text(c, "status") == "True",
            message: text(c, "message"),
            heartbeat: text(c, "lastHeartbeatTime").parse().ok(),
        })
        .unwrap_or_else(|| Condition::not_yet("the node has no Ready condition yet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_read_from_the_condition() {
        let node = r#"{"status":{"conditions":[{"type":"MemoryPressure","status":"False"},
            {"type":"Ready","status":"False","message":"no CNI","lastHeartbeatTime":"2026-01-01T00:00:10Z"}]}}"#;
        let condition = ready_condition(node.as_bytes());
        assert_eq!((condition.ready, condition.message.as_str()), (false, "no CNI"));
        let ready = node.replace("\"Ready\",\"status\":\"False\"", "\"Ready\",\"status\":\"True\"");
        assert!(ready_condition(ready.as_bytes()).ready);
        assert!(!ready_condition(b"{").ready);
    }

    #[test]
    fn what_was_said_before_this_boot_does_not_count() {
        let at = |t: &str| Some(t.parse().expect("a time"));
        assert!(!is_fresh(at("2026-01-01T00:00:09Z"), at("2026-01-01T00:00:10.9Z")));
        assert!(is_fresh(at("2026-01-01T00:00:10Z"), at("2026-01-01T00:00:10.9Z")));
        assert!(!is_fresh(None, at("2026-01-01T00:00:10Z")));
    }
}
