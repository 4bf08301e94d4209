//! What the reader of packages takes and what it refuses.

use super::ar::tests::archive;
use super::*;
use proptest::prelude::*;
use std::io::Write;

/// One tar entry: type, path, link target, content.
type Item<'a> = (tar::EntryType, &'a str, &'a str, &'a [u8]);

fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (kind, path, link, content) in items {
        let mut header = tar::Header::new_gnu();
        // Written by hand: the crate's own setters refuse the paths that these tests are about.
        let name = &mut header.as_gnu_mut().expect("gnu header").name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        let target = &mut header.as_gnu_mut().expect("gnu header").linkname;
        target[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(42);
        header.set_size(content.len() as u64);
        header.set_device_major(1).expect("major");
        header.set_device_minor(3).expect("minor");
        header.set_cksum();
        builder.append(&header, *content).expect("append");
    }
    builder.into_inner().expect("tar")
}

fn deb_of(data_name: &str, data: &[u8]) -> Vec<u8> {
    archive(&[("debian-binary", b"2.0\n"), ("control.tar.xz", b"never read"), (data_name, data)])
}

fn read_all(deb: &[u8]) -> Result<Vec<(Record, Vec<u8>)>, DebError> {
    let mut out = vec![];
    read(deb, Limits::default(), &mut |record, content| {
        let mut bytes = vec![];
        content.read_to_end(&mut bytes)?;
        out.push((record.clone(), bytes));
        Ok(())
    })?;
    Ok(out)
}

fn items() -> Vec<Item<'static>> {
    use tar::EntryType as T;
    vec![
        (T::Directory, "./", "", b""),
        (T::Directory, "./usr/", "", b""),
        (T::Regular, "./usr/su", "", b"set-id"),
        (T::Link, "./usr/su2", "./usr/su", b""),
        (T::Symlink, "./usr/ln", "../../etc/x", b""),
        (T::Char, "./usr/null", "", b""),
    ]
}

#[test]
fn every_compression_gives_the_same_entries() {
    let tar = tar_of(&items());
    let gz = {
        let mut e = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        e.write_all(&tar).expect("gz");
        e.finish().expect("gz")
    };
    let xz = {
        let mut e = liblzma::write::XzEncoder::new(vec![], 1);
        e.write_all(&tar).expect("xz");
        e.finish().expect("xz")
    };
    let zst = zstd::stream::encode_all(&tar[..], 1).expect("zstd");
    let plain = read_all(&deb_of("data.tar", &tar)).expect("plain");
    assert_eq!(plain.len(), 6);
    assert_eq!(plain[2].1, b"set-id");
    assert_eq!((plain[2].0.mode, plain[2].0.gid), (0o4755, 42));
    assert_eq!(plain[3].0.kind, RecordKind::Hardlink(TreePath::parse("usr/su").expect("path")));
    assert_eq!(plain[5].0.kind, RecordKind::CharDev(1, 3));
    for (name, data) in [("data.tar.gz", gz), ("data.tar.xz", xz), ("data.tar.zst", zst)] {
        assert_eq!(read_all(&deb_of(name, &data)).expect(name), plain, "{name}");
    }
    assert!(matches!(read_all(&deb_of("data.tar.br", b"")), Err(DebError::Member(_))));
}

#[test]
fn what_leaves_the_tree_is_refused() {
    use tar::EntryType as T;
    let cases: &[&[Item]] = &[
        &[(T::Regular, "../x", "", b"x")],
        &[(T::Regular, "./a/../../x", "", b"x")],
        &[(T::Symlink, "./a", "/etc", b""), (T::Regular, "./a/passwd", "", b"x")],
        &[(T::Symlink, "./a", "..", b""), (T::Directory, "./a/b/", "", b"")],
        &[(T::Symlink, "./a", "/etc/passwd", b""), (T::Regular, "./a", "", b"x")],
        &[(T::Link, "./a", "../../etc/passwd", b"")],
        &[(T::Link, "./a", "etc/shadow", b"")],
        &[(T::Symlink, "./a", "/etc/passwd", b""), (T::Link, "./b", "a", b"")],
        &[(T::Regular, "./a", "", b"x"), (T::Regular, "./a/b", "", b"x")],
        &[(T::Block, "./sda", "", b"")],
        &[(T::Fifo, "./pipe", "", b"")],
        &[(T::XHeader, "./pax", "", b"12 path=../x\n")],
        &[(T::Symlink, "./a", "", b"")],
    ];
    for case in cases {
        let got = read_all(&deb_of("data.tar", &tar_of(case)));
        assert!(got.is_err(), "{case:?} gave {got:?}");
    }
}

#[test]
fn long_names_are_read_and_bounded() {
    let long = format!("./usr/{}", "n".repeat(300));
    let mut builder = tar::Builder::new(vec![]);
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, &long, &b"x"[..]).expect("append");
    let tar = builder.into_inner().expect("tar");
    let got = read_all(&deb_of("data.tar", &tar)).expect("read");
    assert_eq!(got[0].0.path.as_str(), &long[2..]);
    let huge = [0x41u8; 9000];
    let bomb = tar_of(&[(tar::EntryType::GNULongName, "././@LongLink", "", &huge)]);
    assert!(matches!(read_all(&deb_of("data.tar", &bomb)), Err(DebError::Limit(_))));
}

#[test]
fn limits_hold() {
    let deb = deb_of("data.tar", &tar_of(&items()));
    let none = &mut |_: &Record, _: &mut dyn Read| Ok(());
    assert!(read(&deb[..], Limits { entries: 3, unpacked: 1 << 20 }, none).is_err());
    assert!(read(&deb[..], Limits { entries: 30, unpacked: 1000 }, none).is_err());
    assert!(read(&deb[..], Limits { entries: 30, unpacked: 1 << 20 }, none).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_all(&bytes);
        let _ = read_all(&deb_of("data.tar", &bytes));
        let _ = read_all(&deb_of("data.tar.xz", &bytes));
        let _ = read_all(&deb_of("data.tar.zst", &bytes));
        let _ = read_all(&deb_of("data.tar.gz", &bytes));
    }

    #[test]
    fn a_changed_byte_never_panics_nor_escapes(at in 0usize..4000, to in any::<u8>()) {
        let mut tar = tar_of(&items());
        let at = at % tar.len();
        tar[at] = to;
        if let Ok(list) = read_all(&deb_of("data.tar", &tar)) {
            for (record, _) in list {
                prop_assert!(!record.path.as_str().split('/').any(|p| p == ".."));
            }
        }
    }
}
