//! The whole way, on a real kernel: build, boot, form a cluster of one, serve, go down, come back.

use crate::harness::{self, Machine, build, nodeimg};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_control_plane_forms_serves_and_comes_back() {
    build();
    let state = tempfile::tempdir().expect("temp folder");
    let run = || {
        let mut c = nodeimg("run", "cplane", &harness::dist());
        c.args(["--direct", "--isolated", "--state"]).arg(state.path());
        Machine::start(c)
    };

    let mut machine = run();
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

    let mut machine = run();
    let kubectl = machine.kubectl(8 * MINUTE);
    assert_eq!(kubectl.get(&uid), born, "the same Node after a reboot");
    machine.interrupt();
    assert_eq!(machine.exit(2 * MINUTE), 0, "orderly shutdown\n{}", machine.console());
}

fn ready_replicas(kubectl: &harness::Kubectl) -> String {
    kubectl.get(&["get", "deployment", "probe", "-o", "jsonpath={.status.readyReplicas}"])
}
