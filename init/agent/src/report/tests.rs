use super::*;
use std::time::Instant;

fn fault() -> Fault {
    Fault {
        code: Code::DiskMissing,
        object: "state disk".into(),
        cause: "none yet".into(),
        help: "plug one in".into(),
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_deadline_raises_its_fault_and_the_end_of_the_wait_clears_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let r = Reporter::quiet(dir.path().to_owned());
    let wait = r.waiting("a disk", Duration::from_millis(20), fault());
    assert_eq!(r.status().waiting.map(|w| w.what).as_deref(), Some("a disk"));
    until("the fault shows", || r.has_fault(Code::DiskMissing));
    wait.cause("still none");
    assert_eq!(r.status().fault.map(|f| f.cause).as_deref(), Some("still none"));
    drop(wait);
    assert!(r.status().fault.is_none() && r.status().waiting.is_none());
}

#[test]
fn a_wait_that_ends_in_time_raises_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let r = Reporter::quiet(dir.path().to_owned());
    drop(r.waiting("a disk", Duration::from_secs(60), fault()));
    assert!(!r.has_fault(Code::DiskMissing));
}

#[test]
fn the_file_is_the_status_and_milestones_count_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let r = Reporter::quiet(dir.path().to_owned());
    r.phase(Phase::Storage);
    r.milestone("storage");
    let first = r.status().milestones;
    r.milestone("storage");
    r.node("cp1");
    assert_eq!(r.status().milestones, first);
    let file = std::fs::read(dir.path().join("status.json")).expect("a status file");
    assert_eq!(serde_json::from_slice::<NodeStatus>(&file).expect("JSON"), r.status());
    assert!(std::fs::read_to_string(dir.path().join("nodeinit.log")).expect("a log").contains("storage"));
}

#[test]
fn of_two_faults_the_newest_shows_and_the_older_one_comes_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let r = Reporter::quiet(dir.path().to_owned());
    r.fault(fault());
    r.fault(Fault { code: Code::ServiceFailed, ..fault() });
    assert_eq!(r.status().fault.map(|f| f.code), Some(Code::ServiceFailed));
    r.fault(Fault { code: Code::RootTampered, ..fault() });
    r.fault(Fault { code: Code::KubeadmFailed, ..fault() });
    assert_eq!(r.status().fault.map(|f| f.code), Some(Code::RootTampered));
    r.clear_fault(Code::RootTampered);
    r.clear_fault(Code::KubeadmFailed);
    r.clear_fault(Code::ServiceFailed);
    assert_eq!(r.status().fault.map(|f| f.code), Some(Code::DiskMissing));
}
