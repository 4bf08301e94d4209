//! Births: three control planes become one cluster, however they come up and whatever lies between them.

use crate::claims::*;
use crate::support::{Seeds, lab, tell};
use nodeimg_lab::Machine;
use std::time::Duration;

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

pub fn first_is_born_alone() {
    let seeds = Seeds::with("lab", &THREE, &["--method", "first"]);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    ALL.iter().for_each(|n| tell(&lab, n, "method first"));
    one_cluster(&lab, &ALL);
}
