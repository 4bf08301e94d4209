use super::*;
use crate::process::backoff::Backoff;
use crate::process::backoff::GOOD_RUN;
use nodeimg_contract::fault::Code;
use proptest::prelude::*;

fn processes(dir: &std::path::Path) -> Processes {
    Processes::start(Reporter::quiet(dir.to_owned()))
}

fn sh(script: &str) -> Command {
    let mut c = Command::new("/bin/sh");
    c.args(["-c", script]);
    c
}

#[test]
fn a_command_gives_its_exit_and_output() {
    let dir = tempfile::tempdir().expect("a folder");
    let p = processes(dir.path());
    let done =
        p.run_with_input(sh("cat; echo no >&2; exit 3"), b"hello", Duration::from_secs(20)).expect("runs");
    assert_eq!((done.status, done.stdout.as_slice()), (Exit::Code(3), &b"hello"[..]));
    assert_eq!(done.complaint(), "no");
    assert!(matches!(p.check(sh("exit 3"), Duration::from_secs(20)), Err(ProcessError::Failed { .. })));
    assert!(matches!(
        p.run(Command::new("/nowhere/at/all"), Duration::from_secs(20)),
        Err(ProcessError::Start { .. })
    ));
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children() {
    let dir = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let hung = processes(dir.path()).run(sh("sleep 60 & sleep 60"), Duration::from_millis(100));
    assert!(matches!(hung, Err(ProcessError::TimedOut { .. })));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn output_without_end_is_bounded() {
    let dir = tempfile::tempdir().expect("a folder");
    let done = processes(dir.path())
        .run(sh("head -c 3000000 /dev/zero; echo end"), Duration::from_secs(30))
        .expect("runs");
    assert!(done.stdout.len() <= 2 * KEEP && done.stdout.ends_with(b"end\n"));
}

#[test]
fn a_service_that_dies_is_started_again_and_said_to_fail() {
    let dir = tempfile::tempdir().expect("a folder");
    let reporter = Reporter::quiet(dir.path().to_owned());
    let p = Processes::start(reporter.clone());
    let service = p.supervise(ServiceSpec {
        name: "weak",
        command: Box::new(|| sh("echo last words; exit 1")),
        log: dir.path().join("weak.log"),
        oom_score_adj: None,
    });
    let failing = || reporter.has_fault(Code::ServiceFailed);
    assert!(poll(Duration::from_secs(20), Duration::from_millis(20), failing));
    assert!(service.starts() >= 3);
    assert!(reporter.status().fault.is_some_and(|f| f.cause.contains("last words")));
    service.stop(Duration::from_secs(1));
    let starts = service.starts();
    assert_eq!((service.pid(), service.starts()), (None, starts));
}

#[test]
fn a_service_stops_when_asked_and_by_force_when_deaf() {
    let dir = tempfile::tempdir().expect("a folder");
    let p = processes(dir.path());
    let deaf = p.supervise(ServiceSpec {
        name: "deaf",
        command: Box::new(|| sh("trap '' TERM; echo up; while :; do sleep 1; done")),
        log: dir.path().join("deaf.log"),
        oom_score_adj: None,
    });
    let up = || std::fs::read_to_string(dir.path().join("deaf.log")).is_ok_and(|t| t.contains("up"));
    assert!(poll(Duration::from_secs(20), Duration::from_millis(20), up));
    deaf.stop(Duration::from_millis(200));
    assert_eq!(deaf.pid(), None);
}

#[test]
fn a_log_keeps_two_files_and_the_last_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("x.log");
    let mut log = RotatingLog::with_limit(&path, 100);
    for i in 0..60 {
        log.write(format!("line {i}\n").as_bytes());
    }
    let size = |p: &std::path::Path| std::fs::metadata(p).map(|m| m.len()).unwrap_or(0);
    assert!(size(&path) <= 100 && size(&dir.path().join("x.log.1")) <= 100);
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 2);
    assert_eq!(log.tail().last().map(String::as_str), Some("line 59"));
}

proptest! {
    #[test]
    fn pauses_grow_and_are_bounded(runs in proptest::collection::vec(0u64..60_000, 1..50)) {
        let mut backoff = Backoff::default();
        let mut last = Duration::ZERO;
        for ms in runs {
            let ran = Duration::from_millis(ms);
            let pause = backoff.ended(ran);
            prop_assert!(pause >= Duration::from_millis(250) && pause <= Duration::from_secs(30));
            if ran < GOOD_RUN {
                prop_assert!(pause >= last);
            } else {
                prop_assert!(!backoff.keeps_failing());
            }
            last = pause;
        }
    }

    #[test]
    fn a_log_takes_any_bytes(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..20)) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = RotatingLog::with_limit(&dir.path().join("x.log"), 1000);
        for c in &chunks {
            log.write(c);
        }
        prop_assert!(log.tail().len() <= 12);
    }
}
