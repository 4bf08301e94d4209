//! What a node does when something is wrong: it says what, with a code and a next step, and loses nothing.

use crate::harness::{Machine, build, dist, nodeimg};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// The image copied, so that a test may damage it.
fn copy_of_the_image(to: &Path) -> PathBuf {
    let folder = to.join("cplane");
    let status = Command::new("cp").args(["-r", "--sparse=always"]).arg(build()).arg(&folder).status();
    assert!(status.expect("cp").success());
    folder
}

/// `nodeimg run --direct` of the image in `dist` with its state in `state`.
fn run(dist: &Path, state: &Path, more: &[&str]) -> Machine {
    let mut c = nodeimg("run", "cplane", dist);
    c.args(["--direct", "--isolated", "--state"]).arg(state).args(more);
    Machine::start(c)
}

#[test]
fn a_root_that_was_tampered_with_does_not_boot() {
    let temp = tempfile::tempdir().expect("temp folder");
    let image = copy_of_the_image(temp.path());
    let disk = fs::File::options().read(true).write(true).open(image.join("root.img")).expect("root.img");
    // The root partition is the first one; its second KiB is the EROFS superblock, which every boot reads.
    let at = first_partition(&disk) + 1024 + 16;
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).expect("read");
    disk.write_all_at(&[byte[0] ^ 1], at).expect("write");
    let mut machine = run(temp.path(), &temp.path().join("state"), &[]);
    machine.wait_for("NI-ROOT-003", 3 * MINUTE);
    machine.power_cut();
}

/// Where the first partition of a GPT disk begins, in bytes.
fn first_partition(disk: &fs::File) -> u64 {
    let mut entry = [0; 128];
    disk.read_exact_at(&mut entry, 2 * 512).expect("partition table");
    u64::from_le_bytes(entry[32..40].try_into().expect("eight bytes")) * 512
}

#[test]
fn a_wrong_seed_is_named_and_the_right_one_is_taken_when_it_comes() {
    build();
    let temp = tempfile::tempdir().expect("temp folder");
    let seed = temp.path().join("seed");
    fs::create_dir(&seed).expect("folder");
    fs::write(seed.join("meta-data"), "instance-id: i-1\n").expect("file");
    fs::write(seed.join("user-data"), "#cloud-config\nnodeimg:\n  cluster: lab\n  colour: blue\n")
        .expect("file");
    let state = temp.path().join("state");
    let mut machine = run(&dist(), &state, &["--seed", seed.to_str().expect("text")]);
    machine.wait_for("NI-SEED-00", 3 * MINUTE);

    let status = Command::new(env!("CARGO_BIN_EXE_nodeimg"))
        .args([
            "cluster",
            "new",
            "lab",
            "--control-plane",
            "cp1=10.0.2.15",
            "--endpoint",
            "api.lab.test",
            "--out",
        ])
        .arg(temp.path().join("lab"))
        .status();
    assert!(status.expect("nodeimg").success());
    fs::copy(temp.path().join("lab/seeds/cp1.img"), state.join("seed.img")).expect("the right disk");
    machine.wait_for("storage", 2 * MINUTE);
    machine.power_cut();
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
    let mut machine = run(&dist(), &state, &[]);
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
