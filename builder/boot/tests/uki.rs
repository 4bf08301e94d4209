//! UKIs are read back by the PE reader of another crate, and by `objdump`'s rules: aligned, in order, nothing overlaps.

use nodeimg_boot::uki::{Parts, Section, UkiError, assemble, sections};
use object::LittleEndian as LE;
use object::read::pe::{ImageOptionalHeader, PeFile64};
use proptest::prelude::*;

const HEADER_ROOM: usize = 0x400;

/// A PE32+ image with one section `.text` of 100 bytes, and room for `room` bytes of headers.
fn pe(room: usize, name: &[u8; 5], size_of_image: u32) -> Vec<u8> {
    let mut b = vec![0u8; room + 0x200];
    let put16 = |b: &mut [u8], at: usize, v: u16| b[at..at + 2].copy_from_slice(&v.to_le_bytes());
    let put32 = |b: &mut [u8], at: usize, v: u32| b[at..at + 4].copy_from_slice(&v.to_le_bytes());
    b[..2].copy_from_slice(b"MZ");
    put32(&mut b, 0x3c, 0x40);
    b[0x40..0x44].copy_from_slice(b"PE\0\0");
    put16(&mut b, 0x44, 0x8664);
    put16(&mut b, 0x46, 1);
    put16(&mut b, 0x54, 240);
    put16(&mut b, 0x56, 0x22e);
    let optional = 0x58;
    put16(&mut b, optional, 0x20b);
    put32(&mut b, optional + 32, 0x1000);
    put32(&mut b, optional + 36, 0x200);
    put32(&mut b, optional + 56, size_of_image);
    put32(&mut b, optional + 60, room as u32);
    put16(&mut b, optional + 68, 10);
    put32(&mut b, optional + 108, 16);
    let section = optional + 240;
    b[section..section + 5].copy_from_slice(name);
    put32(&mut b, section + 8, 100);
    put32(&mut b, section + 12, 0x1000);
    put32(&mut b, section + 16, 0x200);
    put32(&mut b, section + 20, room as u32);
    put32(&mut b, section + 36, 0x6000_0020);
    b
}

fn parts<'a>(initrd: &'a [u8], linux: &'a [u8]) -> Parts<'a> {
    Parts { os_release: b"ID=nodeimg\n", uname: "6.12.0-test", cmdline: "roothash=00 ro", initrd, linux }
}

fn find<'a>(all: &'a [Section<'a>], name: &str) -> &'a Section<'a> {
    all.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn what_goes_in_comes_out_and_the_stub_stays() {
    let (stub, linux) = (pe(HEADER_ROOM, b".sbat", 0x2000), pe(HEADER_ROOM, b".text", 0x9000));
    let initrd = vec![0xA5; 5000];
    let uki = assemble(&stub, &parts(&initrd, &linux)).expect("uki");
    assert_eq!(uki, assemble(&stub, &parts(&initrd, &linux)).expect("uki"), "twice the same");
    let all = sections(&uki).expect("sections");
    let names: Vec<_> = all.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, [".sbat", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"]);
    assert_eq!(find(&all, ".osrel").data, b"ID=nodeimg\n");
    assert_eq!(find(&all, ".cmdline").data, b"roothash=00 ro");
    assert_eq!(find(&all, ".uname").data, b"6.12.0-test");
    assert_eq!(find(&all, ".initrd").data, initrd);
    assert_eq!(find(&all, ".linux").data[..linux.len()], linux);
    assert_eq!(find(&all, ".sbat").data, &stub[HEADER_ROOM..HEADER_ROOM + 100]);

    let file = PeFile64::parse(&uki[..]).expect("pe");
    let (mut address, mut offset) = (0, 0);
    for s in file.section_table().iter() {
        assert_eq!(s.virtual_address.get(LE) % 0x1000, 0);
        assert_eq!(s.pointer_to_raw_data.get(LE) % 0x200, 0);
        assert!(
            s.virtual_address.get(LE) >= address && s.pointer_to_raw_data.get(LE) >= offset,
            "no overlap"
        );
        address = s.virtual_address.get(LE) + s.virtual_size.get(LE);
        offset = s.pointer_to_raw_data.get(LE) + s.size_of_raw_data.get(LE);
    }
    let last = file.section_table().iter().last().expect("last");
    assert_eq!(last.virtual_size.get(LE), 0x9000, "the kernel gets the memory that it asks for");
    let total = file.nt_headers().optional_header.size_of_image();
    assert!(total >= address && total % 0x1000 == 0);
    assert_eq!(offset as usize, uki.len());
}

#[test]
fn what_cannot_become_a_uki_is_refused() {
    let linux = pe(HEADER_ROOM, b".text", 0x9000);
    let no_room = assemble(&pe(0x1a0, b".text", 0x2000), &parts(b"i", &linux));
    assert!(matches!(no_room, Err(UkiError::NoRoom { wanted: 5, .. })), "{no_room:?}");
    let taken = assemble(
        &assemble(&pe(0x600, b".text", 0x2000), &parts(b"i", &linux)).expect("uki"),
        &parts(b"i", &linux),
    );
    assert!(matches!(taken, Err(UkiError::Taken(_))), "{taken:?}");
    let mut signed = pe(HEADER_ROOM, b".text", 0x2000);
    signed[0x58 + 112 + 4 * 8] = 1;
    assert!(matches!(assemble(&signed, &parts(b"i", &linux)), Err(UkiError::Signed)));
    let not_pe = assemble(&pe(HEADER_ROOM, b".text", 0x2000), &parts(b"i", b"not a kernel"));
    assert!(matches!(not_pe, Err(UkiError::NotPe { what: "kernel", .. })));
}

/// The stub that a build uses.
#[test]
fn systemds_own_stub_has_room() {
    let path = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    let Some(path) = nodeimg_test_programs::tools_file("systemds_own_stub_has_room", path) else { return };
    let stub = std::fs::read(path).expect("stub");
    let uki = assemble(&stub, &parts(&[1; 70_000], &pe(HEADER_ROOM, b".text", 0x9000))).expect("uki");
    let all = sections(&uki).expect("sections");
    assert_eq!(find(&all, ".initrd").data, [1; 70_000]);
    assert_eq!(find(&all, ".sbat").data, find(&sections(&stub).expect("stub"), ".sbat").data);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = sections(&bytes);
        let _ = assemble(&bytes, &parts(b"i", &bytes));
    }

    #[test]
    fn a_damaged_stub_never_panics(at in prop::collection::vec((0usize..HEADER_ROOM, any::<u8>()), 1..6), cut in 0usize..0x600) {
        let mut stub = pe(HEADER_ROOM, b".text", 0x2000);
        for (at, byte) in at {
            stub[at] = byte;
        }
        stub.truncate(0x600 - cut);
        let linux = pe(HEADER_ROOM, b".text", 0x9000);
        let _ = sections(&stub);
        if let Ok(uki) = assemble(&stub, &parts(b"i", &linux)) {
            let _ = sections(&uki);
        }
    }
}
