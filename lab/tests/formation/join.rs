//! Joins: growth, and machines that come under a name which somebody has or had.

use crate::claims::*;
use crate::support::{Seeds, lab, tell};
use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine};
use std::time::{Duration, Instant};

/// For how long a clone runs beside the living node.
const HELD: Duration = Duration::from_secs(100);

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
    // Longer than an old incarnation has to be silent before its member may go.
    let since = Instant::now();
    let evicted = || lab.members_of("cp1").is_ok_and(|now| now != before);
    good(lab.until("the clone to have had its time", HELD * 2, || evicted() || since.elapsed() > HELD));
    println!("  the clone: {:?}", lab.node("cp4").status().and_then(|s| s.fault));
    assert_eq!(members(&lab, "cp1"), before, "cp3 is still a member");
    good(lab.node("cp4").power_cut());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

/// 1 -> 3 -> 5, the data with it.
pub fn one_grows_to_five() {
    let (five, seeds) = (FIVE, one_and_four_added());
    let lab = lab(&seeds, &five);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    write(&lab, "cp1", "of one");
    for new in [["cp2", "cp3"], ["cp4", "cp5"]] {
        good(lab.power_on(&new));
        good(lab.until_ready(&new, READY * 2));
        new.iter().for_each(|n| tell(&lab, n, "growth"));
    }
    good(lab.until_ready(&five, READY));
    one_cluster(&lab, &five);
    assert_eq!(read(&lab, "cp5"), "of one");

    // Two of the five are dead for good. The other three are a majority: the dead go one after another.
    good(lab.power_cut(&["cp4", "cp5"]));
    remove_member(&lab, "cp1", "cp4");
    remove_member(&lab, "cp1", "cp5");
    one_cluster(&lab, &ALL);
    assert_eq!(read(&lab, "cp2"), "of one");
}

/// By the command of an administrator. etcd says for a moment that it still hears a dead one.
fn remove_member(lab: &Lab, on: &str, dead: &str) {
    let mut said = String::new();
    good(lab.until(&format!("{on} to remove {dead}"), READY, || {
        let answer = good(lab.node(on).exec(&["nodeinit", "remove-member", dead], Duration::from_secs(60)));
        said = format!("{}{}", answer.stdout, answer.stderr);
        answer.code == Some(0)
    }));
    println!("  {}", said.trim().replace('\n', "\n  "));
}

/// cp3's machine is gone for good; another one gets a new seed of the same name and address.
pub fn replaced_under_the_same_name() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &["cp1", "cp2", "cp3", "spare"]);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "before");
    let before = members(&lab, "cp1");
    good(lab.node("cp3").power_cut());
    seeds.again("cp3");
    lab.node("spare").set_seed(Some(seeds.of("cp3")));
    good(lab.node("spare").power_on());
    good(lab.until_ready(&["cp1", "cp2", "spare"], READY));
    one_cluster_of(&lab, &[("cp1", "cp1"), ("cp2", "cp2"), ("spare", "cp3")]);
    assert_ne!(members(&lab, "cp1"), before, "another member");
    assert_eq!(read(&lab, "spare"), "before");
}

/// cp3's machine is gone for good; it is taken out, and cp4 comes in its place.
pub fn replaced_under_another_name() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &["cp1", "cp2", "cp3", "cp4"]);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "before");
    good(lab.node("cp3").power_cut());
    remove_member(&lab, "cp1", "cp3");
    seeds.remove("cp3");
    seeds.add("cp4", "control-plane", "10.77.0.14");
    lab.node("cp4").set_seed(Some(seeds.of("cp4")));
    good(lab.node("cp4").power_on());
    good(lab.until_ready(&["cp1", "cp2", "cp4"], READY));
    one_cluster(&lab, &["cp1", "cp2", "cp4"]);
    assert_eq!(read(&lab, "cp4"), "before");
    let nodes = good(lab.kubectl("cp4", &["get", "nodes", "-o", "name"]));
    assert!(!nodes.contains("cp3"), "{nodes}");
}

/// cp2 is wiped when etcd has it as a learner, and comes back blank: its own learner goes, and it joins.
pub fn wiped_as_a_learner() {
    let (seeds, names) = (Seeds::new("lab", &[("cp1", "10.77.0.11")]), ["cp1", "cp2"]);
    seeds.add("cp2", "control-plane", "10.77.0.12");
    let lab = lab(&seeds, &names);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    cut_as_a_learner(&lab, "cp2");
    good(lab.node("cp2").wipe_disk());
    good(lab.node("cp2").power_on());
    good(lab.until_ready(&names, READY));
    one_cluster(&lab, &names);
}

/// cp2 dies for good when etcd has it as a learner: cp3, which comes next, is not held up for ever.
pub fn an_orphan_learner() {
    let seeds = Seeds::new("lab", &[("cp1", "10.77.0.11")]);
    seeds.add("cp2", "control-plane", "10.77.0.12");
    seeds.add("cp3", "control-plane", "10.77.0.13");
    let lab = lab(&seeds, &ALL);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    write(&lab, "cp1", "of one");
    cut_as_a_learner(&lab, "cp2");
    good(lab.node("cp3").power_on());
    good(lab.until("cp3 to wait for the learner", READY, || waits_for(&lab, "cp3", "which joins now")));
    good(lab.until_ready(&["cp1", "cp3"], READY * 2));
    one_cluster(&lab, &["cp1", "cp3"]);
    // It was not dead after all: it finds that it was removed, and joins anew.
    good(lab.node("cp2").power_on());
    good(lab.until_ready(&ALL, READY * 2));
    one_cluster(&lab, &ALL);
    assert_eq!(read(&lab, "cp2"), "of one");
}

fn cut_as_a_learner(lab: &Lab, name: &str) {
    good(lab.node(name).power_on());
    let learner = || lab.members_of("cp1").is_ok_and(|m| m.members.iter().any(|m| m.learner));
    good(lab.until(&format!("{name} to be a learner"), READY, learner));
    good(lab.node(name).power_cut());
    assert!(learner(), "it is one still");
}
