//! Waiting for the own API server, and looking at the own Node object.

use super::api::Api;
use super::{Formation, LOOK};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::status::milestone;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A control plane needs two minutes on an emulated CPU.
const API_DEADLINE: Duration = Duration::from_secs(300);
const NODE_DEADLINE: Duration = Duration::from_secs(240);
/// A refused connection costs nothing; a `/readyz` runs some fifty checks in the API server.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// Returns when `/readyz` says ok.
pub fn await_api(f: &Formation<'_>) -> Result<(), Fault> {
    let address = SocketAddr::new(f.config.address, f.config.api_port());
    let fault = Fault {
        code: Code::ApiNotReady,
        object: address.to_string(),
        cause: "nothing listens there yet".into(),
        help: "look at /var/log/nodeimg/kubelet.log and /var/log/pods (kube-apiserver, etcd)".into(),
    };
    let wait = f.reporter.waiting("the API server of this node", API_DEADLINE, fault.clone());
    while TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_err() {
        if !f.pause(CONNECT_PAUSE) {
            return Err(fault);
        }
    }
    f.reporter.milestone(milestone::APISERVER);
    let api = Api::connect(&f.config)?;
    loop {
        match api.get("/readyz") {
            Ok(answer) if answer.status == 200 => break,
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                let failing: Vec<_> = text.lines().filter(|l| l.starts_with("[-]")).take(5).collect();
                wait.cause(format!("/readyz says {}: {}", answer.status, failing.join(" ")));
            }
            Err(e) => wait.cause(e.cause),
        }
        if !f.pause(ASK_PAUSE) {
            return Err(fault);
        }
    }
    f.reporter.milestone(milestone::READYZ);
    Ok(())
}

/// Returns when the Node is Ready.
pub fn await_ready(f: &Formation<'_>) -> Result<(), Fault> {
    let fault = Fault {
        code: Code::NodeNotReady,
        object: f.config.name.value.to_string(),
        cause: "the kubelet has not registered the node yet".into(),
        help: "look at /var/log/nodeimg/kubelet.log and \"kubectl describe node\"".into(),
    };
    let wait = f.reporter.waiting("the node to be Ready", NODE_DEADLINE, fault.clone());
    let api = Api::connect(&f.config)?;
    loop {
        match condition(f, &api) {
            Ok((true, _)) => break,
            Ok((false, why)) => wait.cause(why),
            Err(e) => wait.cause(e.cause),
        }
        if !f.pause(ASK_PAUSE) {
            return Err(fault);
        }
    }
    f.reporter.ready(true);
    f.reporter.milestone(milestone::READY);
    Ok(())
}

/// Tells when the node stops or starts being Ready; returns when the node goes down.
pub fn watch(f: &Formation<'_>) {
    let mut missed = 0;
    while f.pause(LOOK) {
        // Reading the credentials again each time: kubeadm renews them.
        match Api::connect(&f.config).and_then(|api| condition(f, &api)) {
            Ok((ready, _)) => {
                missed = 0;
                f.reporter.clear_fault(Code::ApiNotReady);
                f.reporter.ready(ready);
            }
            // One lost answer is a restart of the API server, not news.
            Err(fault) => {
                missed += 1;
                if missed >= 3 && !f.stopping() {
                    f.reporter.fault(fault);
                    f.reporter.ready(false);
                }
            }
        }
    }
}

/// The Node's Ready condition, and why.
fn condition(f: &Formation<'_>, api: &Api) -> Result<(bool, String), Fault> {
    let path = format!("/api/v1/nodes/{}", f.config.name.value);
    let answer = api.get(&path)?;
    match answer.status {
        200 => Ok(ready_condition(&answer.body)),
        404 => Ok((false, "the kubelet has not registered the node yet".into())),
        _ => Err(answer.fault(&path)),
    }
}

fn ready_condition(node: &[u8]) -> (bool, String) {
    let node: serde_json::Value = serde_json::from_slice(node).unwrap_or_default();
    let conditions = node.pointer("/status/conditions").and_then(|c| c.as_array());
    let text =
        |c: &serde_json::Value, key: &str| c.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    conditions
        .into_iter()
        .flatten()
        .find(|c| text(c, "type") == "Ready")
        .map(|c| (text(c, "status") == "True", text(c, "message")))
        .unwrap_or((false, "the node has no Ready condition yet".into()))
}

#[cfg(test)]
mod tests {
    use super::ready_condition;

    #[test]
    fn readiness_is_read_from_the_condition() {
        let node = br#"{"status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"False","message":"no CNI"}]}}"#;
        assert_eq!(ready_condition(node), (false, "no CNI".into()));
        let ready = String::from_utf8_lossy(node)
            .replace("\"Ready\",\"status\":\"False\"", "\"Ready\",\"status\":\"True\"");
        assert!(ready_condition(ready.as_bytes()).0);
        assert!(!ready_condition(b"{").0);
    }
}
