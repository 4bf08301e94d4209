//! One control plane as a namespace: born, cut, back as the same node, open to the keys of its seed; and three clusters that
//! do not see each other.

mod support;

use nodeimg_lab::{Lab, Machine};
use std::process::ExitCode;
use std::time::Duration;
use support::{LoginKey, Seeds, lab, tell};

/// Two cores that others use as well.
const READY: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    support::run(
        &[("a_control_plane_survives_a_power_cut", a_control_plane_survives_a_power_cut)],
        &[("three_clusters_do_not_see_each_other", three_clusters_do_not_see_each_other)],
    )
}

fn good<T>(result: Result<T, nodeimg_lab::LabError>) -> T {
    result.unwrap_or_else(|e| panic!("{e}"))
}

/// UID of the node's object.
fn uid(lab: &Lab, node: &str) -> String {
    good(lab.kubectl(node, &["get", "node", node, "-o", "jsonpath={.metadata.uid}"]))
}

fn a_control_plane_survives_a_power_cut() {
    let seeds = Seeds::new("lab", &[("cp1", "10.77.0.11")]);
    let key = LoginKey::new();
    seeds.let_in("cp1", &key.public);
    let lab = lab(&seeds, &["cp1"]);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    tell(&lab, "cp1", "first boot");
    let first = uid(&lab, "cp1");
    let records = good(lab.records());
    assert!(records["cp1"].record.is_some() && records["cp1"].node.is_some(), "{records:?}");
    let members = good(lab.members_of("cp1"));
    assert_eq!(members.members.len(), 1, "{members:?}");
    let host_key = logs_in(&lab, &key);

    good(lab.node("cp1").power_cut());
    assert!(!lab.node("cp1").is_on());
    assert_eq!(good(lab.records()), records, "the disk of a machine that is off is read as well");
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    tell(&lab, "cp1", "after the cut");
    assert_eq!(uid(&lab, "cp1"), first);
    assert_eq!(good(lab.members_of("cp1")), members);
    assert_eq!(logs_in(&lab, &key), host_key, "the host key outlives a boot");

    good(lab.node("cp1").power_off(Duration::from_secs(90)));
    assert_eq!(lab.node("cp1").last_end(), Some(nodeimg_lab::Ended::PowerOff));
}

/// By ssh, from the node itself: with the key of the seed, with no other, and with no password. Gives the host's public key.
fn logs_in(lab: &Lab, key: &LoginKey) -> String {
    let node = lab.node("cp1");
    let run = |script: &str| node.exec(&["sh", "-c", script], Duration::from_secs(30));
    let write = |file: &str, key: &str| format!("umask 077; cat >/run/{file} <<'END'\n{key}END\n");
    good(run(&write("seed-key", &key.private)));
    good(run(&write("other-key", &LoginKey::new().private)));
    let ssh = |options: &str| {
        run(&format!(
            "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/run/known -o IdentitiesOnly=yes {options} \
             root@10.77.0.11 nodeinit status"
        ))
    };
    let said = good(ssh("-i /run/seed-key"));
    assert!(said.stdout.contains("cp1"), "{said:?}");
    for not in ["-i /run/other-key", "-o PubkeyAuthentication=no"] {
        let refused = good(ssh(not));
        assert_eq!(refused.code, Some(255), "another key, or none: {refused:?}");
        assert!(refused.stderr.contains("Permission denied (publickey)"), "{refused:?}");
    }
    good(run("ssh-keygen -y -f /var/lib/nodeimg/ssh/ssh_host_ed25519_key")).stdout
}

fn three_clusters_do_not_see_each_other() {
    // All three have the same address: only isolation makes that possible.
    let labs: Vec<(Seeds, Lab)> = ["a", "b", "c"]
        .map(|cluster| {
            let seeds = Seeds::new(cluster, &[("cp1", "10.77.0.11")]);
            let lab = lab(&seeds, &["cp1"]);
            (seeds, lab)
        })
        .into();
    for (_, lab) in &labs {
        good(lab.node("cp1").power_on());
    }
    let mut clusters = Vec::new();
    for (_, lab) in &labs {
        good(lab.until_ready(&["cp1"], READY));
        tell(lab, "cp1", "beside two others");
        clusters.push(good(lab.members_of("cp1")).cluster);
    }
    clusters.sort_unstable();
    clusters.dedup();
    assert_eq!(clusters.len(), 3);
}
