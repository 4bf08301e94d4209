//! Seeds that do not fit: the fault says who differs in what, and nobody writes to a cluster that is not its own.

use crate::claims::*;
use crate::support::{Seeds, lab, lab_of};
use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine};

pub fn seeds_of_two_clusters() {
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

/// cp3's seed differs from the others' in whatever must be the same; then only in its permit, which is the one before.
pub fn seeds_that_differ() {
    let seeds = Seeds::new("lab", &THREE);
    let other = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    let pem = |file: &str| (seeds.pem(file, 8), other.pem(file, 8));
    let ((ca, other_ca), (key, other_key)) = (pem("ca.crt"), pem("ca.key"));
    let subnets =
        "kubernetes: {podSubnet: 10.88.0.0/16, serviceSubnet: 10.99.0.0/16, dnsDomain: other.local}";
    let changes: [(&str, &str); 6] = [
        ("kubernetes: {}", subnets),
        ("name: api.lab.test", "name: api.other.test"),
        ("address: \"10.77.0.12\"", "address: \"10.77.0.22\""),
        ("method: quorum", "method: first"),
        (&ca, &other_ca),
        (&key, &other_key),
    ];
    let fields = [
        "nodeimg.kubernetes.podSubnet",
        "nodeimg.kubernetes.serviceSubnet",
        "nodeimg.kubernetes.dnsDomain",
        "nodeimg.endpoint.name",
        "nodeimg.controlPlanes",
        "nodeimg.formation.method",
        "nodeimg.pki.ca",
    ];
    let old = seeds.changed("cp3", "old", &[]);
    let cp3 = lab.node("cp3");
    cp3.set_seed(Some(seeds.changed("cp3", "changed", &changes)));
    good(lab.power_on(&ALL));
    differs(&lab, &fields);

    good(lab.power_cut(&ALL));
    good(cp3.wipe_disk());
    seeds.permit(&[]);
    cp3.set_seed(Some(old));
    good(lab.power_on(&ALL));
    differs(&lab, &["nodeimg.formation.permit"]);
}

fn differs(lab: &Lab, fields: &[&str]) {
    let says = |node: &str, of: &str| {
        fault_says(lab, node, Code::PeersDisagree, &[of])
            && fault_says(lab, node, Code::PeersDisagree, fields)
    };
    good(lab.until(&format!("all to see that cp3 differs in {}", fields.join(", ")), READY, || {
        says("cp1", "cp3") && says("cp2", "cp3") && says("cp3", "cp1")
    }));
    nothing_formed(lab);
}

/// cp1's list has the addresses of cp2 and cp3 in each other's place; then cp3 has another peer CA, and its own certificate.
pub fn wrong_names_and_certificates() {
    let seeds = Seeds::new("lab", &THREE);
    let other = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    let crossed = [("name: cp2", "name: both"), ("name: cp3", "name: cp2"), ("name: both", "name: cp3")];
    lab.node("cp1").set_seed(Some(seeds.changed("cp1", "crossed", &crossed)));
    good(lab.power_on(&ALL));
    let list = "nodeimg.controlPlanes";
    good(lab.until("the others to answer under other names", READY, || {
        fault_says(&lab, "cp1", Code::PeerUntrusted, &["cp2", "cp3 answers there instead of cp2"])
            && fault_says(&lab, "cp2", Code::PeersDisagree, &["cp1", list])
            && fault_says(&lab, "cp3", Code::PeersDisagree, &["cp1", list])
    }));
    nothing_formed(&lab);

    good(lab.power_cut(&["cp1", "cp3"]));
    lab.node("cp1").set_seed(Some(seeds.of("cp1")));
    let (own, foreign) = (seeds.pem("peer-ca.crt", 6), other.pem("peer-ca.crt", 6));
    lab.node("cp3").set_seed(Some(seeds.changed("cp3", "foreign", &[(&own, &foreign)])));
    good(lab.power_on(&["cp1", "cp3"]));
    good(lab.until("all to distrust", READY, || {
        fault_says(&lab, "cp1", Code::PeerUntrusted, &["cp3"])
            && fault_says(&lab, "cp2", Code::PeerUntrusted, &["cp3"])
            && fault_says(&lab, "cp3", Code::PeerUntrusted, &["cp1", "its certificate is not to be trusted"])
    }));
    nothing_formed(&lab);
}

/// What can be seen without asking anybody: the fault names the field.
pub fn seeds_without_sense() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    type Bad<'a> = (&'a str, Code, &'a str, &'a [(&'a str, &'a str)]);
    let bad: [Bad<'_>; 7] = [
        ("cp1", Code::SeedInvalid, "nodeimg.endpoint.name", &[("name: api.lab.test", "name: 10.77.0.11")]),
        ("cp2", Code::SeedInvalid, "nodeimg.controlPlanes", &[("name: cp3", "name: cp2")]),
        ("cp3", Code::NetOverlap, "", &[("kubernetes: {}", "kubernetes: {podSubnet: 10.77.0.0/16}")]),
        ("cp1", Code::NotListed, "", &[("- name: cp1", "- name: cp9")]),
        (
            "cp2",
            Code::SeedInvalid,
            "nodeimg.controlPlanes",
            &[("  - name: cp3\n    address: \"10.77.0.13\"\n", "")],
        ),
        ("cp3", Code::SeedInvalid, "nodeimg.peer", &[("hostname: cp3", "hostname: cp2")]),
        ("cp1", Code::NetOwnAddress, "10.77.0.99", &[("address: \"10.77.0.11\"", "address: \"10.77.0.99\"")]),
    ];
    for three in bad.chunks(3) {
        for (node, _, field, changes) in three {
            let seed = seeds.changed(node, &format!("{node} {field}"), changes);
            lab.node(node).set_seed(Some(seed));
        }
        let names: Vec<&str> = three.iter().map(|(node, ..)| *node).collect();
        good(lab.power_on(&names));
        let shows = |(node, code, object, _): &Bad<'_>| {
            let fault = lab.node(node).status().and_then(|s| s.fault);
            fault.is_some_and(|f| f.code == *code && f.object.contains(object))
        };
        good(lab.until("each to name what is wrong", READY, || three.iter().all(shows)));
        nothing_formed(&lab);
        good(lab.power_cut(&names));
    }
}

/// A permit that has ended, by the clock of the nodes.
pub fn an_expired_permit() {
    let seeds = Seeds::new("lab", &THREE);
    expired(&seeds, &lab(&seeds, &ALL));
}

fn expired(seeds: &Seeds, lab: &Lab) {
    seeds.permit_for("1m");
    ALL.iter().for_each(|n| lab.node(n).set_clock_offset(3_600));
    good(lab.power_on(&ALL));
    good(lab.until("all to say that the permit has ended", READY, || {
        ALL.iter().all(|n| fault_says(lab, n, Code::PermitMissing, &["permit ended at"]))
    }));
    let help = lab.node("cp1").status().and_then(|s| s.fault).expect("the fault").help;
    assert!(help.contains("nodeimg cluster permit"), "it says what to run: {help}");
    nothing_formed(lab);
}

/// The seeds of a new permit, and they form; nothing else is done to them.
pub fn a_new_permit() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    expired(&seeds, &lab);
    good(lab.power_cut(&ALL));
    seeds.permit(&[]);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

/// Peer certificates that have ended, by the clock of one node.
pub fn expired_certificates() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    lab.node("cp3").set_clock_offset(11 * 365 * 86_400);
    good(lab.power_on(&ALL));
    good(
        lab.until("cp3 to say so", READY, || {
            fault_says(&lab, "cp3", Code::PeerUntrusted, &["cp1", "expired"])
        }),
    );
    nothing_formed(&lab);
}

/// Two machines with one seed, both blank, before there is a cluster: one of them is born, or none.
pub fn two_machines_with_one_seed() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab_of(&seeds, &[("cp1", "cp1"), ("cp2", "cp2"), ("cp3", "cp3"), ("copy", "cp3")]);
    good(lab.power_on(&["cp1", "cp2", "cp3", "copy"]));
    let started =
        |n: &str| good(lab.records())[n].record.as_ref().is_some_and(|r| r.get("started").is_some());
    good(lab.until("a birth", READY * 2, || started("cp1") && started("cp2")));
    assert_eq!(births(&lab).len(), 1);
    let (member, other) = if started("cp3") { ("cp3", "copy") } else { ("copy", "cp3") };
    println!("  {member} is born, {other} says: {:?}", lab.node(other).status().and_then(|s| s.fault));
    assert!(!started(other), "one incarnation of the two");
    good(lab.node(other).power_cut());
    good(lab.until_ready(&["cp1", "cp2", member], READY * 2));
    one_cluster_of(&lab, &[("cp1", "cp1"), ("cp2", "cp2"), (member, "cp3")]);
}

/// A cluster of one, and machines that want in and must not: nothing of theirs is written to it.
pub fn a_foreign_node_is_not_taken_in() {
    let seeds = Seeds::new("lab", &[("cp1", "10.77.0.11")]);
    let other = Seeds::with("lab", &[("cp1", "10.77.0.11")], &["--no-permit"]);
    for (name, address) in [("cp2", "10.77.0.12"), ("cp3", "10.77.0.13")] {
        seeds.add(name, "control-plane", address);
        other.add(name, "control-plane", address);
    }
    let lab = lab(&seeds, &ALL);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    let written = || {
        let record = lab
            .kubectl("cp1", &["get", "configmap", "nodeimg", "-n", "kube-public", "-o", "jsonpath={.data}"]);
        (members(&lab, "cp1"), good(record), good(lab.kubectl("cp1", &["get", "nodes", "-o", "name"])))
    };
    let before = written();
    // Of another cluster altogether.
    lab.node("cp2").set_seed(Some(other.of("cp2")));
    // Of this one by its peer certificate, with the cluster CA of another.
    let pem = |file: &str| (seeds.pem(file, 8), other.pem(file, 8));
    let ((ca, other_ca), (key, other_key)) = (pem("ca.crt"), pem("ca.key"));
    let mixed = seeds.changed("cp3", "mixed", &[(&ca, &other_ca), (&key, &other_key)]);
    lab.node("cp3").set_seed(Some(mixed));
    good(lab.power_on(&["cp2", "cp3"]));
    good(lab.until("both to be kept out", READY, || {
        fault_says(&lab, "cp2", Code::PeerUntrusted, &["cp1"])
            && fault_says(&lab, "cp3", Code::PeersDisagree, &["cp1", "nodeimg.pki.ca"])
    }));
    assert_eq!(written(), before, "nothing was written");
    // With their own seeds they are welcome.
    for name in ["cp2", "cp3"] {
        good(lab.node(name).power_cut());
        good(lab.node(name).wipe_disk());
        lab.node(name).set_seed(Some(seeds.of(name)));
        good(lab.node(name).power_on());
    }
    good(lab.until_ready(&ALL, READY * 2));
    one_cluster(&lab, &ALL);
}
