//! What a person does without nodeimg on machines that have everything installed: `kubeadm init` on the first, then
//! `kubeadm join --control-plane` on the second, then on the third.
//!
//! Takes a lab whose nodes run containerd and nothing of a cluster, leaves a cluster. The scripts are the lab's.

use super::address;
use crate::failure::Failure;
use nodeimg_lab::{Lab, Machine, by_hand};
use std::time::Duration;

/// Runs the script; returns when all are Ready.
pub fn form(lab: &Lab, names: &[&str], endpoint: &str, limit: Duration) -> Result<(), Failure> {
    let Some((first, rest)) = names.split_first() else { return Ok(()) };
    for (number, name) in (1u8..).zip(names) {
        sh(lab, name, &by_hand::prepare(number, address(1), endpoint), limit)?;
    }
    let version = sh(lab, first, "/usr/bin/kubeadm version -o short", limit)?;
    sh(lab, first, &by_hand::init(first, address(1), endpoint, version.trim()), limit)?;
    for (number, name) in (2u8..).zip(rest) {
        sh(lab, name, &by_hand::join(name, address(number), endpoint), limit)?;
    }
    until_ready(lab, names)
}

/// All nodes are Ready as `kubectl get nodes` says it.
pub fn until_ready(lab: &Lab, names: &[&str]) -> Result<(), Failure> {
    let Some(first) = names.first() else { return Ok(()) };
    let ready = r#"{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
    let arguments = ["get", "nodes", "-o", &format!("jsonpath={ready}")];
    super::until(lab, "Ready of all", || {
        let nodes = lab.kubectl(first, &arguments).unwrap_or_default();
        nodes.lines().filter(|l| *l == "True").count() == names.len()
    })
}

/// The script's pod network for a cluster that is made in another way.
pub fn write_bridges(lab: &Lab, names: &[&str], limit: Duration) -> Result<(), Failure> {
    for (number, name) in (1u8..).zip(names) {
        sh(lab, name, &by_hand::bridge(number), limit)?;
    }
    Ok(())
}

fn sh(lab: &Lab, node: &str, script: &str, limit: Duration) -> Result<String, Failure> {
    let answer = lab.node(node).exec(&["/bin/sh", "-ec", script], limit)?;
    if answer.code == Some(0) {
        return Ok(answer.stdout);
    }
    let said = format!("{}{}", answer.stdout, answer.stderr);
    Err(Failure::new(
        format!("kubeadm by hand, {node}: {}", said.trim()),
        "the script's own fault, or the lab's",
    ))
}
