//! A boot set from a small tree: what the initramfs holds, what the UKI says, and what is refused.

use nodeimg_boot::{BootError, BootInputs, BootSet, uki};
use nodeimg_cache::Cache;
use nodeimg_progress::{Outcome, Progress};
use nodeimg_seal::{MkfsErofs, Sealed, seal};
use nodeimg_tree::{Content, Entry, Part, RootTree, TreePath};
use std::path::Path;
use std::process::Command;

const RELEASE: &str = "6.12.0-test";

fn tree() -> RootTree {
    let mut tree = RootTree::new();
    let mut put = |path: &str, bytes: &[u8]| {
        tree.insert(TreePath::parse(path).expect("path"), Entry::file(bytes.to_vec(), 0o644, Part::Modules));
    };
    let module = |name: &str| format!("usr/lib/modules/{RELEASE}/{name}");
    put("usr/lib/os-release", b"ID=nodeimg\n");
    put(
        &module("modules.dep"),
        b"kernel/fs/erofs/erofs.ko.xz: kernel/lib/x.ko.xz\nkernel/lib/x.ko.xz:\nkernel/sound/s.ko.xz:\n",
    );
    put(&module("modules.softdep"), b"");
    put(&module("modules.alias"), b"alias fs-erofs erofs\nalias snd s\n");
    put(&module("modules.builtin"), b"kernel/drivers/md/dm-mod.ko\nkernel/drivers/md/dm-verity.ko\n");
    for name in ["kernel/fs/erofs/erofs.ko.xz", "kernel/lib/x.ko.xz", "kernel/sound/s.ko.xz"] {
        put(&module(name), name.as_bytes());
    }
    tree
}

fn sealed(tree: &RootTree, cache: &Cache) -> Sealed {
    let mut copy = Command::new("sh");
    copy.args([
        "-c",
        r#"for last; do :; done; dd of="$last" bs=4096 conv=sync iflag=fullblock 2>/dev/null"#,
        "mkfs",
    ]);
    seal(tree, MkfsErofs::new(copy, "stand-in"), 1, cache, &Progress::silent()).expect("sealed")
}

/// The smallest image that is a PE32+ with room for sections.
fn pe() -> Vec<u8> {
    let mut b = vec![0u8; 0x600];
    b[..2].copy_from_slice(b"MZ");
    b[0x3c] = 0x40;
    b[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
    b[0x54] = 240;
    b[0x58..0x5a].copy_from_slice(&0x20bu16.to_le_bytes());
    for (at, value) in [(32, 0x1000u32), (36, 0x200), (56, 0x1000), (60, 0x600), (108, 16)] {
        b[0x58 + at..0x5c + at].copy_from_slice(&value.to_le_bytes());
    }
    b
}

fn make(tree: &RootTree, dir: &Path) -> (Result<BootSet, BootError>, Vec<Outcome>) {
    let cache = Cache::open(dir.join("cache")).expect("cache");
    let sealed = sealed(tree, &cache);
    let (nodeinit, stub) = (dir.join("nodeinit"), dir.join("stub"));
    std::fs::write(&nodeinit, "static elf").expect("write");
    std::fs::write(&stub, pe()).expect("write");
    let progress = Progress::silent();
    let vmlinuz = Content::Bytes(pe().into());
    let inputs = BootInputs {
        tree,
        release: RELEASE,
        vmlinuz: &vmlinuz,
        nodeinit: &nodeinit,
        stub: &stub,
        epoch: 1_700_000_000,
    };
    let set = BootSet::make(&sealed, &inputs, &cache, &progress);
    (set, progress.finished().iter().map(|f| f.outcome).collect())
}

#[test]
fn initramfs_has_nodeinit_and_the_closure_and_nothing_else() {
    let dir = tempfile::tempdir().expect("temp");
    let set = make(&tree(), dir.path()).0.expect("boot set");
    let archive = zstd::decode_all(&std::fs::read(set.initrd()).expect("initrd")[..]).expect("zstd");
    let mut rest = &archive[..];
    let mut files = Vec::new();
    loop {
        let reader = cpio::newc::Reader::new(rest).expect("entry");
        if reader.entry().is_trailer() {
            break;
        }
        if reader.entry().mode() & 0o170000 == 0o100000 {
            files.push(
                reader.entry().name().trim_start_matches(&format!("usr/lib/modules/{RELEASE}/")).to_owned(),
            );
        }
        rest = reader.finish().expect("next");
    }
    let expected = [
        "etc/initrd-release",
        "init",
        "kernel/fs/erofs/erofs.ko.xz",
        "kernel/lib/x.ko.xz",
        "modules.alias",
        "modules.builtin",
        "modules.dep",
        "modules.softdep",
    ];
    assert_eq!(files, expected);
}

#[test]
fn uki_carries_the_same_parts_and_the_root_hash() {
    let dir = tempfile::tempdir().expect("temp");
    let (set, how) = make(&tree(), dir.path());
    let set = set.expect("boot set");
    assert_eq!(how, [Outcome::Built]);
    let image = std::fs::read(set.uki()).expect("uki");
    let all = uki::sections(&image).expect("sections");
    let data = |name: &str| all.iter().find(|s| s.name == name).expect(name).data.to_vec();
    assert!(set.cmdline().starts_with("roothash="));
    assert_eq!(data(".cmdline"), set.cmdline().as_bytes());
    assert_eq!(data(".initrd"), std::fs::read(set.initrd()).expect("initrd"));
    assert_eq!(data(".osrel"), b"ID=nodeimg\n");
    assert_eq!(make(&tree(), dir.path()).1, [Outcome::Cached]);

    let elsewhere = tempfile::tempdir().expect("temp");
    let other = make(&tree(), elsewhere.path()).0.expect("boot set");
    assert_eq!(image, std::fs::read(other.uki()).expect("uki"), "the same bytes in another folder");
}

#[test]
fn a_tree_that_no_node_could_boot_is_refused() {
    let dir = tempfile::tempdir().expect("temp");
    let without = |path: &str| {
        let mut t = tree();
        t.remove(&TreePath::parse(path).expect("path"));
        make(&t, dir.path()).0.expect_err("must fail").to_string()
    };
    assert!(without(&format!("usr/lib/modules/{RELEASE}/modules.dep")).contains("depmod"));
    assert!(without("usr/lib/os-release").contains("os-release"));
    assert!(without(&format!("usr/lib/modules/{RELEASE}/kernel/lib/x.ko.xz")).contains("x.ko.xz"));
    let mut t = tree();
    let dep = TreePath::parse(&format!("usr/lib/modules/{RELEASE}/modules.dep")).expect("path");
    t.insert(dep, Entry::file(*b"kernel/sound/s.ko.xz:\n", 0o644, Part::Modules));
    let text = make(&t, dir.path()).0.expect_err("must fail").to_string();
    assert!(text.contains("\"erofs\"") && text.contains("help:"), "{text}");
}
