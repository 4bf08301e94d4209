//! Losses: disks that are wiped or absent, and what the others do about it.

use crate::claims::*;
use crate::support::{Seeds, lab, tell};
use nodeimg_contract::fault::Code;
use nodeimg_lab::Machine;
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
