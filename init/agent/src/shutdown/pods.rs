//! Ends containers as the CRI does: SIGTERM to their first process, SIGKILL after the grace; etcd after all others.

use crate::process::{Processes, poll};
use crate::report::Reporter;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// What the kubelet gives a pod that names no other (`terminationGracePeriodSeconds`).
const GRACE: Duration = Duration::from_secs(30);
/// etcd writes nothing after its last answer; it only has to close.
const ETCD_GRACE: Duration = Duration::from_secs(15);
const CTR_LIMIT: Duration = Duration::from_secs(20);

/// Ends all pods; returns when they are gone or killed.
pub fn stop(processes: &Processes, reporter: &Reporter) {
    let (tasks, containers) = (ctr(processes, &["tasks", "ls"]), ctr(processes, &["containers", "ls"]));
    let (Some(tasks), Some(containers)) = (tasks, containers) else {
        return reporter.line("containerd does not answer: its containers are ended with everything else");
    };
    let groups = sort(&tasks, &containers);
    end(&groups.others, GRACE);
    end(&groups.etcd, ETCD_GRACE);
    end(&groups.pauses, Duration::from_secs(5));
    let all = groups.others.len() + groups.etcd.len();
    reporter.line(format!("{all} containers have ended"));
}

fn ctr(processes: &Processes, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("ctr");
    command.args(["--namespace", "k8s.io"]).args(arguments);
    processes.check(command, CTR_LIMIT).ok().map(|f| f.stdout_text())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    others: Vec<i32>,
    etcd: Vec<i32>,
    pauses: Vec<i32>,
}

/// From the tables of `ctr tasks ls` (TASK PID STATUS) and `ctr containers ls` (CONTAINER IMAGE RUNTIME).
fn sort(tasks: &str, containers: &str) -> Groups {
    let images: BTreeMap<&str, &str> = containers
        .lines()
        .skip(1)
        .filter_map(|l| {
            let mut words = l.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .collect();
    let mut groups = Groups::default();
    for line in tasks.lines().skip(1) {
        let mut words = line.split_whitespace();
        let (Some(task), Some(pid)) = (words.next(), words.next()) else { continue };
        // PID 1 and "every process" are nobody's container.
        let Some(pid) = pid.parse::<i32>().ok().filter(|p| *p > 1) else { continue };
        let name = images.get(task).map_or("", |image| name(image));
        match name {
            "etcd" => groups.etcd.push(pid),
            "pause" => groups.pauses.push(pid),
            _ => groups.others.push(pid),
        }
    }
    groups
}

/// The last part of an image's name, without tag and digest.
fn name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

fn end(pids: &[i32], grace: Duration) {
    let send =
        |signal: Option<Signal>| pids.iter().filter(|pid| kill(Pid::from_raw(**pid), signal).is_ok()).count();
    send(Some(Signal::SIGTERM));
    if !poll(grace, Duration::from_millis(50), || send(None) == 0) {
        send(Some(Signal::SIGKILL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn etcd_and_pauses_are_told_apart() {
        let tasks = "TASK    PID     STATUS\na    10    RUNNING\nb    11    RUNNING\nc    12    RUNNING\nd 1 RUNNING\n";
        let containers = "CONTAINER IMAGE RUNTIME\na nodeimg.invalid/k8s/etcd:3.6.8-0 x\nb x:5000/pause@sha256:0 x\nc etcd/other:1 x\n";
        assert_eq!(sort(tasks, containers), Groups { others: vec![12], etcd: vec![10], pauses: vec![11] });
    }

    proptest! {
        #[test]
        fn any_table_is_survived(a in ".{0,200}", b in ".{0,200}") {
            let groups = sort(&a, &b);
            prop_assert!(groups.others.iter().chain(&groups.etcd).chain(&groups.pauses).all(|p| *p > 1));
        }
    }
}
