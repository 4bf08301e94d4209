//! What is added to a root, and what of an overlay stays.

use super::*;
use crate::root::accounts::BadDeclaration;
use nodeimg_contract::image::Role;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).expect("path")
}

fn manifest() -> RootManifest {
    RootManifest {
        schema: 1,
        profile: "cplane".into(),
        role: Role::ControlPlane,
        source_date_epoch: 1_700_000_000,
        suite: "trixie".into(),
        kernel: "6.12".into(),
        kubernetes: "1.36.3".into(),
        image_repository: "nodeimg.invalid/k8s".into(),
        image_tags: Default::default(),
        versions: Default::default(),
        nodeinit: "0".repeat(64),
        addons: vec![],
    }
}

fn text(tree: &RootTree, at: &str) -> String {
    let content = tree.resolve(&path(at)).expect("content");
    String::from_utf8(content.read().expect("bytes")).expect("text")
}

fn file(tree: &mut RootTree, at: &str, content: &str) {
    tree.insert(path(at), Entry::file(content.as_bytes(), 0o644, Part::Debian));
}

#[test]
fn a_bare_tree_gets_what_a_node_needs() {
    let mut tree = RootTree::new();
    file(&mut tree, "usr/bin/mawk", "");
    file(&mut tree, "usr/bin/sh", "");
    file(&mut tree, "usr/sbin/chronyd", "");
    file(&mut tree, "etc/hosts", "a package's");
    file(&mut tree, "usr/share/ca-certificates/mozilla/b.crt", "B");
    file(&mut tree, "usr/local/share/ca-certificates/ours.crt", "OURS\n");
    file(&mut tree, "usr/lib/os-release", "ID=debian\n");
    add(&mut tree, &manifest()).expect("generated");
    for name in RUN_ETC_FILES {
        let kind = &tree.get(&path(&format!("etc/{name}"))).expect("link").kind;
        assert_eq!(*kind, Kind::Symlink(format!("/run/nodeimg/etc/{name}")));
    }
    for folder in ["proc", "run", "var", "etc/kubernetes", "etc/cni/net.d", "opt/cni/bin", "usr/lib/nodeimg"]
    {
        assert_eq!(tree.get(&path(folder)).map(|e| &e.kind), Some(&Kind::Dir), "{folder}");
    }
    assert_eq!(tree.get(&path("tmp")).map(|e| e.mode), Some(0o1777));
    assert_eq!(tree.get(&path("usr/bin/awk")).map(|e| &e.kind), Some(&Kind::Symlink("mawk".into())));
    assert_eq!(text(&tree, "etc/ssl/certs/ca-certificates.crt"), "OURS\nB\n");
    assert!(tree.get(&path("usr/share/ca-certificates/mozilla/b.crt")).is_none());
    assert!(text(&tree, "etc/passwd").contains("\n_chrony:x:"));
    assert!(text(&tree, "etc/passwd").starts_with("root:x:0:0:root:/root:/bin/sh\n"));
    assert_eq!(tree.get(&path("etc/shadow")).map(|e| (e.mode, e.gid)), Some((0o640, 42)));
    assert_eq!(
        text(&tree, "etc/os-release"),
        "ID=debian\nIMAGE_ID=cplane\nIMAGE_VERSION=1.36.3-1700000000\n"
    );
    assert!(text(&tree, "etc/ld.so.cache").starts_with("glibc-ld.so.cache1.1"));
    assert_eq!(
        tree.get(&path("usr/sbin/init")).map(|e| &e.kind),
        Some(&Kind::Symlink("../bin/nodeinit".into()))
    );
}

#[test]
fn an_overlays_file_stays() {
    let mut tree = RootTree::new();
    file(&mut tree, "etc/passwd", "root:x:0:0::/:/bin/sh\n");
    file(&mut tree, "etc/nsswitch.conf", "hosts: dns\n");
    add(&mut tree, &manifest()).expect("generated");
    assert_eq!(text(&tree, "etc/passwd"), "root:x:0:0::/:/bin/sh\n");
    assert_eq!(text(&tree, "etc/nsswitch.conf"), "hosts: dns\n");
}

#[test]
fn sysusers_of_packages_are_declarations() {
    let mut tree = RootTree::new();
    file(&mut tree, "usr/lib/sysusers.d/a.conf", "u thing 777 - /x\n");
    add(&mut tree, &manifest()).expect("generated");
    assert!(text(&tree, "etc/passwd").contains("thing:x:777:777::/x:/usr/sbin/nologin\n"));
    let mut tree = RootTree::new();
    file(&mut tree, "etc/sysusers.d/a.conf", "? what\n");
    let error = add(&mut tree, &manifest()).expect_err("refused");
    assert!(matches!(error, RootError::Declaration(BadDeclaration { line: 1, .. })), "{error}");
}
