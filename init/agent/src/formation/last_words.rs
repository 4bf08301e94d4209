//! What a static pod said when it ended: a pod that fails at every start looks, from outside, like one that is slow.
//!
//! Takes: the logs that containerd keeps of the pods (the CRI's format: time, stream, tag, text).
//! Gives: a line for a fault's cause.
//! Never does: follow a pod that lives, or read more than the end of a log.

use super::Formation;
use nodeimg_contract::fault::Fault;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const PODS: &str = "/var/log/pods";
/// Those without which this node's API server does not answer, the cause before the consequence.
const CONTAINERS: [&str; 2] = ["etcd", "kube-apiserver"];
/// The last words come before a stack, which has an end.
const TAIL: u64 = 256 << 10;
/// The kubelet waits for five minutes at most before it starts a failing container again: what ended earlier was followed
/// by a life.
const RECENT: Duration = Duration::from_secs(600);
/// Of one line on a console.
const MAX_CHARS: usize = 240;

/// Adds to a fault's cause what etcd or the API server of this node said when it ended since the kubelet was started.
pub fn explain(f: &Formation<'_>, fault: Fault) -> Fault {
    match of_this_boot(f) {
        Some(words) => Fault { cause: format!("{}; {words}", fault.cause), ..fault },
        None => fault,
    }
}

/// What etcd or the API server of this node said when it ended since the kubelet was started.
pub fn of_this_boot(f: &Formation<'_>) -> Option<String> {
    let opened = SystemTime::from(f.memory.opened.get()?);
    let recent = SystemTime::now().checked_sub(RECENT)?;
    below(Path::new(PODS), opened.max(recent))
}

fn below(pods: &Path, since: SystemTime) -> Option<String> {
    CONTAINERS.iter().find_map(|container| {
        let words = logs(pods, container, since).into_iter().find_map(|log| in_log(&log).ok().flatten())?;
        Some(format!("{container} ended: {words}"))
    })
}

/// The logs of a container's last two lives, the last one first: it may have only begun.
fn logs(pods: &Path, container: &str, since: SystemTime) -> Vec<PathBuf> {
    let pod = format!("kube-system_{container}-");
    let mut found: Vec<(SystemTime, PathBuf)> = entries(pods)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&pod)))
        .flat_map(|path| entries(&path.join(container)))
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .filter(|(modified, _)| *modified >= since)
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).take(2).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

fn in_log(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).lines().filter_map(text).find_map(last_words))
}

/// A line of the CRI's log without time, stream and tag.
fn text(line: &str) -> Option<&str> {
    line.splitn(4, ' ').nth(3)
}

/// Whether somebody ends with this line: etcd's logger (zap, JSON), klog, cobra, the Go runtime.
fn last_words(text: &str) -> Option<String> {
    let said = if text.starts_with('{') {
        let line: serde_json::Value = serde_json::from_str(text).ok()?;
        let field = |name: &str| line.get(name).and_then(serde_json::Value::as_str);
        if !matches!(field("level")?, "fatal" | "panic") {
            return None;
        }
        [field("msg"), field("error")].into_iter().flatten().collect::<Vec<_>>().join(": ")
    } else if is_klog_end(text) {
        text.split_once("] ").map_or(text, |(_, said)| said).to_owned()
    } else if ["panic: ", "fatal error: ", "Error: "].iter().any(|start| text.starts_with(start)) {
        text.to_owned()
    } else {
        return None;
    };
    Some(said.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_CHARS).collect())
}

/// klog's head is a letter and the date (`F1122 12:00:00.000000       1 file.go:1] text`). The components of Kubernetes
/// say why they go as an error named so.
fn is_klog_end(text: &str) -> bool {
    let dated = |letter| {
        text.strip_prefix(letter)
            .and_then(|t| t.get(..4))
            .is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()))
    };
    dated('F') || (dated('E') && text.contains("] \"command failed\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn log(pods: &Path, container: &str, life: u32, lines: &str) {
        let folder = pods.join(format!("kube-system_{container}-cp1_0123/{container}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{life}.log")), lines).unwrap();
    }

    const ETCD: &str = r#"2026-11-23T12:00:01.0Z stderr F {"level":"info","ts":"x","msg":"starting"}
2026-11-23T12:00:02.0Z stderr F {"level":"panic","ts":"x","caller":"raft.go","msg":"tocommit(815) is out of range [lastIndex(814)]"}
2026-11-23T12:00:02.0Z stderr F panic: tocommit(815) is out of range [lastIndex(814)]
2026-11-23T12:00:02.0Z stderr F goroutine 1 [running]:
"#;
    const API: &str = "2026-11-23T12:00:03.0Z stderr F W1123 12:00:03.000000       1 logging.go:55] grpc: connection refused\n\
         2026-11-23T12:00:04.0Z stderr F F1123 12:00:04.000000       1 instance.go:226] Error creating leases: error creating \
         storage factory: context deadline exceeded\n";

    #[test]
    fn the_cause_comes_before_the_consequence() {
        let dir = tempfile::tempdir().unwrap();
        let before = SystemTime::now() - Duration::from_secs(60);
        assert_eq!(below(dir.path(), before), None);
        log(dir.path(), "kube-apiserver", 0, API);
        let api = "kube-apiserver ended: Error creating leases: error creating storage factory: context deadline exceeded";
        assert_eq!(below(dir.path(), before).unwrap(), api);
        log(dir.path(), "etcd", 3, ETCD);
        let etcd = "etcd ended: tocommit(815) is out of range [lastIndex(814)]";
        assert_eq!(below(dir.path(), before).unwrap(), etcd);
        // The next life has only begun.
        log(
            dir.path(),
            "etcd",
            4,
            "2026-11-23T12:00:09.0Z stderr F {\"level\":\"info\",\"msg\":\"starting\"}\n",
        );
        assert_eq!(below(dir.path(), before).unwrap(), etcd);
    }

    #[test]
    fn an_earlier_boot_explains_nothing() {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path(), "etcd", 3, ETCD);
        assert_eq!(below(dir.path(), SystemTime::now() + Duration::from_secs(60)), None);
    }

    #[test]
    fn an_end_is_told_from_a_complaint() {
        let ends = [
            (
                r#"{"level":"fatal","msg":"discovery failed","error":"member count is unequal"}"#,
                "discovery failed: member count is unequal",
            ),
            (
                "E1123 12:00:04.000000       1 run.go:72] \"command failed\" err=\"no such flag\"",
                "\"command failed\" err=\"no such flag\"",
            ),
            ("Error: unknown flag: --x", "Error: unknown flag: --x"),
            ("fatal error: out of memory\u{1b}[2J", "fatal error: out of memory?[2J"),
        ];
        for (line, said) in ends {
            assert_eq!(last_words(line).as_deref(), Some(said));
        }
        for line in [
            r#"{"level":"error","msg":"prober failed"}"#,
            "{\"level\":\"panic\"",
            "E1123 12:00:04.000000       1 cacher.go:1] unexpected watch",
            "Flag --x has been deprecated",
            "E1",
            "",
        ] {
            assert_eq!(last_words(line), None, "{line}");
        }
        assert_eq!(last_words(&format!("panic: {}", "ü".repeat(500))).unwrap().chars().count(), MAX_CHARS);
    }

    #[test]
    fn a_long_stack_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let before = SystemTime::now() - Duration::from_secs(60);
        let early =
            "2026-11-23T12:00:00.0Z stderr F {\"level\":\"info\",\"msg\":\"starting\"}\n".repeat(10_000);
        let stack = "2026-11-23T12:00:02.0Z stderr F \tmain.go:1 +0x1\n".repeat(1000);
        log(dir.path(), "etcd", 0, &format!("{early}{ETCD}{stack}"));
        assert!(below(dir.path(), before).unwrap().contains("tocommit(815)"));
    }
}
