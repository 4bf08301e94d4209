//! Against real etcd: three members on loopback. Needs root (a network namespace) and the cache's programs; without them a
//! test is skipped by name.

use super::*;
use nodeimg_test_programs::{payload, skipped};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Child;

const NAMES: [&str; 3] = ["a", "b", "c"];
const KEYS: usize = 250;

struct Member {
    child: Child,
    client: String,
    data: PathBuf,
}

impl Member {
    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

fn start(programs: &Path, name: &str, data: &Path, client: &str, peer: &str, more: &[String]) -> Member {
    let mut command = Command::new(programs.join("etcd"));
    command
        .arg(format!("--name={name}"))
        .arg(format!("--data-dir={}", data.display()))
        .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Member { child: command.spawn().expect("etcd"), client: client.into(), data: data.into() }
}

fn etcdctl(programs: &Path, client: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(programs.join("etcdctl"));
    command.args([&format!("--endpoints={client}"), "--command-timeout=3s"]).args(arguments);
    let output = command.output().expect("etcdctl");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("text"))
}

/// A leader's data that ends with an entry which no follower has: what a survivor cannot know to be committed.
fn survivor(programs: &Path, folder: &Path) -> PathBuf {
    let url = || format!("http://127.0.0.1:{}", port());
    let peers: Vec<_> = NAMES.iter().map(|_| url()).collect();
    let list: Vec<_> = NAMES.iter().zip(&peers).map(|(n, p)| format!("{n}={p}")).collect();
    // Snapshots of raft's own, so that the log has entries before and behind one.
    let more = [format!("--initial-cluster={}", list.join(",")), "--snapshot-count=100".into()];
    let members: Vec<_> = NAMES
        .iter()
        .zip(&peers)
        .map(|(name, peer)| start(programs, name, &folder.join(name), &url(), peer, &more))
        .collect();
    let first = members[0].client.as_str();
    let served = || etcdctl(programs, first, &["endpoint", "health"]).is_some();
    assert!(poll(Duration::from_secs(60), Duration::from_millis(200), served), "three members serve");
    for key in 0..KEYS {
        etcdctl(programs, first, &["put", &format!("key{key:03}"), "known"]).expect("put");
    }
    let leads = |member: &Member| {
        let status = etcdctl(programs, &member.client, &["endpoint", "status", "--write-out=json"]);
        let status: serde_json::Value = serde_json::from_str(&status.expect("status")).expect("JSON");
        status[0]["Status"]["leader"] == status[0]["Status"]["header"]["member_id"]
    };
    let leader = members.iter().position(leads).expect("a leader");
    for (at, member) in members.iter().enumerate() {
        if at != leader {
            member.signal(Signal::SIGSTOP);
        }
    }
    let last = etcdctl(programs, &members[leader].client, &["put", "last", "not known"]);
    assert!(last.is_none(), "nobody acknowledges it");
    members[leader].data.join("member")
}

fn programs(test: &str, folder: &Path) -> Option<Tools> {
    if !nix::unistd::geteuid().is_root() {
        skipped(test, "needs root for a network namespace");
        return None;
    }
    std::fs::create_dir(folder.join("programs")).expect("a folder");
    payload(test, &["etcd", "etcdctl", "etcdutl"], &folder.join("programs"))?;
    Some(Tools {
        etcd: folder.join("programs/etcd"),
        etcdctl: folder.join("programs/etcdctl"),
        sockets: folder.join("sockets"),
        log: folder.join("recovery.log"),
    })
}

fn content(member: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files =
        ["snap", "wal"].into_iter().flat_map(|f| listed(&member.join(f), |_| true).expect("a folder"));
    files.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

#[test]
fn what_a_survivor_does_not_know_to_be_committed_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let Some(tools) = programs("what_a_survivor_does_not_know_to_be_committed_is_kept", path) else { return };
    let programs = path.join("programs");
    let member = survivor(&programs, path);
    let before = content(&member);
    let (_, found) = ending(&member).expect("a log");
    assert!(found.last > found.known && found.known > KEYS as u64, "{found:?}");

    let reporter = Reporter::quiet(path.join("run"));
    let processes = Processes::start(reporter.clone());
    let (work, to) = (path.join("recovering"), path.join("snapshot.db"));
    // What a power cut left of an earlier try.
    fs::create_dir_all(work.join("member/wal")).expect("made");
    fs::write(work.join("member/wal/0000000000000009-0000000000000009.wal"), "torn").expect("written");
    snapshot(&reporter, &processes, &tools, &member, &work, &to).expect("a snapshot");
    assert!(!work.exists(), "the copy is gone");
    assert!(content(&member) == before, "etcd's data is as it was");

    let restored = path.join("restored");
    let peer = format!("http://127.0.0.1:{}", port());
    let list = format!("--initial-cluster=alone={peer}");
    let mut etcdutl = Command::new(programs.join("etcdutl"));
    etcdutl.args(["snapshot", "restore"]).arg(&to).arg(format!("--data-dir={}", restored.display()));
    etcdutl.args(["--name=alone", &list, &format!("--initial-advertise-peer-urls={peer}")]);
    let output = etcdutl.output().expect("etcdutl");
    assert!(output.status.success(), "its sum fits: {}", String::from_utf8_lossy(&output.stderr));
    let client = format!("http://127.0.0.1:{}", port());
    let alone = start(&programs, "alone", &restored, &client, &peer, &[list]);
    let served = || etcdctl(&programs, &alone.client, &["endpoint", "health"]).is_some();
    assert!(poll(Duration::from_secs(30), Duration::from_millis(200), served), "a member of one serves");
    let all = etcdctl(&programs, &alone.client, &["get", "--prefix", "", "--keys-only"]).expect("keys");
    let keys: Vec<_> = all.split_whitespace().filter(|key| key.starts_with("key")).collect();
    assert_eq!(keys.len(), KEYS);
    let last = etcdctl(&programs, &alone.client, &["get", "last", "--print-value-only"]);
    assert_eq!(last.as_deref().map(str::trim), Some("not known"));
}

#[test]
fn a_log_that_is_damaged_changes_nothing_and_says_what_to_do() {
    const TEST: &str = "a_log_that_is_damaged_changes_nothing_and_says_what_to_do";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let Some(tools) = programs(TEST, path) else { return };
    let member = survivor(&path.join("programs"), path);
    let (segment, found) = ending(&member).expect("a log");
    let mut bytes = fs::read(&segment).expect("read");
    // In an entry: what pads a record to eight bytes counts for nobody.
    let entries: Vec<_> = (0..found.offset).filter(|at| bytes[*at..].starts_with(b"known")).collect();
    bytes[entries[entries.len() / 2]] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let before = content(&member);

    let reporter = Reporter::quiet(path.join("run"));
    let processes = Processes::start(reporter.clone());
    let (work, to) = (path.join("recovering"), path.join("snapshot.db"));
    let fault = snapshot(&reporter, &processes, &tools, &member, &work, &to).expect_err("damaged");
    assert_eq!(fault.code, Code::QuorumLost);
    assert!(fault.object.ends_with(".wal") && fault.help.contains("--without-log"), "{fault}");
    assert!(!work.exists() && !to.exists(), "nothing is left behind");
    assert!(content(&member) == before, "etcd's data is as it was");
}

#[test]
fn an_etcd_that_ends_is_named_with_what_it_said() {
    const TEST: &str = "an_etcd_that_ends_is_named_with_what_it_said";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let Some(tools) = programs(TEST, path) else { return };
    // A log without a database: etcd's own check refuses it.
    let member = survivor(&path.join("programs"), path);
    fs::write(member.join("snap/db"), "no database").expect("written");

    let reporter = Reporter::quiet(path.join("run"));
    let processes = Processes::start(reporter.clone());
    let (work, to) = (path.join("recovering"), path.join("snapshot.db"));
    let fault = snapshot(&reporter, &processes, &tools, &member, &work, &to).expect_err("no database");
    assert_eq!(fault.object, tools.log.display().to_string());
    assert!(fault.cause.contains("etcd ended with"), "{fault}");
    assert!(!work.exists() && !to.exists(), "nothing is left behind");
}
