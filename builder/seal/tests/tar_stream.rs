//! The tar stream says what the tree says, read back by a reader that is not ours.

use nodeimg_seal::{TarError, write_tar};
use nodeimg_tree::{Content, Entry, Kind, Part, RootTree, TreePath};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Read;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).expect("path")
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: tar::EntryType,
    mode: u32,
    owner: (u64, u64),
    link: Option<String>,
    device: Option<(u32, u32)>,
    bytes: Vec<u8>,
}

fn read_back(stream: &[u8]) -> BTreeMap<String, Seen> {
    let mut archive = tar::Archive::new(stream);
    let mut out = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("entry");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("text");
        let link = entry.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).expect("text"));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("bytes");
        let h = entry.header();
        assert_eq!(h.mtime().expect("mtime"), 1_700_000_000);
        let device = (h.entry_type() == tar::EntryType::Char).then(|| {
            (
                h.device_major().expect("major").expect("major"),
                h.device_minor().expect("minor").expect("minor"),
            )
        });
        let seen = Seen {
            kind: h.entry_type(),
            mode: h.mode().expect("mode"),
            owner: (h.uid().expect("uid"), h.gid().expect("gid")),
            link,
            device,
            bytes,
        };
        assert!(out.insert(name, seen).is_none(), "no name twice");
    }
    out
}

#[test]
fn every_kind_of_entry_survives() {
    let mut tree = RootTree::new();
    let long = format!("usr/share/{}/{}", "d".repeat(120), "f".repeat(200));
    tree.insert(path("etc/shadow"), Entry { gid: 42, ..Entry::file(*b"root:*::", 0o640, Part::Config) });
    tree.insert(path("usr/bin/su"), Entry::file(*b"elf", 0o4755, Part::Debian));
    tree.insert(path(&long), Entry { uid: 3_000_000, ..Entry::file(*b"x", 0o644, Part::Debian) });
    tree.insert(path("sbin"), Entry::symlink("usr//./sbin/", Part::Debian));
    tree.insert(path("a-long-link"), Entry::symlink(format!("../{long}"), Part::Debian));
    tree.insert(
        path("aaa"),
        Entry { kind: Kind::Hardlink(path("usr/bin/su")), ..Entry::dir(0o4755, Part::Debian) },
    );
    tree.insert(path("dev/null"), Entry { kind: Kind::CharDev(1, 3), ..Entry::dir(0o666, Part::Config) });

    let stream = write_tar(&tree, 1_700_000_000, Vec::new(), |_| {}).expect("stream");
    let seen = read_back(&stream);
    assert_eq!(seen["./"].mode, 0o755);
    assert_eq!((seen["etc/shadow"].mode, seen["etc/shadow"].owner), (0o640, (0, 42)));
    assert_eq!(seen["usr/bin/su"].mode, 0o4755);
    assert_eq!((seen[&long].bytes.as_slice(), seen[&long].owner.0), (&b"x"[..], 3_000_000));
    assert_eq!(seen["sbin"].link.as_deref(), Some("usr//./sbin/"), "targets are nobody's to tidy");
    assert_eq!(seen["a-long-link"].link, Some(format!("../{long}")));
    assert_eq!((seen["aaa"].kind, seen["aaa"].link.as_deref()), (tar::EntryType::Link, Some("usr/bin/su")));
    assert_eq!(seen["dev/null"].device, Some((1, 3)));
    let at = |name: &str| stream.windows(name.len() + 1).position(|w| w == [name.as_bytes(), &[0]].concat());
    assert!(at("aaa") > at("usr/bin/su"), "a hard link comes after its target");
}

#[test]
fn a_link_to_nothing_and_a_file_that_changed_are_refused() {
    let mut tree = RootTree::new();
    tree.insert(path("a"), Entry { kind: Kind::Hardlink(path("b")), ..Entry::dir(0o644, Part::Debian) });
    assert!(matches!(write_tar(&tree, 0, Vec::new(), |_| {}), Err(TarError::DanglingHardlink { .. })));

    let dir = tempfile::tempdir().expect("temp folder");
    let file = dir.path().join("f");
    std::fs::write(&file, "four").expect("write");
    for size in [3, 5] {
        let mut tree = RootTree::new();
        let kind = Kind::File(Content::Path { path: file.clone(), size });
        tree.insert(path("f"), Entry { kind, ..Entry::dir(0o644, Part::Debian) });
        let got = write_tar(&tree, 0, Vec::new(), |_| {});
        assert!(matches!(got, Err(TarError::Changed { got: 4, .. })), "{size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_tree_of_files_comes_back(
        files in prop::collection::btree_map("[a-z]{1,60}(/[ -.0-~é]{1,90}){0,2}", prop::collection::vec(any::<u8>(), 0..1500), 0..12)
    ) {
        let mut tree = RootTree::new();
        let mut expected = BTreeMap::new();
        for (name, bytes) in &files {
            let Ok(p) = TreePath::parse(name) else { continue };
            if p.as_str().is_empty() { continue }
            tree.insert(p.clone(), Entry::file(bytes.clone(), 0o600, Part::Config));
            expected.insert(p.as_str().to_owned(), bytes.clone());
        }
        let seen = read_back(&write_tar(&tree, 1_700_000_000, Vec::new(), |_| {}).expect("stream"));
        for (name, bytes) in expected {
            prop_assert_eq!(&seen[&name].bytes, &bytes);
        }
    }
}
