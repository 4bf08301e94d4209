//! etcd on nodes of its own.

use crate::claims::{ALL, READY, THREE, fault, good, members, one_cluster, read, write, write_named};
use crate::support::{Seeds, lab_of_roles, tell};
use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine};
use std::collections::BTreeSet;
use std::time::Duration;

const ETCD: [(&str, &str); 3] = [("etcd1", "10.77.0.21"), ("etcd2", "10.77.0.22"), ("etcd3", "10.77.0.23")];

/// The first so many of the control planes, and of the etcd nodes.
fn with_etcd(planes: usize, etcd: usize) -> (Seeds, Lab, Vec<&'static str>) {
    let of_etcd = || ETCD.iter().take(etcd);
    let wishes: Vec<String> = of_etcd().map(|(name, address)| format!("{name}={address}")).collect();
    let more: Vec<&str> = wishes.iter().flat_map(|w| ["--etcd", w.as_str()]).collect();
    let seeds = Seeds::with("lab", &THREE[..planes], &more);
    let others: Vec<_> = of_etcd().map(|(name, _)| (*name, "etcd")).collect();
    let lab = lab_of_roles(&seeds, &ALL[..planes], &others);
    (seeds, lab, of_etcd().map(|(name, _)| *name).collect())
}

/// The record that etcd keeps of itself: member and incarnation of each node.
fn recorded(lab: &Lab, node: &str) -> serde_json::Value {
    let text = good(lab.etcdctl(node, &["get", "/nodeimg/cluster", "--print-value-only"]));
    let map: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_str(map["data"]["members"].as_str().expect("members")).expect("JSON")
}

fn every_member_is_recorded(lab: &Lab, etcd: &[&str]) {
    one_cluster(lab, etcd);
    let (recorded, records) = (recorded(lab, etcd[0]), good(lab.records()));
    let names: BTreeSet<&str> = recorded.as_object().expect("a map").keys().map(String::as_str).collect();
    assert_eq!(names, etcd.iter().copied().collect());
    for name in etcd {
        let own = &records[*name].record.as_ref().expect("a record")["incarnation"];
        assert_eq!(&recorded[*name]["incarnation"], own, "{name}");
    }
}

fn forms_and_survives(planes: usize, count: usize) {
    let (_seeds, lab, etcd) = with_etcd(planes, count);
    let planes = &ALL[..planes];
    let all: Vec<&str> = etcd.iter().chain(planes).copied().collect();
    good(lab.power_on(&all));
    good(lab.until_ready(&all, READY));
    all.iter().for_each(|n| tell(&lab, n, "external etcd"));
    every_member_is_recorded(&lab, &etcd);
    write(&lab, "cp1", "before the cut");
    let map = ["get", "configmap", "kubeadm-config", "-n", "kube-system", "-o", "yaml"];
    let uploaded = good(lab.kubectl("cp1", &map));
    assert!(uploaded.contains("external:") && uploaded.contains("https://10.77.0.21:2379"), "{uploaded}");
    assert!(!uploaded.contains("initial-cluster") && !uploaded.contains("dataDir"), "{uploaded}");

    good(lab.power_cut(&all));
    // The control planes come first, and wait for their etcd.
    good(lab.power_on(planes));
    good(lab.power_on(&etcd));
    good(lab.until_ready(&all, READY));
    every_member_is_recorded(&lab, &etcd);
    let births: BTreeSet<String> = planes.iter().map(|plane| birth_by(&lab, plane)).collect();
    assert_eq!(births.len(), 1, "one cluster, by every API server: {births:?}");
    for plane in planes {
        assert_eq!(read(&lab, plane), "before the cut", "{plane}");
    }
    let nodes = good(lab.kubectl("cp1", &["get", "nodes", "-o", "name"]));
    let nodes: BTreeSet<&str> = nodes.lines().filter_map(|l| l.strip_prefix("node/")).collect();
    assert_eq!(nodes, planes.iter().copied().collect(), "every control plane is a Node, and nobody else");
}

/// The birth that the ConfigMap names, and the one before it, as a control plane's API server has it.
fn birth_by(lab: &Lab, plane: &str) -> String {
    let data = "jsonpath={.data.birth} {.data.formerly}";
    good(lab.kubectl(plane, &["get", "configmap", "nodeimg", "-n", "kube-public", "-o", data]))
}

pub fn one_etcd_node() {
    forms_and_survives(1, 1);
}

pub fn three_etcd_nodes() {
    forms_and_survives(3, 3);
}

pub fn a_wiped_one_comes_back() {
    let (_seeds, lab, etcd) = with_etcd(1, 3);
    good(lab.power_on(&["etcd1", "etcd2", "etcd3", "cp1"]));
    good(lab.until_ready(&["etcd1", "etcd2", "etcd3", "cp1"], READY));
    write(&lab, "cp1", "before the wipe");
    let before = members(&lab, "etcd1");
    good(lab.node("etcd3").power_cut());
    good(lab.node("etcd3").wipe_disk());
    good(lab.node("etcd3").power_on());
    // A minute of silence of the old incarnation, then the join.
    good(lab.until_ready(&["etcd3"], READY + Duration::from_secs(60)));
    tell(&lab, "etcd3", "after a wipe");
    every_member_is_recorded(&lab, &etcd);
    assert_ne!(members(&lab, "etcd1"), before, "another member");
    // It holds what the others hold: the cluster goes on with it and one more.
    good(lab.node("etcd1").power_cut());
    good(lab.until("an answer through etcd2 and etcd3", READY, || {
        let get = ["get", "configmap", "kept", "-n", "default", "-o", "jsonpath={.data.value}"];
        lab.kubectl("cp1", &get).is_ok_and(|value| value == "before the wipe")
    }));
}

/// Two of three etcd disks are gone for good. The control plane runs on through all of it.
pub fn recovered() {
    let (_seeds, lab, etcd) = with_etcd(1, 3);
    let all: Vec<&str> = etcd.iter().copied().chain(["cp1"]).collect();
    good(lab.power_on(&all));
    good(lab.until_ready(&all, READY));
    write(&lab, "cp1", "before the loss");
    let birth = || birth_by(&lab, "cp1");
    let before = birth();
    good(lab.power_cut(&etcd));
    ["etcd2", "etcd3"].iter().for_each(|n| good(lab.node(n).wipe_disk()));
    good(lab.power_on(&etcd));
    good(
        lab.until("etcd1 to say that the majority is gone", READY, || fault(&lab, "etcd1", Code::QuorumLost)),
    );
    let command = ["nodeinit", "recover", "--yes"];
    let answer = good(lab.node("etcd1").exec(&command, Duration::from_secs(120)));
    assert_eq!(answer.code, Some(0), "{} {}", answer.stdout, answer.stderr);
    good(lab.until_ready(&etcd, READY * 2));
    let is_back = || {
        let get = ["get", "configmap", "kept", "-n", "default", "-o", "jsonpath={.data.value}"];
        lab.kubectl("cp1", &get).is_ok_and(|value| value == "before the loss")
    };
    good(lab.until("the data to be there through cp1", READY, is_back));
    // etcd's nodes have another birth; the control plane's ConfigMap says which one it goes on from.
    let reborn = || {
        let now = birth();
        now.trim() != before.trim() && now.split_whitespace().nth(1) == Some(before.trim())
    };
    good(lab.until("the ConfigMap to follow", READY, reborn));
    good(lab.until("cp1 to be ready without a fault", READY, || {
        lab.node("cp1").status().is_some_and(|s| s.fault.is_none() && s.ready == Some(true))
    }));
    tell(&lab, "cp1", "through a recovery of its etcd");
    every_member_is_recorded(&lab, &etcd);
    write_named(&lab, "cp1", "later", "after the recovery");
    // And from the beginning.
    good(lab.power_cut(&["cp1"]));
    good(lab.power_on(&["cp1"]));
    good(lab.until_ready(&["cp1"], READY));
    assert_eq!(read(&lab, "cp1"), "before the loss");
}
