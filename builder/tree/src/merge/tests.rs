//! How packages become one tree.

use super::*;
use crate::unpack::UnpackedEntry;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).expect("path")
}

fn file(at: &str, sha: &str) -> UnpackedEntry {
    let content = Content::Path { path: format!("/cache/deb/x/content/{sha}").into(), size: 1 };
    UnpackedEntry { path: path(at), kind: Kind::File(content), mode: 0o644, uid: 0, gid: 0 }
}

fn entry(at: &str, kind: Kind) -> UnpackedEntry {
    UnpackedEntry { path: path(at), kind, mode: 0o755, uid: 0, gid: 0 }
}

fn deb(name: &str, entries: Vec<UnpackedEntry>) -> UnpackedDeb {
    UnpackedDeb { name: name.into(), sha256: name.into(), entries }
}

#[test]
fn old_paths_go_below_usr() {
    let debs = [deb(
        "a",
        vec![entry("bin", Kind::Dir), file("bin/x", "1"), file("usr/bin/y", "2"), file("lib/x86/z.so", "3")],
    )];
    let tree = packages(&debs, &|_| true).expect("merge");
    assert_eq!(tree.get(&path("bin")).map(|e| &e.kind), Some(&Kind::Symlink("usr/bin".into())));
    assert!(["usr/bin/x", "usr/bin/y", "usr/lib/x86/z.so"].iter().all(|p| tree.get(&path(p)).is_some()));
    assert!(tree.get(&path("bin/x")).is_none());
}

#[test]
fn nothing_goes_through_a_link_of_another_package() {
    let debs = [
        deb("a", vec![entry("usr/share/x", Kind::Symlink("/etc".into()))]),
        deb("b", vec![file("usr/share/x/passwd", "1")]),
    ];
    let error = packages(&debs, &|_| true).expect_err("refused");
    assert!(matches!(error, MergeError::Through { ref owner, .. } if owner == "b"), "{error}");
}

#[test]
fn two_packages_may_share_folders_and_equal_files_but_nothing_else() {
    let same = [
        deb("a", vec![entry("usr/d", Kind::Dir), file("usr/d/f", "1")]),
        deb("b", vec![entry("usr/d", Kind::Dir), file("usr/d/f", "1")]),
    ];
    assert!(packages(&same, &|_| true).is_ok());
    let different = [deb("a", vec![file("lib/f", "1")]), deb("b", vec![file("usr/lib/f", "2")])];
    let error = packages(&different, &|_| true).expect_err("conflict").to_string();
    assert!(error.contains("\"a\" and \"b\"") && error.contains("/usr/lib/f"), "{error}");
    assert!(packages(&different, &|p| p.name() != "f").is_ok());
}

#[test]
fn a_hard_link_outlives_its_first_name() {
    let debs = [deb("a", vec![file("usr/doc", "1"), entry("usr/x", Kind::Hardlink(path("usr/doc")))])];
    let tree = packages(&debs, &|p| p.name() != "doc").expect("merge");
    assert!(matches!(tree.get(&path("usr/x")).map(|e| &e.kind), Some(Kind::File(_))));
    let tree = packages(&debs, &|_| true).expect("merge");
    assert_eq!(tree.get(&path("usr/x")).map(|e| &e.kind), Some(&Kind::Hardlink(path("usr/doc"))));
}
