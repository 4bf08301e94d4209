//! What a node does when something is wrong: it says what, with a code and a next step, and loses nothing.

use crate::harness::{Machine, build, dist, nodeimg};
use crate::tampered::{copy_of_the_image, flip};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// `nodeimg run --direct` of the image in `dist` with its state in `state`.
fn run(dist: &Path, state: &Path) -> Machine {
    let mut c = nodeimg("run", "cplane", dist);
    c.args(["--direct", "--isolated", "--state"]).arg(state);
    Machine::start(c)
}

#[test]
fn a_root_that_was_tampered_with_does_not_boot() {
    let temp = tempfile::tempdir().expect("temp folder");
    let image = copy_of_the_image(temp.path());
    // The second KiB is the EROFS superblock, which every boot reads.
    flip(&image, 1024 + 16);
    let mut machine = run(temp.path(), &temp.path().join("state"));
    machine.wait_for("NI-ROOT-003", 3 * MINUTE);
    machine.power_cut();
}

#[test]
fn a_missing_and_a_wrong_seed_are_named_and_the_right_one_is_taken_when_it_comes() {
    build();
    let temp = tempfile::tempdir().expect("temp folder");
    let lab = temp.path().join("lab");
    let mut cluster_new = Command::new(env!("CARGO_BIN_EXE_nodeimg"));
    cluster_new.args(["cluster", "new", "lab", "--control-plane", "cp1=10.0.2.15"]);
    let made = cluster_new.args(["--endpoint", "api.lab.test", "--out"]).arg(&lab).output().expect("nodeimg");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let right = fs::read(lab.join("seeds/cp1.img")).expect("the right disk");
    let state = temp.path().join("state");
    fs::create_dir(&state).expect("folder");
    let disk = state.join("seed.img");

    fs::write(&disk, vec![0; right.len()]).expect("a disk with nothing on it");
    let mut machine = run(&dist(), &state);
    machine.wait_for("NI-SEED-001", 3 * MINUTE);
    let plugged = fs::File::options().write(true).open(&disk).expect("the disk");
    plugged.write_all_at(&with_an_unknown_key(&right), 0).expect("the wrong disk");
    machine.wait_for("NI-SEED-002", MINUTE);
    plugged.write_all_at(&right, 0).expect("the right disk");
    machine.wait_for("storage", 2 * MINUTE);
    machine.power_cut();
}

/// The same disk, but for one letter of its user-data.
fn with_an_unknown_key(disk: &[u8]) -> Vec<u8> {
    let key = b"controlPlanes:";
    let mut wrong = disk.to_vec();
    let mut changed = 0;
    for at in 0..wrong.len() - key.len() {
        if wrong[at..].starts_with(key) {
            wrong[at] = b'k';
            changed += 1;
        }
    }
    assert_eq!(changed, 1, "the seed names its control planes once");
    wrong
}

#[test]
fn a_disk_of_somebody_else_is_left_alone() {
    build();
    let temp = tempfile::tempdir().expect("temp folder");
    let state = temp.path().join("state");
    fs::create_dir(&state).expect("folder");
    let disk = state.join("state.img");
    let mut options = fs::File::options();
    let file = options.read(true).write(true).create_new(true).open(&disk).expect("disk");
    file.set_len(4 << 30).expect("size");
    file.write_all_at(b"somebody's payroll", 512 * 100).expect("data");
    let mut machine = run(&dist(), &state);
    let line = machine.wait_for("NI-DISK-002", 3 * MINUTE);
    assert!(!line.is_empty());
    machine.power_cut();
    let mut data = [0; 18];
    file.read_exact_at(&mut data, 512 * 100).expect("read");
    assert_eq!(&data, b"somebody's payroll");
    let mut rest = vec![0; 4 << 20];
    file.read_exact_at(&mut rest, 1 << 20).expect("read");
    assert!(rest.iter().all(|b| *b == 0), "nothing was written to the disk");
}
