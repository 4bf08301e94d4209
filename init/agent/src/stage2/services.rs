//! containerd and the kubelet.

use super::{Node, kubelet_files, log_path};
use crate::machine;
use crate::process::{ServiceSpec, poll};
use crate::report::Reporter;
use crate::store;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_contract::status::milestone;
use nodeimg_contract::store::CONTAINERD_ROOT;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CONTAINERD: &str = "/usr/bin/containerd";
/// Its table of the CRI's runtime settings, and its configuration where [`containerd_config`] changes them.
const CRI_RUNTIME: &str = "[plugins.'io.containerd.cri.v1.runtime']";
const RESTRICTED_CONFIG: &str = "/run/nodeimg/containerd.toml";
const SOCKET: &str = "/run/containerd/containerd.sock";
const KUBELET: &str = "/usr/bin/kubelet";
/// Deadline of the wait for containerd; it goes on after that.
const CONTAINERD_DEADLINE: Duration = Duration::from_secs(60);
const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

/// Puts the baked images in place; waits until that works, for without them nothing runs.
pub fn place_store(node: &Node) {
    if !Path::new(paths::STORE).join("store.json").exists() {
        return node.reporter.warn("this image has no baked images: containerd starts empty");
    }
    loop {
        match store::place(Path::new(paths::STORE), Path::new(CONTAINERD_ROOT)) {
            Ok(placed) => {
                node.reporter.clear_fault(Code::StoreFailed);
                let how = if placed.seeded { "seeded" } else { "as it was" };
                return node.reporter.line(format!("{} baked images are in place ({how})", placed.images));
            }
            Err(e) => node.reporter.fault(e.fault()),
        }
        if node.shutdown.asked() {
            return;
        }
        std::thread::sleep(Duration::from_secs(5));
    }
}

/// Starts containerd, supervised.
pub fn start_containerd(node: &Node) {
    if !Path::new(CONTAINERD).exists() {
        return node.reporter.fault(super::image_fault(CONTAINERD, "the image has no containerd"));
    }
    let config = containerd_config(&node.reporter);
    let service = node.processes.supervise(ServiceSpec {
        name: "containerd",
        command: Box::new(move || {
            let mut command = Command::new(CONTAINERD);
            command.args(["--config", config]).env_clear().env("PATH", PATH);
            command
        }),
        log: log_path("containerd"),
        oom_score_adj: Some(-999),
    });
    node.reporter.milestone(milestone::CONTAINERD_LAUNCHED);
    node.shutdown.containerd(service);
}

/// The baked one; where scores of the OOM killer cannot be lowered, the same with a word that keeps containers from it.
fn containerd_config(reporter: &Reporter) -> &'static str {
    if machine::namespace().is_none_or(|n| n.lowers_oom_score) {
        return paths::CONTAINERD_CONFIG;
    }
    let written = std::fs::read_to_string(paths::CONTAINERD_CONFIG)
        .map(|baked| baked.replace(CRI_RUNTIME, &format!("{CRI_RUNTIME}\n  restrict_oom_score_adj = true")))
        .and_then(|text| std::fs::write(RESTRICTED_CONFIG, text));
    match written {
        Ok(()) => RESTRICTED_CONFIG,
        Err(e) => {
            reporter.warn(format!("{RESTRICTED_CONFIG} could not be written: {e}; containers may not start"));
            paths::CONTAINERD_CONFIG
        }
    }
}

/// Waits until containerd's socket answers.
pub fn await_containerd(reporter: &Reporter, give_up: impl Fn() -> bool) {
    let fault = Fault {
        code: Code::ServiceFailed,
        object: "containerd".to_owned(),
        cause: "its socket does not answer".to_owned(),
        help: format!("its log is {} (nodeinit logs containerd)", log_path("containerd").display()),
    };
    let wait = reporter.waiting("containerd", CONTAINERD_DEADLINE, fault);
    poll(Duration::MAX, Duration::from_millis(25), || UnixStream::connect(SOCKET).is_ok() || give_up());
    drop(wait);
    reporter.milestone(milestone::CONTAINERD);
}

/// Starts the kubelet, supervised: formation's gate is open.
pub fn start_kubelet(node: &Node, arguments: Vec<String>) -> Result<(), Fault> {
    if !Path::new(KUBELET).exists() {
        return Err(super::image_fault(KUBELET, "the image has no kubelet"));
    }
    match kubelet_files::remove_torn_pair(Path::new(kubelet_files::PKI)) {
        Ok(true) => node.reporter.line("the kubelet's own certificate was torn: it makes another"),
        Ok(false) => {}
        // The kubelet says the rest itself.
        Err(e) => node.reporter.warn(format!("the kubelet's own certificate is torn and stays: {e}")),
    }
    let service = node.processes.supervise(ServiceSpec {
        name: "kubelet",
        command: Box::new(move || {
            let mut command = Command::new(KUBELET);
            command.args(&arguments).env_clear().env("PATH", PATH);
            command
        }),
        log: log_path("kubelet"),
        oom_score_adj: Some(-999),
    });
    node.reporter.milestone(milestone::KUBELET);
    node.shutdown.kubelet(service);
    Ok(())
}
