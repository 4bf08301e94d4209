//! What scenarios claim of a lab's nodes: their records, member lists, data, faults and waits.

use crate::support::Seeds;
use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine, Members};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Until which state a node is waited for; a state that is reached ends the wait.
pub const READY: Duration = Duration::from_secs(300);
pub const THREE: [(&str, &str); 3] = [("cp1", "10.77.0.11"), ("cp2", "10.77.0.12"), ("cp3", "10.77.0.13")];
pub const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

pub const FIVE: [&str; 5] = ["cp1", "cp2", "cp3", "cp4", "cp5"];

/// A cluster that is born as cp1 alone; cp2 to cp5 have seeds to join it.
pub fn one_and_four_added() -> Seeds {
    let seeds = Seeds::new("lab", &THREE[..1]);
    for n in 2..=5 {
        seeds.add(&format!("cp{n}"), "control-plane", &format!("10.77.0.1{n}"));
    }
    seeds
}

pub fn good<T>(result: Result<T, nodeimg_lab::LabError>) -> T {
    result.unwrap_or_else(|e| panic!("{e}"))
}

/// What must hold at the end of every scenario, for the nodes that are meant to be members.
pub fn one_cluster(lab: &Lab, names: &[&str]) {
    let same: Vec<(&str, &str)> = names.iter().map(|n| (*n, *n)).collect();
    one_cluster_of(lab, &same);
}

/// The same for machines that are members under other names.
pub fn one_cluster_of(lab: &Lab, machines: &[(&str, &str)]) {
    let records = good(lab.records());
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let joined: BTreeSet<String> = machines
        .iter()
        .map(|(n, _)| {
            let record = records[*n].record.as_ref().unwrap_or_else(|| panic!("{n} has no record"));
            text(record.get("joined").unwrap_or_else(|| panic!("{n} has not joined: {record}")))
        })
        .collect();
    assert_eq!(joined.len(), 1, "one birth: {records:?}");
    let incarnation = |n: &str| text(&records[n].record.as_ref().expect("a record")["incarnation"]);
    let incarnations: BTreeSet<String> = machines.iter().map(|(n, _)| incarnation(n)).collect();
    assert_eq!(incarnations.len(), machines.len(), "an incarnation each");
    let first = members(lab, machines[0].0);
    let listed: BTreeSet<&str> = first.members.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(listed, machines.iter().map(|(_, name)| *name).collect(), "the members are the nodes");
    assert!(first.members.iter().all(|m| !m.learner), "all vote: {first:?}");
    for (name, _) in &machines[1..] {
        assert_eq!(members(lab, name), first, "{name} lists the same");
    }
}

/// The births that the disks of this lab have started, each as its whole text.
pub fn births(lab: &Lab) -> BTreeSet<String> {
    let records = good(lab.records());
    records.values().filter_map(|r| Some(r.record.as_ref()?.get("started")?.to_string())).collect()
}

/// What must hold while nodes have to wait: nobody has started a birth, and nobody goes to join one.
pub fn nothing_formed(lab: &Lab) {
    let records = good(lab.records());
    let begun = |r: &Value| r.get("started").is_some() || r.get("joining").is_some();
    let any = records.values().any(|r| r.record.as_ref().is_some_and(begun));
    assert!(!any, "nobody forms or joins: {records:?}");
}

/// The members as a node's etcd lists them; asked again while etcd has no leader.
pub fn members(lab: &Lab, node: &str) -> Members {
    let mut found = None;
    good(lab.until(&format!("the member list of {node}"), READY, || {
        found = lab.members_of(node).ok();
        found.is_some()
    }));
    found.expect("found")
}

/// Writes something that must never be lost.
pub fn write(lab: &Lab, node: &str, value: &str) {
    write_named(lab, node, "kept", value);
}

/// The same, in a ConfigMap of this name.
pub fn write_named(lab: &Lab, node: &str, name: &str, value: &str) {
    let literal = format!("--from-literal=value={value}");
    good(lab.kubectl(node, &["create", "configmap", name, "-n", "default", &literal]));
}

pub fn read(lab: &Lab, node: &str) -> String {
    read_named(lab, node, "kept")
}

pub fn read_named(lab: &Lab, node: &str, name: &str) -> String {
    good(lab.kubectl(node, &["get", "configmap", name, "-n", "default", "-o", "jsonpath={.data.value}"]))
}

pub fn fault(lab: &Lab, node: &str, code: Code) -> bool {
    lab.node(node).status().and_then(|s| s.fault).is_some_and(|f| f.code == code)
}

/// Whether a node shows this fault, with all of these words in its cause.
pub fn fault_says(lab: &Lab, node: &str, code: Code, words: &[&str]) -> bool {
    let says = |cause: &str| words.iter().all(|w| cause.contains(w));
    lab.node(node).status().and_then(|s| s.fault).is_some_and(|f| f.code == code && says(&f.cause))
}

pub fn waits_for(lab: &Lab, node: &str, words: &str) -> bool {
    lab.node(node).status().and_then(|s| s.waiting).is_some_and(|w| w.what.contains(words))
}
