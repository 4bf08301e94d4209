//! Sealing as a whole: against a stand-in for mkfs.erofs that fails on purpose, and against the real one of the tools
//! tree.

use nodeimg_cache::Cache;
use nodeimg_progress::{Outcome, Progress};
use nodeimg_seal::{MkfsErofs, SealError, Sealed, seal};
use nodeimg_tree::{Entry, Kind, Part, RootTree, TreePath};
use std::path::Path;
use std::process::Command;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).expect("path")
}

fn tree() -> RootTree {
    let mut tree = RootTree::new();
    let noise: Vec<u8> = (0u32..3 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    tree.insert(path("usr/bin/big"), Entry::file(noise, 0o755, Part::Programs));
    tree.insert(path("etc/hostname"), Entry::symlink("/run/nodeimg/etc/hostname", Part::Config));
    tree.insert(
        path("bin/big"),
        Entry { kind: Kind::Hardlink(path("usr/bin/big")), ..Entry::dir(0o755, Part::Programs) },
    );
    tree
}

fn shell(script: &str) -> MkfsErofs {
    let mut command = Command::new("sh");
    command.args(["-c", script, "mkfs"]);
    MkfsErofs::new(command, "stand-in")
}

/// Copies its input to the image, in whole blocks, like a file system that holds nothing but the stream.
const COPY: &str = r#"for last; do :; done; dd of="$last" bs=4096 conv=sync iflag=fullblock 2>/dev/null"#;

fn seal_in(dir: &Path, tree: &RootTree, mkfs: MkfsErofs) -> (Result<Sealed, SealError>, Vec<Outcome>) {
    let progress = Progress::silent();
    let cache = Cache::open(dir).expect("cache");
    let sealed = seal(tree, mkfs, 1_700_000_000, &cache, &progress);
    (sealed, progress.finished().iter().map(|f| f.outcome).collect())
}

#[test]
fn sealed_once_found_afterwards_and_the_same_in_another_cache() {
    let (one, two) = (tempfile::tempdir().expect("temp"), tempfile::tempdir().expect("temp"));
    let (first, how) = seal_in(one.path(), &tree(), shell(COPY));
    let first = first.expect("sealed");
    assert_eq!(how, [Outcome::Built]);
    let (again, how) = seal_in(one.path(), &tree(), shell("exit 9"));
    assert_eq!(
        (again.expect("found").root_hash(), how.as_slice()),
        (first.root_hash(), &[Outcome::Cached][..])
    );
    let (elsewhere, _) = seal_in(two.path(), &tree(), shell(COPY));
    let elsewhere = elsewhere.expect("sealed");
    let bytes = |p: &Path| std::fs::read(p).expect("read");
    assert_eq!(elsewhere.root_hash(), first.root_hash());
    assert_eq!(bytes(&elsewhere.verity()), bytes(&first.verity()));
    assert_eq!(first.parts()[&Part::Programs], 3 << 20);
}

#[test]
fn a_child_that_stops_reading_is_told_by_its_own_words() {
    let dir = tempfile::tempdir().expect("temp");
    let (failed, _) =
        seal_in(dir.path(), &tree(), shell("head -c 100 >/dev/null; echo no space left >&2; exit 28"));
    let text = failed.expect_err("must fail").to_string();
    assert!(text.contains("no space left") && text.contains("28") && text.contains("help:"), "{text}");
    let (killed, _) = seal_in(dir.path(), &tree(), shell("kill -9 $$"));
    assert!(killed.expect_err("must fail").to_string().contains("signal"));
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).expect("tmp").count(), 0, "nothing is left behind");
    let (sealed, _) = seal_in(dir.path(), &tree(), shell(COPY));
    assert!(sealed.is_ok(), "and the next run goes on");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().expect("temp");
    let mkfs = MkfsErofs::new(Command::new("/nonexistent/mkfs.erofs"), "none");
    let (failed, _) = seal_in(dir.path(), &tree(), mkfs);
    assert!(failed.expect_err("must fail").to_string().contains("/nonexistent/mkfs.erofs"));
}

#[test]
fn a_broken_cache_entry_is_not_trusted() {
    let dir = tempfile::tempdir().expect("temp");
    let sealed = seal_in(dir.path(), &tree(), shell(COPY)).0.expect("sealed");
    std::fs::write(sealed.verity(), "short").expect("write");
    let failed = seal_in(dir.path(), &tree(), shell(COPY)).0.expect_err("must fail").to_string();
    assert!(failed.contains("help: remove"), "{failed}");
}

#[test]
fn the_real_mkfs_erofs_makes_the_same_image_twice() {
    const NAME: &str = "the_real_mkfs_erofs_makes_the_same_image_twice";
    let mkfs =
        || nodeimg_test_programs::tool(NAME, "mkfs.erofs").map(|command| MkfsErofs::new(command, "real"));
    let (Some(mkfs), Some(again)) = (mkfs(), mkfs()) else { return };
    let (one, two) = (tempfile::tempdir().expect("temp"), tempfile::tempdir().expect("temp"));
    let first = seal_in(one.path(), &tree(), mkfs).0.expect("sealed");
    let second = seal_in(two.path(), &tree(), again).0.expect("sealed");
    assert_eq!(first.root_hash(), second.root_hash());
    let image = std::fs::read(first.erofs()).expect("read");
    assert_eq!(image[1024..1028], 0xE0F5_E1E2u32.to_le_bytes(), "EROFS magic");
}
