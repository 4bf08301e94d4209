//! Three and more control planes as namespaces: one cluster, however they are started, cut and wiped.
//!
//! After every scenario [`one_cluster`] looks at the records and member lists of all nodes: one birth, the same members
//! everywhere, all of them voters, no incarnation twice.

mod support;

use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;
use support::{Seeds, lab, tell};

const READY: Duration = Duration::from_secs(150);
const THREE: [(&str, &str); 3] = [("cp1", "10.77.0.11"), ("cp2", "10.77.0.12"), ("cp3", "10.77.0.13")];
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

fn main() -> ExitCode {
    support::run(
        &[
            ("three_form_one_cluster_and_survive_a_cut_of_all", three_form_one_cluster),
            ("one_dead_on_arrival_waits_for_consent", one_dead_on_arrival),
            ("a_wiped_node_comes_back_as_another_member", a_wiped_node_comes_back),
            ("a_partition_during_birth_makes_no_second_cluster", a_partition_during_birth),
            ("first_is_born_alone_and_the_others_join", first_is_born_alone),
        ],
        &[
            ("one_comes_late_and_is_waited_for", one_comes_late),
            ("two_wiped_wait_and_the_third_keeps_its_data", two_wiped_wait),
            ("a_clone_of_a_seed_evicts_nobody", a_clone_evicts_nobody),
            ("seeds_of_two_clusters_do_not_mix", seeds_of_two_clusters),
            ("one_grows_to_three", one_grows_to_three),
        ],
    )
}

fn good<T>(result: Result<T, nodeimg_lab::LabError>) -> T {
    result.unwrap_or_else(|e| panic!("{e}"))
}

/// What must hold at the end of every scenario, for the nodes that are meant to be members.
fn one_cluster(lab: &Lab, names: &[&str]) {
    let records = good(lab.records());
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    let joined: BTreeSet<String> = names
        .iter()
        .map(|n| {
            let record = records[*n].record.as_ref().unwrap_or_else(|| panic!("{n} has no record"));
            text(record.get("joined").unwrap_or_else(|| panic!("{n} has not joined: {record}")))
        })
        .collect();
    assert_eq!(joined.len(), 1, "one birth: {records:?}");
    let incarnations: BTreeSet<String> =
        names.iter().map(|n| text(&records[*n].record.as_ref().expect("a record")["incarnation"])).collect();
    assert_eq!(incarnations.len(), names.len(), "an incarnation each");
    let first = members(lab, names[0]);
    let listed: BTreeSet<&str> = first.members.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(listed, names.iter().copied().collect(), "the members are the nodes");
    assert!(first.members.iter().all(|m| !m.learner), "all vote: {first:?}");
    for name in &names[1..] {
        assert_eq!(members(lab, name), first, "{name} lists the same");
    }
}

/// The members as a node's etcd lists them; asked again while etcd has no leader.
fn members(lab: &Lab, node: &str) -> nodeimg_lab::Members {
    let mut found = None;
    good(lab.until(&format!("the member list of {node}"), READY, || {
        found = lab.members_of(node).ok();
        found.is_some()
    }));
    found.expect("found")
}

/// Writes something that must never be lost.
fn write(lab: &Lab, node: &str, value: &str) {
    let literal = format!("--from-literal=value={value}");
    good(lab.kubectl(node, &["create", "configmap", "kept", "-n", "default", &literal]));
}

fn read(lab: &Lab, node: &str) -> String {
    good(lab.kubectl(node, &["get", "configmap", "kept", "-n", "default", "-o", "jsonpath={.data.value}"]))
}

fn fault(lab: &Lab, node: &str, code: Code) -> bool {
    lab.node(node).status().and_then(|s| s.fault).is_some_and(|f| f.code == code)
}

fn waits_for(lab: &Lab, node: &str, words: &str) -> bool {
    lab.node(node).status().and_then(|s| s.waiting).is_some_and(|w| w.what.contains(words))
}

fn three_form_one_cluster() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    ALL.iter().for_each(|n| tell(&lab, n, "power-on of all three"));
    one_cluster(&lab, &ALL);
    write(&lab, "cp1", "before the cut");

    good(lab.power_cut(&ALL));
    good(lab.power_on(&["cp3", "cp1", "cp2"]));
    good(lab.until_ready(&ALL, READY));
    ALL.iter().for_each(|n| tell(&lab, n, "after a cut of all three"));
    one_cluster(&lab, &ALL);
    assert_eq!(read(&lab, "cp2"), "before the cut");

    // It is a stock kubeadm cluster.
    let uploaded = good(lab.kubectl(
        "cp1",
        &[
            "get",
            "configmap",
            "kubeadm-config",
            "-n",
            "kube-system",
            "-o",
            "jsonpath={.data.ClusterConfiguration}",
        ],
    ));
    assert!(!uploaded.contains("initial-cluster"), "{uploaded}");
    for command in [["kubeadm", "certs", "check-expiration"], ["kubeadm", "upgrade", "plan"]] {
        let mut command = command.to_vec();
        if command[1] == "upgrade" {
            command.extend(["--kubeconfig=/etc/kubernetes/admin.conf", "v1.36.3"]);
        }
        let answer = good(lab.node("cp1").exec(&command, Duration::from_secs(120)));
        assert_eq!(answer.code, Some(0), "{command:?}: {} {}", answer.stdout, answer.stderr);
    }
}

fn one_comes_late() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&["cp3", "cp1"]));
    good(lab.until("cp1 to wait for cp2", READY, || waits_for(&lab, "cp1", "cp2")));
    good(lab.node("cp2").power_on());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

fn one_dead_on_arrival() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&["cp1", "cp2"]));
    good(lab.until("both to wait for cp3", READY, || {
        waits_for(&lab, "cp1", "cp3") && waits_for(&lab, "cp2", "cp3")
    }));
    good(lab.power_cut(&["cp1", "cp2"]));
    seeds.permit(&["cp3"]);
    good(lab.power_on(&["cp1", "cp2"]));
    good(lab.until_ready(&["cp1", "cp2"], READY));
    one_cluster(&lab, &["cp1", "cp2"]);
    good(lab.node("cp3").power_on());
    good(lab.until_ready(&["cp3"], READY));
    one_cluster(&lab, &ALL);
}

fn a_wiped_node_comes_back() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "before the wipe");
    let before = members(&lab, "cp1");
    good(lab.node("cp3").power_cut());
    good(lab.node("cp3").wipe_disk());
    good(lab.node("cp3").power_on());
    // A minute of silence of the old incarnation, then the join.
    good(lab.until_ready(&["cp3"], READY));
    tell(&lab, "cp3", "after a wipe");
    one_cluster(&lab, &ALL);
    assert_ne!(members(&lab, "cp1"), before, "another member");
    assert_eq!(read(&lab, "cp3"), "before the wipe");
}

fn two_wiped_wait() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "kept by cp1");
    good(lab.power_cut(&ALL));
    for name in ["cp2", "cp3"] {
        good(lab.node(name).wipe_disk());
    }
    good(lab.power_on(&ALL));
    good(lab.until("cp1 to say that the majority is gone", READY, || fault(&lab, "cp1", Code::QuorumLost)));
    let records = good(lab.records());
    let started = |n: &str| records[n].record.as_ref().is_some_and(|r| r.get("started").is_some());
    assert!(started("cp1") && !started("cp2") && !started("cp3"), "nobody formed anew: {records:?}");

    let recovered = good(lab.node("cp1").exec(&["nodeinit", "recover", "--yes"], Duration::from_secs(120)));
    assert_eq!(recovered.code, Some(0), "{} {}", recovered.stdout, recovered.stderr);
    good(lab.until_ready(&ALL, READY * 2));
    one_cluster(&lab, &ALL);
    assert_eq!(read(&lab, "cp3"), "kept by cp1");
}

fn a_partition_during_birth() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.partition(&["cp1"], &["cp2", "cp3"]));
    good(lab.power_on(&ALL));
    good(lab.until("both sides to wait", READY, || {
        waits_for(&lab, "cp1", "cp2") && waits_for(&lab, "cp2", "cp1") && waits_for(&lab, "cp3", "cp1")
    }));
    let records = good(lab.records());
    let started = records.values().any(|r| r.record.as_ref().is_some_and(|r| r.get("started").is_some()));
    assert!(!started, "nobody starts: {records:?}");
    good(lab.heal());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

fn a_clone_evicts_nobody() {
    let seeds = Seeds::new("lab", &THREE);
    seeds.add("cp4", "control-plane", "10.77.0.14");
    let nodes = ["cp1", "cp2", "cp3", "cp4"];
    let lab = lab(&seeds, &nodes);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    let before = members(&lab, "cp1");
    // A blank machine with the seed of cp3, which lives: it has cp3's name and address.
    lab.node("cp4").set_seed(Some(seeds.of("cp3")));
    good(lab.node("cp4").power_on());
    good(lab.until("the clone to be held up", READY, || {
        fault(&lab, "cp4", Code::PeerDuplicate)
            || fault(&lab, "cp4", Code::StaleMember)
            || waits_for(&lab, "cp4", "old member")
            || waits_for(&lab, "cp4", "cluster")
    }));
    assert_eq!(members(&lab, "cp1"), before, "cp3 is still a member");
    good(lab.node("cp4").power_cut());
    one_cluster(&lab, &ALL);
}

fn seeds_of_two_clusters() {
    let seeds = Seeds::new("lab", &THREE);
    let other = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    lab.node("cp3").set_seed(Some(other.of("cp3")));
    good(lab.power_on(&ALL));
    good(lab.until("cp1 to distrust cp3", READY, || fault(&lab, "cp1", Code::PeerUntrusted)));
    good(lab.until("cp3 to distrust the others", READY, || fault(&lab, "cp3", Code::PeerUntrusted)));
    good(lab.node("cp3").power_cut());
    good(lab.node("cp3").wipe_disk());
    lab.node("cp3").set_seed(Some(seeds.of("cp3")));
    good(lab.node("cp3").power_on());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

fn one_grows_to_three() {
    let seeds = Seeds::new("lab", &[("cp1", "10.77.0.11")]);
    let first = Seeds::of(&seeds, "cp1");
    assert!(first.is_dir());
    seeds.add("cp2", "control-plane", "10.77.0.12");
    seeds.add("cp3", "control-plane", "10.77.0.13");
    let lab = lab(&seeds, &ALL);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    write(&lab, "cp1", "of one");
    good(lab.power_on(&["cp2", "cp3"]));
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
    assert_eq!(read(&lab, "cp3"), "of one");
}

fn first_is_born_alone() {
    let seeds = Seeds::with("lab", &THREE, &["--method", "first"]);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    ALL.iter().for_each(|n| tell(&lab, n, "method first"));
    one_cluster(&lab, &ALL);
}
