//! The role labels of workers.
//!
//! A kubelet may not set labels below `node-role.kubernetes.io/`; it sets `nodeimg/role=worker`, and whichever control plane
//! sees such a Node first gives it `node-role.kubernetes.io/worker`. Nothing else follows from a kubelet's own word. Every
//! control plane looks; two that set the same label set one.

use super::Formation;
use super::api::{Api, Method};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::image::Role;
use nodeimg_init_core::node_config::{NODEIMG_ROLE, WORKER_LABEL};
use serde_json::{Value, json};

const NODES: &str = "/api/v1/nodes";

/// Labels the workers that have no role label.
pub fn keep(f: &Formation<'_>) -> Result<(), Fault> {
    let api = Api::connect(&f.config)?;
    // From the API server's own memory: this is asked again and again.
    let query = format!(
        "{NODES}?resourceVersion=0&labelSelector={}%3D{},%21{}",
        encoded(NODEIMG_ROLE),
        Role::Worker,
        encoded(WORKER_LABEL)
    );
    let answer = api.get(&query)?;
    if !answer.is_success() {
        return Err(answer.fault(NODES));
    }
    for name in names(&answer.body) {
        let path = format!("{NODES}/{name}");
        let patch = json!({ "metadata": { "labels": { WORKER_LABEL: "" } } }).to_string();
        let answer = api.call(&path, Method::Merge(patch.as_bytes()))?;
        match answer.status {
            // It was deleted in between.
            404 => {}
            _ if answer.is_success() => f.reporter.line(format!("{name} has the role of a worker")),
            _ => return Err(answer.fault(&path)),
        }
    }
    Ok(())
}

/// Of a label's key in a query.
fn encoded(key: &str) -> String {
    key.replace('/', "%2F")
}

/// Names of a list of Nodes.
fn names(list: &[u8]) -> Vec<String> {
    let list: Value = serde_json::from_slice(list).unwrap_or_default();
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|n| n.pointer("/metadata/name")?.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_list() {
        let list = br#"{"items":[{"metadata":{"name":"w1"}},{"metadata":{}},{"metadata":{"name":"w2"}}]}"#;
        assert_eq!(names(list), ["w1", "w2"]);
        assert!(names(b"{").is_empty() && names(br#"{"items":null}"#).is_empty());
    }
}
