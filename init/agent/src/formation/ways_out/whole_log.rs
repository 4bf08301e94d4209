//! The survivor's database with its whole log applied.
//!
//! Takes etcd's data as it lies there, stopped; gives a snapshot of it (a database with its own sum behind it, as
//! `etcdctl snapshot save` writes). Works on a copy and never writes into the data. A power cut at any moment leaves a copy
//! that the next try removes.
//!
//! The database alone is not enough: etcd writes it every 100 ms, and what the log holds beyond the commit that it states
//! may have been acknowledged all the same (`etcd_wal::ending`). So the copy's log gets a hard state that commits its last
//! entry, and the image's own etcd runs on the copy once with `--force-new-cluster`: it applies everything and lets the
//! other members go. It has a network namespace of its own without a link, and UNIX sockets in a folder of root's: it can
//! neither be reached nor reach a member that is alive after all.
//!
//! Whether revisions go back: not against this member's log. They may against what clients saw through the lost ones, of
//! which nobody here knows; so the restore afterwards passes over [`super::carry_out`]'s `BUMP` revisions and marks all
//! before as compacted. A watch from an older or a lost revision ends with "compacted", and its client lists anew.

use super::super::files;
use crate::process::{Exit, Processes, poll};
use crate::report::Reporter;
use nix::sys::signal::{Signal, killpg};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::etcd_wal::{Ending, Log};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// etcd starts a segment of its log anew at 64 MB.
const MAX_SEGMENT: u64 = 512 << 20;
/// etcd allocates two segments ahead, and some room for the rest.
const AHEAD: u64 = 160 << 20;
/// Applying the log, and then writing the snapshot.
const LIMIT: Duration = Duration::from_secs(900);
/// One question to etcd.
const QUESTION: Duration = Duration::from_secs(10);
/// Where etcd lies in its image.
const IN_IMAGE: &str = "fs/usr/local/bin/etcd";
const WITHOUT_LOG: &str =
    "\"nodeinit recover --yes --without-log\" goes on with the database alone; the last writes are lost then";

/// What is run, and where.
pub struct Tools {
    pub etcd: PathBuf,
    pub etcdctl: PathBuf,
    /// For sockets: a short path.
    pub sockets: PathBuf,
    pub log: PathBuf,
}

impl Tools {
    /// Those of this image.
    pub fn of_this_node() -> Result<Self, Fault> {
        let snapshots = Path::new(paths::STORE).join("snapshots");
        let found = fs::read_dir(&snapshots).map_err(|e| files::failed(&snapshots, &e))?;
        let mut all: Vec<_> =
            found.flatten().map(|e| e.path().join(IN_IMAGE)).filter(|p| p.is_file()).collect();
        all.sort();
        let etcd = all.pop().ok_or_else(|| Fault {
            code: Code::StoreFailed,
            object: snapshots.display().to_string(),
            cause: "no baked image has etcd".into(),
            help: "boot an image of the role control-plane or etcd".into(),
        })?;
        Ok(Self {
            etcd,
            etcdctl: "/usr/bin/etcdctl".into(),
            sockets: Path::new(paths::RUN).join("recovery"),
            log: "/var/log/nodeimg/recovery.log".into(),
        })
    }
}

/// Where the log below `member` ends, and in which file.
pub fn ending(member: &Path) -> Result<(PathBuf, Ending), Fault> {
    let folder = member.join("wal");
    let mut segments = listed(&folder, |name| name.ends_with(".wal"))?;
    segments.sort();
    let damaged = |path: &Path, cause: String| failed(path, cause, WITHOUT_LOG);
    let Some(last) = segments.last().cloned() else {
        return Err(damaged(&folder, "it has no segment".into()));
    };
    let mut log = Log::default();
    for path in &segments {
        let size = fs::metadata(path).map_err(|e| files::failed(path, &e))?.len();
        if size > MAX_SEGMENT {
            return Err(damaged(path, format!("{size} bytes are no segment of etcd's")));
        }
        let bytes = fs::read(path).map_err(|e| files::failed(path, &e))?;
        log.segment(&bytes, *path == last).map_err(|e| damaged(path, e.to_string()))?;
    }
    let ending = log.ending().map_err(|e| damaged(&last, e.to_string()))?;
    Ok((last, ending))
}

/// Writes the snapshot `to` from the data in `member`; `work` is a folder on the same file system, made and removed here.
pub fn snapshot(
    reporter: &Reporter,
    processes: &Processes,
    tools: &Tools,
    member: &Path,
    work: &Path,
    to: &Path,
) -> Result<(), Fault> {
    remove(work)?;
    let done = copy(reporter, member, work, to).and_then(|()| {
        let (segment, ending) = ending(&work.join("member"))?;
        reporter.line(format!(
            "recovery: the log ends with entry {}; {} of it were not known to be committed, and are kept",
            ending.last,
            ending.last.saturating_sub(ending.known)
        ));
        commit(&segment, &ending).map_err(|e| files::failed(&segment, &e))?;
        let etcd = Running::start(processes, tools, work)?;
        reporter.line("recovery: etcd applies the log, alone and without a network");
        etcd.until_applied(processes, tools)?;
        etcd.save(processes, tools, to)
    });
    let removed = remove(work);
    done.and(removed)
}

/// What of etcd's data makes a member; not its files that are allocated ahead, nor those it has set aside.
fn copy(reporter: &Reporter, member: &Path, work: &Path, to: &Path) -> Result<(), Fault> {
    let mut all = Vec::new();
    for (folder, endings) in [("snap", &["db", ".snap"][..]), ("wal", &[".wal"][..])] {
        for path in listed(&member.join(folder), |name| endings.iter().any(|e| name.ends_with(e)))? {
            all.push((folder, path));
        }
    }
    let mut bytes = 0u64;
    for (_, path) in &all {
        bytes = bytes.saturating_add(fs::metadata(path).map_err(|e| files::failed(path, &e))?.len());
    }
    room(member, to, bytes)?;
    reporter.line(format!("recovery: {} MiB of etcd's data are copied", bytes >> 20));
    for folder in ["", "member", "member/snap", "member/wal"] {
        files::folder(work.join(folder), 0o700)?;
    }
    for (folder, path) in &all {
        let target = work.join("member").join(folder).join(path.file_name().unwrap_or_default());
        fs::copy(path, target).map_err(|e| files::failed(path, &e))?;
    }
    Ok(())
}

/// Whether the copy and the snapshot have room.
fn room(member: &Path, to: &Path, bytes: u64) -> Result<(), Fault> {
    let below = |path: &Path| -> Result<(u64, u64), Fault> {
        let free = statvfs(path).map_err(|e| files::failed(path, &e.into()))?;
        let device = fs::metadata(path).map_err(|e| files::failed(path, &e))?.dev();
        Ok((device, free.blocks_available().saturating_mul(free.fragment_size())))
    };
    let kept = to.parent().unwrap_or(to);
    let ((device, free), (other, other_free)) = (below(member)?, below(kept)?);
    let copy = bytes.saturating_add(AHEAD);
    let wanted = if device == other {
        vec![(member, copy.saturating_add(bytes), free)]
    } else {
        vec![(member, copy, free), (kept, bytes, other_free)]
    };
    match wanted.into_iter().find(|(_, needed, free)| needed > free) {
        None => Ok(()),
        Some((path, needed, free)) => Err(failed(
            path,
            format!("a recovery needs {} MiB there, and {} MiB are free", needed >> 20, free >> 20),
            "make the state disk larger, or remove files from it, and run \"nodeinit recover\" again",
        )),
    }
}

/// From here on the whole log counts as committed.
fn commit(segment: &Path, ending: &Ending) -> io::Result<()> {
    let offset = u64::try_from(ending.offset).map_err(io::Error::other)?;
    let file = OpenOptions::new().write(true).open(segment)?;
    file.set_len(offset)?;
    file.write_all_at(&ending.record, offset)?;
    file.sync_all()
}

/// etcd on the copy. Killed when this goes: nothing of the copy is wanted after its snapshot.
struct Running {
    pid: Pid,
    exit: Receiver<Exit>,
    endpoint: String,
}

impl Running {
    fn start(processes: &Processes, tools: &Tools, work: &Path) -> Result<Self, Fault> {
        remove(&tools.sockets)?;
        files::folder(&tools.sockets, 0o700)?;
        let log = open(&tools.log).map_err(|e| files::failed(&tools.log, &e))?;
        let again = log.try_clone().map_err(|e| files::failed(&tools.log, &e))?;
        let endpoint = format!("unix://{}", tools.sockets.join("client").display());
        let mut command = Command::new(&tools.etcd);
        command
            .arg(format!("--data-dir={}", work.display()))
            .args(["--name=recovery", "--force-new-cluster", "--unsafe-no-fsync"])
            .args([format!("--listen-client-urls={endpoint}"), "--listen-peer-urls=unix://peer:0".into()])
            // Names that nobody asks for; etcd wants some.
            .args([
                "--advertise-client-urls=http://localhost:1",
                "--initial-advertise-peer-urls=http://localhost:1",
            ])
            .args(["--initial-cluster=recovery=http://localhost:1", "--quota-backend-bytes=17179869184"])
            .env_clear()
            .current_dir(&tools.sockets)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again);
        // SAFETY: the closure runs between fork and exec and calls unshare alone, which is async-signal-safe; it
        // allocates nothing.
        unsafe {
            command.pre_exec(|| match libc::unshare(libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let (child, exit) = processes.spawn(&mut command).map_err(|e| {
            use std::error::Error;
            let cause = e.source().map(ToString::to_string).unwrap_or_default();
            failed(
                &tools.etcd,
                format!("{e}: {cause}"),
                "run \"nodeinit recover\" again; nothing was changed",
            )
        })?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        Ok(Self { pid, exit, endpoint })
    }

    /// It answers a read that goes through its log: then everything before has been applied.
    fn until_applied(&self, processes: &Processes, tools: &Tools) -> Result<(), Fault> {
        let mut ended = None;
        let served = poll(LIMIT, Duration::from_millis(500), || {
            ended = match self.exit.try_recv() {
                Ok(exit) => Some(exit.to_string()),
                Err(TryRecvError::Disconnected) => Some("an end that nobody saw".to_owned()),
                Err(TryRecvError::Empty) => None,
            };
            // Not "endpoint health": an alarm that was on before does not keep anything from being applied.
            let ask = || processes.check(self.etcdctl(tools, &["get", "nodeimg"]), QUESTION).is_ok();
            ended.is_some() || ask()
        });
        let cause = match ended {
            None if served => return Ok(()),
            None => format!("etcd has not applied the log within {} s", LIMIT.as_secs()),
            Some(exit) => format!("etcd ended with {exit} while it applied the log"),
        };
        Err(failed(&tools.log, format!("{cause}: {}", complaint(&tools.log)), WITHOUT_LOG))
    }

    fn save(&self, processes: &Processes, tools: &Tools, to: &Path) -> Result<(), Fault> {
        let path = to.display().to_string();
        processes
            .check(self.etcdctl(tools, &["snapshot", "save", &path]), LIMIT)
            .map(drop)
            .map_err(|e| failed(to, e.to_string(), "run \"nodeinit recover\" again; nothing was changed"))
    }

    fn etcdctl(&self, tools: &Tools, arguments: &[&str]) -> Command {
        let mut command = Command::new(&tools.etcdctl);
        command.arg(format!("--endpoints={}", self.endpoint)).args(arguments).env_clear();
        command
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
        let _ = self.exit.recv_timeout(Duration::from_secs(5));
    }
}

/// A new log; etcd names keys in it.
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The last of what etcd said that is more than news; its log is lines of JSON.
fn complaint(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let severe =
        |line: &&str| ["\"fatal\"", "\"panic\"", "panic:", "\"error\""].iter().any(|w| line.contains(w));
    let line = text.lines().rev().find(severe).or_else(|| text.lines().next_back());
    line.unwrap_or("it said nothing").chars().take(300).collect()
}

fn listed(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| files::failed(folder, &e))? {
        let entry = entry.map_err(|e| files::failed(folder, &e))?;
        let is_file = entry.file_type().map_err(|e| files::failed(&entry.path(), &e))?.is_file();
        if is_file && entry.file_name().to_str().is_some_and(&wanted) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes a folder; it is well if there is none.
pub fn remove(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(files::failed(folder, &e)),
        _ => Ok(()),
    }
}

fn failed(object: &Path, cause: String, help: &str) -> Fault {
    Fault { code: Code::QuorumLost, object: object.display().to_string(), cause, help: help.into() }
}

#[cfg(test)]
mod tests;
