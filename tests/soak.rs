//! Too slow for every run: `cargo test -p nodeimg --features soak --test boot soak`. The last log is in docs/soak.md.

use crate::harness::{Machine, build, dist, nodeimg};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Cuts the power when the console says `moment` during formation; the next boot must get to Ready.
fn cut_at(moment: &str) {
    build();
    let state = tempfile::tempdir().expect("temp folder");
    let run = || {
        let mut c = nodeimg("run", "cplane", &dist());
        c.args(["--direct", "--isolated", "--state"]).arg(state.path());
        Machine::start(c)
    };
    let mut machine = run();
    machine.wait_for(moment, 10 * MINUTE);
    machine.power_cut();
    let mut machine = run();
    let kubectl = machine.kubectl(15 * MINUTE);
    assert!(!kubectl.get(&["get", "node", "cp1", "-o", "name"]).is_empty());
    machine.interrupt();
    assert_eq!(machine.exit(3 * MINUTE), 0, "orderly shutdown\n{}", machine.console());
}

#[test]
fn soak_power_cut_when_the_birth_begins() {
    cut_at("kubeadm certs");
}

#[test]
fn soak_power_cut_while_the_api_server_starts() {
    cut_at("still waiting for the API server");
}

#[test]
fn soak_power_cut_during_the_once_per_cluster_steps() {
    cut_at("kubeadm upload-config");
}
