//! What PID 1 does at a boot, before anything of the cluster runs, because an operator asked for it in the boot before.

use super::super::{files, records};
use super::{Request, whole_log};
use crate::process::Processes;
use crate::report::Reporter;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::etcd_gateway::peer_url;
use nodeimg_init_core::formation::{Record, RecordFile};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Snapshots that recoveries went on with.
pub const SNAPSHOTS: &str = "/var/lib/nodeimg/recovery";
const ETCDUTL: &str = "/usr/bin/etcdutl";
const RESTORE_LIMIT: Duration = Duration::from_secs(900);
/// Folders that belong to a cluster alone, with all its secrets; they stay, empty (some are mounts).
const OF_THE_CLUSTER: [&str; 5] =
    ["/etc/kubernetes", "/etc/cni/net.d", "/var/lib/kubelet", SNAPSHOTS, "/var/log/pods"];
/// Revisions that are passed over, so that nobody who saw a later state through a lost member takes an earlier one for it.
const BUMP: &str = "1000000000";

/// Does what was asked for, if anything was. A node that goes down meanwhile does it at its next boot.
pub fn carry_out(
    reporter: &Reporter,
    processes: &Processes,
    goes_down: impl Fn() -> bool,
) -> Result<(), Fault> {
    match Request::read()? {
        None => return Ok(()),
        Some(Request::Reset) => {
            reporter.line("reset: everything of the cluster is cleared from this node");
            records::clear()?;
            for left in [before(), work()] {
                whole_log::remove(&left)?;
            }
            for folder in OF_THE_CLUSTER {
                files::empty(folder)?;
            }
            for file in [crate::stage2::KEPT_CONFIG, crate::stage2::KEPT_NETWORK] {
                files::remove(file)?;
            }
        }
        Some(Request::Recover { record, log }) => {
            let done = recover(reporter, processes, &record, log);
            if let Err(fault) = done {
                if goes_down() || !member().exists() || before().exists() {
                    return Err(fault);
                }
                // Nothing was changed: the node is shown as it was, and can be asked again.
                reporter.fault(fault);
                reporter.line("recovery: given up; nothing was changed");
                let _ = whole_log::remove(&work());
            }
        }
    }
    Request::forget()
}

fn recover(reporter: &Reporter, processes: &Processes, target: &Record, log: bool) -> Result<(), Fault> {
    let current = RecordFile::read(files::read(paths::RECORD, 1 << 20)?.as_deref(), Record::from_bytes);
    let is_done = matches!(&current, RecordFile::Good(r) if r.incarnation() == target.incarnation());
    if !is_done {
        let snapshot = snapshot(reporter, processes, target, log)?;
        reporter.line(format!("recovery: etcd's database is kept as {}", snapshot.display()));
        restore(processes, target, &snapshot, log)?;
        records::write_record(target)?;
    }
    if let Some(node) = target.recovered_node() {
        records::write_node_record(&node)?;
    }
    whole_log::remove(&before())?;
    reporter.line("recovery: this node goes on alone; control planes whose disks are wiped join it");
    Ok(())
}

fn member() -> PathBuf {
    Path::new(paths::ETCD).join("member")
}

/// Where the member lies while it is replaced.
fn before() -> PathBuf {
    Path::new(paths::ETCD).join("before-recovery")
}

/// Where copies are made; of no worth after a power cut.
fn work() -> PathBuf {
    Path::new(paths::ETCD).join("recovering")
}

/// Takes the snapshot, once: the database with everything that the log holds, or the database as it lies there.
fn snapshot(
    reporter: &Reporter,
    processes: &Processes,
    target: &Record,
    log: bool,
) -> Result<PathBuf, Fault> {
    let ending = if log { "" } else { "-without-log" };
    let to = Path::new(SNAPSHOTS).join(format!("before-{}{ending}.db", target.incarnation().0));
    if to.exists() {
        return Ok(to);
    }
    files::folder(SNAPSHOTS, 0o700)?;
    let lying = if before().exists() { before() } else { member() };
    let copying = Path::new(SNAPSHOTS).join("copying.db");
    if log {
        let tools = whole_log::Tools::of_this_node()?;
        whole_log::snapshot(reporter, processes, &tools, &lying, &work(), &copying)?;
    } else {
        let from = lying.join("snap/db");
        fs::copy(&from, &copying).map_err(|e| files::failed(&from, &e))?;
    }
    files::sync_file_system(SNAPSHOTS)?;
    fs::rename(&copying, &to).map_err(|e| files::failed(&to, &e))?;
    files::sync_file_system(SNAPSHOTS)?;
    Ok(to)
}

/// Makes a member of the new birth from the database, and puts it in the old one's place.
fn restore(processes: &Processes, target: &Record, snapshot: &Path, log: bool) -> Result<(), Fault> {
    let failed = |cause: String| Fault {
        code: Code::QuorumLost,
        object: snapshot.display().to_string(),
        cause,
        help: "try again by a reboot; the snapshot is kept".into(),
    };
    let participant = target.started().and_then(|b| b.participants().first().cloned());
    let (Some(own), Some(birth)) = (participant, target.cluster()) else {
        return Err(failed("the request names no birth".into()));
    };
    let new = work();
    whole_log::remove(&new)?;
    let url = peer_url(own.address);
    let mut command = Command::new(ETCDUTL);
    command
        .args(["snapshot", "restore"])
        .arg(snapshot)
        .arg(format!("--data-dir={}", new.display()))
        .arg(format!("--name={}", own.name))
        .arg(format!("--initial-cluster={}={url}", own.name))
        .arg(format!("--initial-advertise-peer-urls={url}"))
        .arg(format!("--initial-cluster-token={}", birth.0))
        .args(["--mark-compacted", &format!("--bump-revision={BUMP}")])
        .env_clear();
    if !log {
        // A database that was copied has no sum behind it.
        command.arg("--skip-hash-check");
    }
    processes.check(command, RESTORE_LIMIT).map_err(|e| failed(e.to_string()))?;
    files::sync_file_system(paths::ETCD)?;
    if before().exists() {
        whole_log::remove(&member())?;
    } else {
        fs::rename(member(), before()).map_err(|e| files::failed(&member(), &e))?;
    }
    fs::rename(new.join("member"), member()).map_err(|e| files::failed(&member(), &e))?;
    whole_log::remove(&new)?;
    files::sync_file_system(paths::ETCD)
}
