//! A cluster that plain kubeadm made: a node of nodeimg joins it.

use super::claims::{ALL, THREE, good, members, read, write};
use super::support::{Seeds, lab, tell};
use nodeimg_contract::status::milestone;
use nodeimg_lab::{Lab, Machine, by_hand};
use std::path::Path;
use std::time::Duration;

const READY: Duration = Duration::from_secs(240);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const FILES: [&str; 8] = [
    "ca.crt",
    "ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "sa.pub",
    "sa.key",
];

/// cp1 has no permit, so nodeinit leaves it alone once containerd runs; kubeadm is run on it by hand. Its CAs make the seed of
/// cp2, which joins.
pub fn a_cluster_of_kubeadm() {
    let by_hand = Seeds::with("old", &[("cp1", "10.77.0.11")], &["--no-permit"]);
    let lab = lab(&by_hand, &["cp1", "cp2"]);
    good(lab.node("cp1").power_on());
    containerd_runs(&lab, "cp1");
    let (address, endpoint) = (std::net::IpAddr::from([10, 77, 0, 11]), "api.lab.test");
    let version = sh(&lab, "cp1", "/usr/bin/kubeadm version -o short");
    sh(&lab, "cp1", &by_hand::prepare(1, address, endpoint));
    sh(&lab, "cp1", &by_hand::init("cp1", address, endpoint, version.trim()));
    let literal = "--from-literal=value=of kubeadm";
    good(lab.kubectl("cp1", &["create", "configmap", "kept", "-n", "default", literal]));

    let (_pki, seeds) = adopted(&lab);
    seeds.add("cp2", "control-plane", "10.77.0.12");
    lab.node("cp2").set_seed(Some(seeds.of("cp2")));
    good(lab.node("cp2").power_on());
    // The cluster's own network add-on brings the configuration to every node; here it is a bridge.
    containerd_runs(&lab, "cp2");
    sh(&lab, "cp2", &by_hand::bridge(2));
    good(lab.until_ready(&["cp2"], TEN_MINUTES));
    tell(&lab, "cp2", "joins a cluster of kubeadm");

    let members = good(lab.members_of("cp2"));
    assert_eq!(members.members.len(), 2, "{members:?}");
    assert!(members.members.iter().all(|m| !m.learner), "{members:?}");
    assert_eq!(good(lab.members_of("cp1")), members);
    let read = good(
        lab.kubectl("cp2", &["get", "configmap", "kept", "-n", "default", "-o", "jsonpath={.data.value}"]),
    );
    assert_eq!(read, "of kubeadm");
    // Nothing of nodeimg's add-ons is laid over the cluster's.
    let sets = good(lab.kubectl("cp2", &["get", "daemonsets", "-A", "-o", "name"]));
    assert!(!sets.contains("flannel"), "{sets}");
}

/// Two control planes of kubeadm, one of nodeimg that is wiped: nobody else has a nodeinit that could say how long the old one
/// is silent, and "nodeinit remove-member" has nowhere to run. It comes back by itself.
pub fn the_only_one_of_nodeimg_is_wiped() {
    let by_hand = Seeds::with("old", &THREE, &["--no-permit"]);
    let lab = lab(&by_hand, &ALL);
    let (first, endpoint) = (std::net::IpAddr::from([10, 77, 0, 11]), "api.lab.test");
    good(lab.power_on(&["cp1", "cp2"]));
    for (number, name) in [(1, "cp1"), (2, "cp2")] {
        containerd_runs(&lab, name);
        sh(&lab, name, &by_hand::prepare(number, first, endpoint));
    }
    let version = sh(&lab, "cp1", "/usr/bin/kubeadm version -o short");
    sh(&lab, "cp1", &by_hand::init("cp1", first, endpoint, version.trim()));
    sh(&lab, "cp2", &by_hand::join("cp2", [10, 77, 0, 12].into(), endpoint));
    write(&lab, "cp1", "of kubeadm");

    let (_pki, seeds) = adopted(&lab);
    seeds.add("cp3", "control-plane", "10.77.0.13");
    lab.node("cp3").set_seed(Some(seeds.of("cp3")));
    let comes = |what: &str| {
        good(lab.node("cp3").power_on());
        containerd_runs(&lab, "cp3");
        sh(&lab, "cp3", &by_hand::bridge(3));
        good(lab.until_ready(&["cp3"], TEN_MINUTES));
        tell(&lab, "cp3", what);
        let members = members(&lab, "cp3");
        assert_eq!(members.members.len(), 3, "{members:?}");
        assert!(members.members.iter().all(|m| !m.learner), "{members:?}");
        assert_eq!(good(lab.members_of("cp1")), members);
        members
    };
    let before = comes("joins a cluster of kubeadm");
    good(lab.node("cp3").power_cut());
    good(lab.node("cp3").wipe_disk());
    let after = comes("wiped, comes back to a cluster of kubeadm");
    assert_ne!(after, before, "another member");
    assert_eq!(after.cluster, before.cluster, "of the same cluster");
    assert_eq!(read(&lab, "cp3"), "of kubeadm");
}

/// Seeds with the CAs of the cluster that kubeadm made on cp1.
fn adopted(lab: &Lab) -> (tempfile::TempDir, Seeds) {
    let pki = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(pki.path().join("etcd")).expect("a folder");
    for file in FILES {
        let text = sh(lab, "cp1", &format!("cat /etc/kubernetes/pki/{file}"));
        std::fs::write(pki.path().join(file), text).expect("a file");
    }
    let seeds = Seeds::with("old", &[("cp1", "10.77.0.11")], &["--adopt", "--ca-dir", text(pki.path())]);
    (pki, seeds)
}

/// From then on its folders are as they stay.
fn containerd_runs(lab: &Lab, node: &str) {
    good(lab.until(&format!("containerd on {node}"), READY, || {
        lab.node(node).timeline().iter().any(|(name, _)| name == milestone::CONTAINERD)
    }));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn sh(lab: &Lab, node: &str, script: &str) -> String {
    let answer = good(lab.node(node).exec(&["/bin/sh", "-ec", script], TEN_MINUTES));
    assert_eq!(answer.code, Some(0), "{node}: {}{}", answer.stdout, answer.stderr);
    answer.stdout
}
