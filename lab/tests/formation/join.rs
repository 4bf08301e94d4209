//! Joins: growth, and machines that come under a name which somebody has or had.

use crate::claims::*;
use crate::support::{Seeds, lab};
use nodeimg_contract::fault::Code;
use nodeimg_lab::Machine;

pub fn a_clone_evicts_nobody() {
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

pub fn one_grows_to_three() {
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
