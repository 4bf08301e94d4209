//! Births: three control planes become one cluster, however they come up and whatever lies between them.

use crate::claims::*;
use crate::cuts;
use crate::support::{Seeds, lab, tell};
use nodeimg_contract::fault::Code;
use nodeimg_lab::Machine;
use std::collections::BTreeSet;
use std::time::Duration;

fn others(alone: &str) -> [&'static str; 2] {
    match alone {
        "cp1" => ["cp2", "cp3"],
        "cp2" => ["cp1", "cp3"],
        _ => ["cp1", "cp2"],
    }
}

pub fn three_form_one_cluster() {
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

pub fn one_comes_late() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&["cp3", "cp1"]));
    good(lab.until("cp1 to wait for cp2", READY, || waits_for(&lab, "cp1", "cp2")));
    good(lab.node("cp2").power_on());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

pub fn one_dead_on_arrival() {
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

pub fn a_partition_during_birth() {
    partitions(&["cp1"]);
}

/// Every side of three nodes, 2|1 and 1|2: nobody forms alone, nobody forms as two.
pub fn a_partition_on_any_side() {
    partitions(&ALL);
}

/// One after another is alone at power-on; the network is whole again when the last was.
fn partitions(alone: &[&str]) {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    for name in alone {
        let [one, other] = others(name);
        good(lab.power_cut(&ALL));
        good(lab.heal());
        good(lab.partition(&[name], &[one, other]));
        good(lab.power_on(&ALL));
        good(lab.until("both sides to wait", READY, || {
            waits_for(&lab, name, one) && waits_for(&lab, one, name) && waits_for(&lab, other, name)
        }));
        nothing_formed(&lab);
    }
    good(lab.heal());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

/// All have promised, nobody has started, and the network falls apart: cp3 loses its power when its promise is durable and
/// nobody has heard of it, and comes back on cp2's side of a partition.
pub fn a_partition_after_the_promise() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    cuts::until_promised(&lab);
    let promised = |n: &str| good(lab.records())[n].record.as_ref().and_then(|r| r.get("promised").cloned());
    let birth = promised("cp3").expect("cp3 has promised");
    good(lab.partition(&["cp1"], &["cp2", "cp3"]));
    good(lab.node("cp3").power_on());
    good(lab.until("all to wait", READY, || {
        waits_for(&lab, "cp1", "cp2") && waits_for(&lab, "cp2", "cp1") && waits_for(&lab, "cp3", "cp1")
    }));
    assert_eq!(promised("cp3").as_ref(), Some(&birth), "a promise is kept");
    nothing_formed(&lab);
    good(lab.heal());
    good(lab.until_ready(&ALL, READY));
    assert_eq!(births(&lab), BTreeSet::from([birth.to_string()]), "what was promised is born");
    one_cluster(&lab, &ALL);
}

/// Each node waits for those who are not there yet; who comes last makes no difference.
pub fn every_order() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let [first, second, third] = order.map(|n| ALL[n]);
        good(lab.node(first).power_on());
        good(lab.until("the first to wait", READY, || waits_for(&lab, first, second)));
        good(lab.node(second).power_on());
        good(lab.until("the second to wait", READY, || waits_for(&lab, second, third)));
        nothing_formed(&lab);
        good(lab.node(third).power_on());
        good(lab.until_ready(&ALL, READY));
        one_cluster(&lab, &ALL);
        good(lab.power_cut(&ALL));
        ALL.iter().for_each(|n| good(lab.node(n).wipe_disk()));
    }
}

/// Ten minutes ahead, right, and ten minutes behind. The last stands before the seed was made: its clock is put there, and
/// the fault says so. Certificates are backdated by an hour.
pub fn clocks_differ() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    lab.node("cp1").set_clock_offset(600);
    lab.node("cp3").set_clock_offset(-600);
    good(lab.power_on(&ALL));
    good(
        lab.until("cp3 to say that its clock is wrong", READY, || fault(&lab, "cp3", Code::TimeBeforeFloor)),
    );
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

/// The endpoint's name leads to an address first at which nobody answers.
pub fn a_dead_address_first() {
    let mut more = Vec::new();
    for address in ["10.77.0.99", "10.77.0.11", "10.77.0.12", "10.77.0.13"] {
        more.extend(["--endpoint-address", address]);
    }
    let seeds = Seeds::with("lab", &THREE, &more);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    ALL.iter().for_each(|n| tell(&lab, n, "a dead address first"));
    one_cluster(&lab, &ALL);
}

pub fn first_is_born_alone() {
    let seeds = Seeds::with("lab", &THREE, &["--method", "first"]);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    ALL.iter().for_each(|n| tell(&lab, n, "method first"));
    one_cluster(&lab, &ALL);
}

/// The seeds of cp2 and cp3 have no key of the cluster.
pub fn first_uploads_its_keys() {
    let seeds = Seeds::with("lab", &THREE, &["--method", "first", "--upload-certs"]);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY * 2));
    ALL.iter().for_each(|n| tell(&lab, n, "method first, uploaded keys"));
    one_cluster(&lab, &ALL);
    let key = |node: &str| {
        let command = ["sha256sum", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/etcd/ca.key"];
        good(lab.node(node).exec(&command, READY)).stdout
    };
    assert!(key("cp1").contains("etcd/ca.key"));
    assert_eq!(key("cp1"), key("cp3"), "cp3 has fetched what cp1 has");

    // kubeadm deletes what was uploaded two hours later: a node that comes back blank gets the keys all the same.
    good(lab.kubectl("cp1", &["delete", "secret", "kubeadm-certs", "-n", "kube-system"]));
    good(lab.node("cp3").power_cut());
    good(lab.node("cp3").wipe_disk());
    good(lab.node("cp3").power_on());
    good(lab.until_ready(&["cp3"], READY * 2));
    tell(&lab, "cp3", "wiped, after its cluster's keys were deleted");
    one_cluster(&lab, &ALL);
    assert_eq!(key("cp1"), key("cp3"), "cp3 has fetched them again");
}
