//! What the later commands do to a cluster's folder.

use super::roles::{large, seed_of};
use super::*;
use crate::args::ClusterCommand;
use clap::Parser;

fn command(words: &[&str]) -> ClusterCommand {
    let words = [&["nodeimg", "cluster"], words].concat();
    match crate::args::Cli::try_parse_from(words).expect("good words").command {
        crate::args::Command::Cluster(command) => command,
        _ => panic!("a command of clusters"),
    }
}

/// Runs `seed`, `permit` or `remove-node` on a folder.
pub fn run(folder: &Path, name: &str, words: &[&str]) -> Result<String, ClusterError> {
    let folder = folder.to_str().expect("text");
    match command(&[&[name, folder], words].concat()) {
        ClusterCommand::Seed(args) => add(&args).map(|said| said.to_string()),
        ClusterCommand::Permit(args) => permit(&args).map(|said| said.to_string()),
        ClusterCommand::RemoveNode(args) => remove(&args).map(|said| said.to_string()),
        ClusterCommand::Kubeconfig(args) => renew(&args).map(|said| said.to_string()),
        ClusterCommand::New(_) => panic!("not new"),
    }
}

fn made_large(external: bool) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = new(&large(folder.path().join("lab"), external)).expect("a cluster");
    (folder, made.folder)
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn one_more_worker_has_a_token_that_the_cluster_can_be_told() {
    let (_folder, lab) = made_large(false);
    let words = ["--role", "worker", "--label", "example.com/rack=7", "--taint", "a=b:NoSchedule"];
    let said = run(&lab, "seed", &[&["w3"], &words[..]].concat()).expect("a seed");
    let seed = seed_of(&lab, "w3");
    let token = seed.join.expect("a way to join").token.token;
    assert!(!said.contains(token.split_once('.').expect("two parts").1), "no secret is printed");
    assert_eq!(seed.node.labels["example.com/rack"], "7");
    assert_eq!(seed.node.taints, ["a=b:NoSchedule"]);
    let file = lab.join("tokens/w3.json");
    assert!(said.contains(&format!("apply -f {}", file.display())), "{said}");
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let secret: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("text")).expect("JSON");
    assert_eq!(
        token,
        format!(
            "{}.{}",
            secret["stringData"]["token-id"].as_str().expect("text"),
            secret["stringData"]["token-secret"].as_str().expect("text")
        )
    );
    // Again: another token, the old seed is kept.
    run(&lab, "seed", &["w3"]).expect("a new seed");
    assert_ne!(seed_of(&lab, "w3").join.expect("a way to join").token.token, token);
    assert_eq!(seed_of(&lab, "w3").node.taints, ["a=b:NoSchedule"], "its settings stay");
    let replaced = names(&lab.join("replaced"));
    assert_eq!(names(&lab.join("replaced").join(&replaced[0])), ["w3", "w3.img"]);
}

#[test]
fn control_planes_that_are_added_join_and_form_nothing() {
    let (_folder, lab) = made_large(false);
    let add = |name: &str, address: &str| {
        run(&lab, "seed", &[name, "--role", "control-plane", "--address", address])
    };
    let said = add("cp4", "192.0.2.14").expect("a seed");
    assert!(said.contains("4 control planes now: add one more"), "{said}");
    assert!(said.contains("new seeds of: cp1, cp2, cp3, w1, w2\n"), "{said}");
    let again = run(&lab, "seed", &["cp4"]).expect("a seed");
    assert!(!again.contains("new seeds of"), "{again}");
    run(&lab, "seed", &["w3", "--role", "worker"]).expect("who only asks does not count");
    let said = add("cp5", "192.0.2.15").expect("a seed");
    assert!(!said.contains("add one more"), "{said}");
    let seed = seed_of(&lab, "cp5");
    assert_eq!(seed.control_planes.len(), 5);
    assert!(seed.formation.expect("formation").permit.is_none());
    assert_eq!(seed_of(&lab, "cp1").pki, seed.pki, "the same CAs");
    assert_eq!(seed_of(&lab, "cp1").peer.expect("an identity").ca, seed.peer.expect("an identity").ca);
    // Asked for: the permit of the others.
    run(&lab, "seed", &["cp5", "--permit"]).expect("a seed");
    assert_eq!(seed_of(&lab, "cp5").formation, seed_of(&lab, "cp1").formation);
}

#[test]
fn a_permit_is_one_for_all_who_are_born() {
    let (_folder, lab) = made_large(false);
    let before = seed_of(&lab, "cp1");
    run(&lab, "seed", &["w3", "--role", "worker"]).expect("a seed");
    let said = run(&lab, "permit", &["--without", "cp3", "--permit-ttl", "30d"]).expect("new seeds");
    assert!(said.contains("without cp3"), "{said}");
    let seeds: Vec<_> = ["cp1", "cp2", "cp3"].map(|name| seed_of(&lab, name)).into();
    assert!(seeds.iter().all(|s| s.formation == seeds[0].formation));
    let formation = seeds[0].formation.clone().expect("formation");
    assert_eq!(formation.without, ["cp3"]);
    let nonce = |s: &nodeimg_contract::seed::NodeSeed| {
        s.formation.clone().and_then(|f| f.permit).expect("a permit").nonce
    };
    assert_ne!(nonce(&before), nonce(&seeds[0]));
    assert!(!said.contains(&nonce(&seeds[0])));
    assert_eq!((&before.pki, &before.peer), (&seeds[0].pki, &seeds[0].peer));
    // The same tokens hold as long as the permit.
    let ends = seeds[0].formation.clone().and_then(|f| f.permit).expect("a permit").not_after;
    let own = ["w1", "w2", "w3"].map(|name| seed_of(&lab, name).join.expect("a way to join").token);
    assert!(own.iter().chain(&seeds[1].bootstrap_tokens).all(|t| t.expires == ends));
    let words = |s: &nodeimg_contract::seed::NodeSeed| {
        s.bootstrap_tokens.iter().map(|t| t.token.clone()).collect::<Vec<_>>()
    };
    assert_eq!(words(&before), words(&seeds[0]));
    assert!(words(&before).contains(&own[0].token));
    let told = std::fs::read_to_string(lab.join("tokens/w3.json")).expect("a file");
    assert!(
        told.contains(&ends.strftime("%Y-%m-%dT%H:%M:%S").to_string()) && said.contains("tokens of 3 nodes"),
        "{told}{said}"
    );
    assert_eq!(names(&lab.join("replaced").join(&names(&lab.join("replaced"))[0])).len(), 12);
    // A machine that is replaced has the permit with its consent.
    run(&lab, "seed", &["cp2", "--permit"]).expect("a seed");
    assert_eq!(seed_of(&lab, "cp2").formation, seed_of(&lab, "cp1").formation);
    assert_eq!(
        names(&lab),
        ["admin.kubeconfig", "cluster.toml", "pki", "replaced", "seeds", "tokens"],
        "nothing is left over"
    );
    for (words, wanted) in [
        (&["--without", "cp2,cp3"][..], "no majority"),
        (&["--without", "cp2", "--without", "cp3"], "no majority"),
        (&["--without", "cp9"], "no node of this cluster"),
        (&["--without", "w1"], "name one of: cp1, cp2, cp3"),
    ] {
        let said = run(&lab, "permit", words).expect_err(wanted).to_string();
        assert!(said.contains(wanted) && said.contains("\nhelp: "), "{said}");
    }
}

#[test]
fn with_an_external_etcd_the_permit_is_its_nodes() {
    let (_folder, lab) = made_large(true);
    let before = seed_of(&lab, "cp1");
    run(&lab, "permit", &["--without", "etcd3"]).expect("new seeds");
    assert_eq!(seed_of(&lab, "etcd1").formation.expect("formation").without, ["etcd3"]);
    let after = seed_of(&lab, "cp1");
    assert_eq!((&after.pki, &after.formation), (&before.pki, &before.formation));
    let said = run(&lab, "permit", &["--without", "cp1"]).expect_err("refused").to_string();
    assert!(said.contains("it is none\nhelp: name one of: etcd1, etcd2, etcd3"), "{said}");
}

#[test]
fn a_node_that_is_removed_is_in_no_new_seed() {
    let (_folder, lab) = made_large(false);
    let said = run(&lab, "remove-node", &["cp3", "--offline"]).expect("removed");
    assert!(
        said.contains("nodeinit remove-member cp3")
            && said.contains("reset --yes --poweroff\n")
            && said.contains("take its seed away")
            && said.contains("2 control planes are left"),
        "{said}"
    );
    assert!(!lab.join("seeds/cp3").exists() && !lab.join("seeds/cp3.img").exists());
    run(&lab, "seed", &["cp4", "--role", "control-plane", "--address", "192.0.2.14"]).expect("a seed");
    let listed: Vec<_> = seed_of(&lab, "cp4").control_planes.into_iter().map(|n| n.name).collect();
    assert_eq!(listed, ["cp1", "cp2", "cp4"]);
    run(&lab, "remove-node", &["w1", "--offline"]).expect("removed");
    for name in ["cp4", "cp2"] {
        run(&lab, "remove-node", &[name, "--offline"]).expect("removed");
    }
    let last = run(&lab, "remove-node", &["cp1", "--offline"]).expect_err("refused").to_string();
    assert!(last.contains("the last"), "{last}");
}

#[test]
fn a_folder_that_is_no_clusters_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, words) in [("seed", &["w1"][..]), ("permit", &[]), ("remove-node", &["w1"])] {
        let said = run(folder.path(), name, words).expect_err("refused").to_string();
        assert!(said.contains("cluster.toml\nhelp: "), "{said}");
    }
    let (_folder, lab) = made_large(false);
    for (words, wanted) in [
        (&["w9"][..], "known to this cluster"),
        (&["w1", "--role", "control-plane"], "what this node has"),
        (&["etcd1", "--role", "etcd", "--address", "192.0.2.21"], "beside its API servers"),
        (&["cp4", "--role", "control-plane"], "complete"),
        (&["w9", "--role", "worker", "--address", "192.0.2.11"], "twice"),
    ] {
        let before = std::fs::read(lab.join("cluster.toml")).expect("a file");
        let said = run(&lab, "seed", words).expect_err(wanted).to_string();
        assert!(said.contains(wanted) && said.contains("\nhelp: "), "{wanted}: {said}");
        assert_eq!(std::fs::read(lab.join("cluster.toml")).expect("a file"), before);
        assert_eq!(names(&lab), ["admin.kubeconfig", "cluster.toml", "pki", "seeds"]);
    }
}

#[test]
fn a_seed_that_is_made_later_has_the_keys_although_the_others_fetch_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spec = large(folder.path().join("lab"), false);
    (spec.method, spec.upload_certs) = (nodeimg_contract::birth::Method::First, true);
    let lab = new(&spec).expect("a cluster").folder;
    assert!(seed_of(&lab, "cp2").pki.is_none());
    run(&lab, "seed", &["cp2"]).expect("a seed");
    let again = seed_of(&lab, "cp2");
    assert_eq!(again.pki, seed_of(&lab, "cp1").pki);
    assert!(again.join.is_none(), "it needs no token");
}

#[test]
fn an_adopted_cluster_brings_its_authorities_and_is_given_no_permit() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = folder.path().join("pki");
    let made = new(&large(folder.path().join("source"), false)).expect("a cluster").folder;
    let cp1 = seed_of(&made, "cp1").pki.expect("keys");
    let mut spec = large(folder.path().join("lab"), false);
    (spec.adopt, spec.permit_lifetime, spec.ca_dir) = (true, None, Some(pki.clone()));
    std::fs::create_dir_all(pki.join("etcd")).expect("a folder");
    assert!(new(&spec).expect_err("nothing is there").to_string().contains("ca.crt"));
    for (name, pair) in [("ca", &cp1.ca), ("etcd/ca", &cp1.etcd_ca), ("front-proxy-ca", &cp1.front_proxy_ca)]
    {
        let pair = pair.as_ref().expect("a CA");
        std::fs::write(pki.join(format!("{name}.crt")), &pair.certificate).expect("written");
        std::fs::write(pki.join(format!("{name}.key")), &pair.key).expect("written");
    }
    assert!(new(&spec).expect_err("one is missing").to_string().contains("sa.key"));
    std::fs::write(pki.join("sa.key"), &cp1.service_account.as_ref().expect("a key").key).expect("written");
    let lab = new(&spec).expect("a cluster").folder;
    run(&lab, "seed", &["cp4", "--role", "control-plane", "--address", "192.0.2.14"]).expect("a seed");
    let formation = seed_of(&lab, "cp4").formation.expect("formation");
    assert!(formation.adopt && formation.permit.is_none());
    assert_eq!(seed_of(&lab, "cp4").pki.expect("keys").ca, cp1.ca, "the cluster's own");
    assert!(run(&lab, "permit", &[]).expect_err("nothing is born").to_string().contains("permit"));
}

#[test]
fn labels_and_taints_are_taken_away_and_a_disk_is_wiped_once_a_seed() {
    let (_folder, lab) = made_large(false);
    let more = ["--label", "a=1", "--label", "b=2", "--taint", "x=1:NoSchedule", "--taint", "y:NoExecute"];
    run(&lab, "seed", &[&["w1"], &more[..]].concat()).expect("a seed");
    let less = ["w1", "--label", "a-", "--taint", "x-", "--taint", "y:NoExecute-", "--taint", "z:NoExecute"];
    run(&lab, "seed", &less).expect("a seed");
    let node = seed_of(&lab, "w1").node;
    assert_eq!((node.labels.len(), node.labels["b"].as_str()), (1, "2"));
    assert_eq!(node.taints, ["z:NoExecute"]);
    let said = run(&lab, "seed", &["w1", "--label", "a-"]).expect_err("refused").to_string();
    assert!(said.contains("the node has: b\nhelp: "), "{said}");
    let wipe = |serial: &str| {
        let said = run(&lab, "seed", &["w1", "--wipe-disk", serial]).expect("a seed");
        assert!(said.contains(&format!("wipes the disk {serial}, once")), "{said}");
        seed_of(&lab, "w1").disk.expect("a disk")
    };
    let (first, second) = (wipe("S1"), wipe("S1"));
    assert_eq!(first.serial, "S1");
    assert_ne!(first.wipe.expect("a word"), second.wipe.expect("a word"));
    run(&lab, "seed", &["w1"]).expect("a seed");
    assert!(seed_of(&lab, "w1").disk.is_none(), "consent is for one seed");
}

#[test]
fn a_new_kubeconfig_says_where_the_old_one_lies() {
    let (_folder, lab) = made_large(false);
    let file = lab.join("admin.kubeconfig");
    let before = std::fs::read(&file).expect("a file");
    let said = run(&lab, "kubeconfig", &["--ttl", "30d"]).expect("a kubeconfig");
    assert_ne!(std::fs::read(&file).expect("a file"), before);
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let old = lab.join("replaced").join(&names(&lab.join("replaced"))[0]).join("admin.kubeconfig");
    assert_eq!(std::fs::read(&old).expect("a file"), before);
    assert!(said.contains(&old.display().to_string()), "{said}");
    assert!(run(&lab, "kubeconfig", &["--ttl", "400d"]).is_err(), "a year at most");
}
