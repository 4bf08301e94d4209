//! Debian's systemd-udevd under nodeinit: rules, names of links, by-id links, modules of what stage 1 left out.

use super::early_log_path;
use crate::machine;
use crate::process::{Processes, ServiceSpec, poll};
use crate::report::Reporter;
use crate::shutdown::Shutdown;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const DAEMON: &str = "/usr/lib/systemd/systemd-udevd";
const CONTROL: &str = "/run/udev/control";
const SETTLE: Duration = Duration::from_secs(60);

/// Starts udevd and returns when it has seen every device that is there now.
pub fn start(processes: &Processes, reporter: &Reporter, shutdown: &Shutdown) {
    // In a namespace the host's udevd has named what there is, and its rules are not ours to run again.
    if machine::namespace().is_some() {
        return;
    }
    if !Path::new(DAEMON).exists() {
        return reporter.warn("this image has no udevd: links keep the kernel's names");
    }
    let service = processes.supervise(ServiceSpec {
        name: "udevd",
        command: Box::new(|| Command::new(DAEMON)),
        log: early_log_path("udevd"),
        oom_score_adj: Some(-1000),
    });
    shutdown.udevd(service);
    if !poll(Duration::from_secs(20), Duration::from_millis(10), || Path::new(CONTROL).exists()) {
        return reporter.warn("udevd does not answer: links keep the kernel's names (nodeinit logs udevd)");
    }
    let commands: [&[&str]; 2] = [
        &["trigger", "--type=all", "--action=add", "--prioritized-subsystem=module,net,block,tty,input"],
        &["settle", "--timeout=50"],
    ];
    for arguments in commands {
        let mut command = Command::new("udevadm");
        command.args(arguments);
        if let Err(e) = processes.check(command, SETTLE) {
            reporter.warn(format!("devices may be missing: {e}"));
        }
    }
    reporter.reopen();
}

/// Whether there are links with hardware behind them and udev has given all of them their names: it writes what it knows
/// of a link to `/run/udev/data/nINDEX` after its rules have run; `ID_NET_NAME` there is the name that the link
/// gets, and `ID_RENAMING` says that it is just getting it.
pub fn links_are_named() -> bool {
    let Ok(links) = std::fs::read_dir("/sys/class/net") else { return false };
    let mut any = false;
    for link in links.flatten().map(|l| l.path()).filter(|l| l.join("device").exists()) {
        let index = std::fs::read_to_string(link.join("ifindex")).unwrap_or_default();
        let Ok(known) = std::fs::read_to_string(format!("/run/udev/data/n{}", index.trim())) else {
            return false;
        };
        let wanted = known.lines().find_map(|l| l.strip_prefix("E:ID_NET_NAME="));
        let name = link.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if known.contains("E:ID_RENAMING=1") || wanted.is_some_and(|wanted| wanted != name) {
            return false;
        }
        any = true;
    }
    any
}
