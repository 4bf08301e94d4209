//! The whole way, on a real kernel: build, boot, form a cluster of one, serve, go down, come back.

use crate::harness::{self, Kubectl, Machine, build, dist, nodeimg};
use crate::tampered::{copy_of_the_image, first_extent, flip};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_control_plane_forms_serves_and_comes_back() {
    build();
    let state = tempfile::tempdir().expect("temp folder");
    let run = |dist: &Path| {
        let mut c = nodeimg("run", "cplane", dist);
        c.args(["--direct", "--isolated", "--state"]).arg(state.path());
        Machine::start(c)
    };

    let mut machine = run(&dist());
    let kubectl = machine.kubectl(10 * MINUTE);
    let uid = ["get", "node", "cp1", "-o", "jsonpath={.metadata.uid}"];
    let born = kubectl.get(&uid);
    assert!(!born.is_empty());

    let fixture = harness::checkout().join("tests/fixtures/service.yaml");
    kubectl.get(&["apply", "-f", fixture.to_str().expect("text")]);
    kubectl.until(
        "all kube-system pods Running and ready",
        5 * MINUTE,
        &["get", "pods", "-n", "kube-system", "--no-headers"],
        |t| t.lines().count() >= 8 && t.lines().all(|l| l.contains("1/1") && l.contains("Running")),
    );
    kubectl.until(
        "a Service reached by name from a pod",
        5 * MINUTE,
        &["get", "pod", "client", "-o", "jsonpath={.status.phase}"],
        |t| t == "Succeeded",
    );
    kubectl.until(
        "a pod with hostUsers: false",
        3 * MINUTE,
        &["get", "pod", "user-namespace", "-o", "jsonpath={.status.containerStatuses[0].ready}"],
        |t| t == "true",
    );

    let name = ["get", "pods", "-l", "app=probe", "-o", "jsonpath={.items[*].metadata.name}"];
    let old = kubectl.get(&name);
    kubectl.get(&["delete", "pod", &old, "--wait=false"]);
    kubectl.until(
        "a deleted pod comes back",
        3 * MINUTE,
        &[
            "get",
            "deployment",
            "probe",
            "-o",
            "jsonpath={.status.readyReplicas} {.status.observedGeneration}",
        ],
        |_| kubectl.run(&["get", "pod", &old]).status.code() == Some(1) && ready_replicas(&kubectl) == "1",
    );
    assert_ne!(kubectl.get(&name), old);

    let events =
        kubectl.get(&["get", "events", "-A", "-o", "jsonpath={range .items[*]}{.reason}{\"\\n\"}{end}"]);
    assert!(
        events.lines().any(|l| l == "Pulled"),
        "kubelet says of each container where its image came from"
    );
    assert!(!events.lines().any(|l| l == "Pulling"), "an image was pulled:\n{events}");

    machine.interrupt();
    assert_eq!(machine.exit(2 * MINUTE), 0, "orderly shutdown\n{}", machine.console());
    drop(machine);
    is_unmounted(&state.path().join("state.img"));

    let (damaged, place) = damaged_in_a_program_that_no_boot_reads();
    let mut machine = run(damaged.path());
    let kubectl = machine.kubectl(8 * MINUTE);
    assert_eq!(kubectl.get(&uid), born, "the same Node after a reboot");
    if place.is_some() {
        a_read_of_the_damage_shows_as_a_fault(&mut machine, &kubectl);
    }
    machine.interrupt();
    assert_eq!(machine.exit(2 * MINUTE), 0, "orderly shutdown\n{}", machine.console());
}

fn ready_replicas(kubectl: &Kubectl) -> String {
    kubectl.get(&["get", "deployment", "probe", "-o", "jsonpath={.status.readyReplicas}"])
}

/// The state partition begins at 1 MiB and is ext4: its superblock says that it was unmounted, with an empty journal.
fn is_unmounted(state_disk: &Path) {
    let mut superblock = [0; 1024];
    let disk = File::open(state_disk).expect("state disk");
    disk.read_exact_at(&mut superblock, (1 << 20) + 1024).expect("superblock");
    let half = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    // s_magic, s_state and EXT4_FEATURE_INCOMPAT_RECOVER of s_feature_incompat (Documentation/filesystems/ext4/super.rst).
    assert_eq!(half(0x38), 0xef53, "ext4");
    assert_eq!(half(0x3a) & 1, 1, "cleanly unmounted");
    assert_eq!(half(0x60) & 4, 0, "its journal needs no recovery");
}

/// A copy of the image with one bit flipped in `ctr`, which nothing on a node runs by itself.
fn damaged_in_a_program_that_no_boot_reads() -> (tempfile::TempDir, Option<u64>) {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = copy_of_the_image(folder.path());
    let place = first_extent("a_read_of_the_damage_shows_as_a_fault", &image, "/usr/bin/ctr");
    if let Some(at) = place {
        flip(&image, at + 5000);
    }
    (folder, place)
}

fn a_read_of_the_damage_shows_as_a_fault(machine: &mut Machine, kubectl: &Kubectl) {
    let run = ["exec", "deployment/probe", "--", "/node/ctr", "--version"];
    let end = Instant::now() + 5 * MINUTE;
    // The pod is not back yet, at first.
    loop {
        assert!(!machine.console().contains("NI-ROOT-003"), "nothing has read it");
        let output = kubectl.run(&run);
        assert!(!output.status.success(), "a damaged program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        if said.to_lowercase().contains("input/output error") {
            break;
        }
        assert!(Instant::now() < end, "{said}\n{}", machine.console());
        std::thread::park_timeout(Duration::from_secs(1));
    }
    machine.wait_for("NI-ROOT-003", Duration::from_secs(10));
}
