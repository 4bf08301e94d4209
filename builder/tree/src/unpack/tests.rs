//! What lies in the cache after a package was unpacked.

use super::*;
use crate::model::Kind;

/// A small .deb at `path`.
pub(crate) fn small_deb(path: &Path, items: &[(&str, u32, &[u8])]) -> Deb {
    let mut builder = tar::Builder::new(vec![]);
    for (name, mode, content) in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).expect("append");
    }
    let data = builder.into_inner().expect("tar");
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("data.tar", &data)] {
        out.extend(format!("{name:<48}{:<10}`\n", bytes.len()).bytes());
        out.extend(bytes);
    }
    fs::write(path, &out).expect("write");
    Deb { name: "small".into(), sha256: hex::encode(Sha256::digest(&out)), path: path.to_owned() }
}

#[test]
fn contents_are_named_by_their_digest_and_found_again() {
    let dir = tempfile::tempdir().expect("temp folder");
    let cache = Cache::open(dir.path().join("cache")).expect("cache");
    let package = small_deb(
        &dir.path().join("small.deb"),
        &[("usr/bin/run", 0o4755, b"same"), ("usr/share/data", 0o644, b"same"), ("etc/other", 0o600, b"")],
    );
    let (first, origin) = deb(&cache, &package).expect("unpack");
    assert_eq!(origin, Origin::Made);
    let Kind::File(Content::Path { path, size: 4 }) = &first.entries[0].kind else {
        panic!("{:?}", first.entries[0]);
    };
    assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(&*hex::encode(Sha256::digest(b"same"))));
    assert_eq!(fs::metadata(path).expect("content").permissions().mode() & 0o7777, 0o555);
    assert_eq!(first.entries[0].mode, 0o4755);
    assert_eq!(first.entries[1].kind, first.entries[0].kind);
    let (second, origin) = deb(&cache, &package).expect("again");
    assert_eq!((second, origin), (first, Origin::Cached));
}

#[test]
fn a_refused_package_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temp folder");
    let cache = Cache::open(dir.path().join("cache")).expect("cache");
    let mut package = small_deb(&dir.path().join("small.deb"), &[("usr/bin/run", 0o755, b"x")]);
    let mut bytes = fs::read(&package.path).expect("read");
    bytes[20] = b'9';
    fs::write(&package.path, bytes).expect("write");
    package.sha256 = "0".repeat(64);
    let error = deb(&cache, &package).expect_err("refused");
    assert!(error.to_string().contains("\"small\""), "{error}");
    assert!(!dir.path().join("cache/deb").join(&package.sha256).exists());
}

#[test]
fn a_full_disk_is_not_the_packages_fault() {
    let path = TreePath::parse("usr/bin/x").expect("path");
    let full = DebError::Store { path, source: io::ErrorKind::StorageFull.into() };
    let error = refused("x", full);
    assert_eq!(error.to_string(), "package \"x\" cannot be unpacked into the cache");
    assert!(refused("x", DebError::Shell("no archive")).to_string().contains("is refused"));
}
