//! An image that a test may damage: a copy, and the places in it.

use crate::harness::build;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The control plane's image, copied to `to/cplane`.
pub fn copy_of_the_image(to: &Path) -> PathBuf {
    let folder = to.join("cplane");
    let status = Command::new("cp").args(["-r", "--sparse=always"]).arg(build()).arg(&folder).status();
    assert!(status.expect("cp").success());
    folder
}

/// Flips one bit of the root file system, `at` bytes behind its beginning.
pub fn flip(image: &Path, at: u64) {
    let disk = File::options().read(true).write(true).open(image.join("root.img")).expect("root.img");
    let at = root_partition(&disk) + at;
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).expect("read");
    disk.write_all_at(&[byte[0] ^ 1], at).expect("write");
}

/// Where the data of a file begins in the root file system, in bytes: the first extent that dump.erofs shows
/// (`0: LOGICAL.. END | LENGTH : PHYSICAL.. END | LENGTH`).
pub fn first_extent(test: &str, image: &Path, file: &str) -> Option<u64> {
    let disk = image.join("root.img");
    let offset = root_partition(&File::open(&disk).expect("root.img"));
    let mut dump = nodeimg_test_programs::tool(test, "dump.erofs")?;
    dump.arg("-e").arg(format!("--offset={offset}")).arg(format!("--path={file}")).arg(&disk);
    let said = dump.output().expect("dump.erofs");
    let text = String::from_utf8_lossy(&said.stdout);
    let line = text.lines().find_map(|l| l.trim_start().strip_prefix("0:"));
    let physical = line.and_then(|l| l.split(':').nth(1)?.split("..").next()?.trim().parse().ok());
    Some(physical.unwrap_or_else(|| panic!("no extent of \"{file}\":\n{text}")))
}

/// Where the root partition, the first one of the GPT disk, begins, in bytes.
fn root_partition(disk: &File) -> u64 {
    let mut entry = [0; 128];
    disk.read_exact_at(&mut entry, 2 * 512).expect("partition table");
    u64::from_le_bytes(entry[32..40].try_into().expect("eight bytes")) * 512
}
