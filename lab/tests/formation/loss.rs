//! Losses: disks that are wiped or absent, and what the others do about it.

use crate::claims::*;
use crate::support::{Seeds, lab, tell};
use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine};
use std::time::Duration;

pub fn a_wiped_node_comes_back() {
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

pub fn two_wiped_wait() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write_named(&lab, "cp1", "earlier", "kept long before");
    let before = revision(&lab, "earlier");
    // Acknowledged at the last moment: etcd's database and the log's stated commit do not know of it yet.
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
    assert!(recovered.stdout.contains("everything in etcd's log is kept"), "{}", recovered.stdout);
    good(lab.until_ready(&ALL, READY * 2));
    one_cluster(&lab, &ALL);
    for name in ALL {
        assert_eq!(read(&lab, name), "kept by cp1");
        assert_eq!(read_named(&lab, name, "earlier"), "kept long before");
    }
    // A write after it has a revision that nobody can have seen before, through a lost member either.
    good(lab.kubectl("cp2", &["annotate", "configmap", "kept", "-n", "default", "after=recovery"]));
    assert!(revision(&lab, "kept") > before + 1_000_000_000, "{before} before");
}

/// Born alone and grown to five; then three disks are gone, and a fourth machine. Of the silent one nothing is known but by
/// the operator's word.
pub fn three_of_five_lost() {
    let (five, seeds) = (FIVE, one_and_four_added());
    let lab = lab(&seeds, &five);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    good(lab.power_on(&five[1..]));
    good(lab.until_ready(&five, READY * 3));
    write(&lab, "cp4", "of five");
    let knows = ["grep", "-q", "cp2.*cp3.*cp4.*cp5", "/var/lib/nodeimg/voters.json"];
    let all = || good(lab.node("cp1").exec(&knows, Duration::from_secs(20))).code == Some(0);
    good(lab.until("cp1 to know of five voters", READY, all));
    good(lab.power_cut(&five));
    for name in ["cp2", "cp3", "cp4"] {
        good(lab.node(name).wipe_disk());
    }
    let four = &five[..4];
    good(lab.power_on(four));
    good(lab.until("cp1 to miss the majority of five", READY, || fault(&lab, "cp1", Code::QuorumLost)));
    let recover = |more: &[&str]| {
        let command = [&["nodeinit", "recover", "--yes"], more].concat();
        good(lab.node("cp1").exec(&command, Duration::from_secs(120)))
    };
    let refused = recover(&[]);
    assert_eq!(refused.code, Some(1), "{} {}", refused.stdout, refused.stderr);
    assert!(
        refused.stderr.contains("--lost cp5") && !refused.stderr.contains("--lost cp2"),
        "{}",
        refused.stderr
    );
    let recovered = recover(&["--lost", "cp5"]);
    assert_eq!(recovered.code, Some(0), "{} {}", recovered.stdout, recovered.stderr);
    good(lab.until_ready(four, READY * 3));
    one_cluster(&lab, four);
    for name in four {
        assert_eq!(read(&lab, name), "of five");
    }
    // The one that was given up is found after all: it belongs to what is no more, and changes nothing.
    good(lab.node("cp5").power_on());
    let says = || fault(&lab, "cp5", Code::AnotherCluster);
    good(lab.until("cp5 to say that the others are of another birth", READY, says));
    one_cluster(&lab, four);
}

/// The etcd revision of a ConfigMap that cp1 shows.
fn revision(lab: &Lab, name: &str) -> u64 {
    let path = "jsonpath={.metadata.resourceVersion}";
    let text = good(lab.kubectl("cp1", &["get", "configmap", name, "-n", "default", "-o", path]));
    text.parse().unwrap_or_else(|_| panic!("no revision: {text}"))
}

pub fn recover_is_refused() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "of the living cluster");
    let refused = || {
        let command = ["nodeinit", "recover", "--yes"];
        let answer = good(lab.node("cp1").exec(&command, Duration::from_secs(120)));
        assert_eq!(answer.code, Some(1), "{} {}", answer.stdout, answer.stderr);
        assert!(answer.stderr.contains("nothing was changed"), "{}", answer.stderr);
        answer.stderr
    };
    assert!(refused().contains("there is nothing to recover"));
    // Its own etcd gone, the other two with a leader: going on alone would be a second cluster.
    let manifest = "/etc/kubernetes/manifests/etcd.yaml";
    let aside = good(lab.node("cp1").exec(&["mv", manifest, "/var/lib/etcd.yaml"], Duration::from_secs(20)));
    assert_eq!(aside.code, Some(0), "{}", aside.stderr);
    good(lab.until("cp1 to see that the others live", READY, || refused().contains("the cluster lives")));
    let back = good(lab.node("cp1").exec(&["mv", "/var/lib/etcd.yaml", manifest], Duration::from_secs(20)));
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    one_cluster(&lab, &ALL);
    // The others are off, and their disks have everything: who they are is said, and that they must be given up by name.
    good(lab.power_cut(&["cp2", "cp3"]));
    let silent = || refused().contains("--lost cp2 --lost cp3");
    good(lab.until("cp1 to have no leader and to hear nobody", READY, silent));
    good(lab.power_on(&["cp2", "cp3"]));
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
    assert_eq!(read(&lab, "cp2"), "of the living cluster");
}

/// All disks are gone, and with them the data. The permit is still valid: the same PKI has another birth. A console says so
/// as of any birth; administrators find an empty cluster under the credentials that they had.
pub fn all_wiped() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "gone");
    let (before, cluster) = (births(&lab), members(&lab, "cp1").cluster);
    good(lab.power_cut(&ALL));
    ALL.iter().for_each(|n| good(lab.node(n).wipe_disk()));
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
    let after = births(&lab);
    assert!(after.len() == 1 && after != before, "another birth: {after:?}");
    assert_ne!(members(&lab, "cp1").cluster, cluster, "another etcd");
    let kept = lab.kubectl("cp1", &["get", "configmap", "kept", "-n", "default"]);
    assert!(kept.is_err_and(|e| e.to_string().contains("NotFound")), "an empty cluster");
}

/// No disk is there at power-on: nobody is blank, nobody forms. The disks come back, and the cluster with them.
pub fn disks_absent_for_all() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "on the disks");
    let before = births(&lab);
    good(lab.power_cut(&ALL));
    ALL.iter().for_each(|n| good(lab.node(n).unplug_disk()));
    good(lab.power_on(&ALL));
    good(
        lab.until("all to miss their disks", READY, || ALL.iter().all(|n| fault(&lab, n, Code::DiskMissing))),
    );
    ALL.iter().for_each(|n| good(lab.node(n).plug_disk()));
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
    assert_eq!(births(&lab), before, "the old cluster");
    assert_eq!(read(&lab, "cp2"), "on the disks");
}

/// Two disks are absent and the third was wiped: a machine without its disk cannot say that it is blank.
pub fn a_blank_node_among_absent_disks() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "of two");
    let before = births(&lab);
    good(lab.power_cut(&ALL));
    ["cp1", "cp2"].iter().for_each(|n| good(lab.node(n).unplug_disk()));
    good(lab.node("cp3").wipe_disk());
    good(lab.power_on(&ALL));
    good(lab.until("cp3 to wait for the disks", READY, || {
        waits_for(&lab, "cp3", "cp1 (its state disk is not read yet)") && waits_for(&lab, "cp3", "cp2 (its")
    }));
    nothing_formed(&lab);
    ["cp1", "cp2"].iter().for_each(|n| good(lab.node(n).plug_disk()));
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
    assert_eq!(births(&lab), before, "the old cluster");
    assert_eq!(read(&lab, "cp3"), "of two");
}
