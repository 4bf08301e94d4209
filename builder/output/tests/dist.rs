//! What lies in dist/NAME: read by another crate's GPT reader, checked by sfdisk and sgdisk where they are, replaced
//! as a whole, left alone when nothing changed.

use nodeimg_boot::{BootInputs, BootSet};
use nodeimg_cache::{Cache, sha256_file};
use nodeimg_contract::image::{ImageManifest, Role, RootManifest};
use nodeimg_contract::partition;
use nodeimg_output::{Artifacts, Format, OutputError, write};
use nodeimg_progress::{Outcome, Progress};
use nodeimg_seal::{MkfsErofs, Sealed, seal};
use nodeimg_tree::{Content, Entry, Part, RootTree, TreePath};
use std::path::Path;
use std::process::Command;

const RELEASE: &str = "6.12.0-test";

struct Built {
    sealed: Sealed,
    boot: BootSet,
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

fn build(dir: &Path, content: &[u8]) -> Built {
    let mut tree = RootTree::new();
    let mut put = |path: &str, bytes: &[u8], part| {
        tree.insert(TreePath::parse(path).expect("path"), Entry::file(bytes.to_vec(), 0o644, part));
    };
    let module = |name: &str| format!("usr/lib/modules/{RELEASE}/{name}");
    put("usr/lib/os-release", b"ID=nodeimg\n", Part::Config);
    put("usr/bin/kubelet", content, Part::Programs);
    put(&module("modules.dep"), b"", Part::Modules);
    put(&module("modules.softdep"), b"", Part::Modules);
    put(&module("modules.alias"), b"", Part::Modules);
    put(&module("modules.builtin"), b"a/dm-mod.ko\na/dm-verity.ko\na/erofs.ko\n", Part::Modules);
    let cache = Cache::open(dir.join("cache")).expect("cache");
    let mut copy = Command::new("sh");
    copy.args([
        "-c",
        r#"for last; do :; done; dd of="$last" bs=4096 conv=sync iflag=fullblock 2>/dev/null"#,
        "mkfs",
    ]);
    let silent = Progress::silent();
    let sealed = seal(&tree, MkfsErofs::new(copy, "stand-in"), 1, &cache, &silent).expect("sealed");
    let (nodeinit, stub) = (dir.join("nodeinit"), dir.join("stub"));
    std::fs::write(&nodeinit, "static elf").expect("write");
    std::fs::write(&stub, pe()).expect("write");
    let vmlinuz = Content::Bytes(pe().into());
    let inputs = BootInputs {
        tree: &tree,
        release: RELEASE,
        vmlinuz: &vmlinuz,
        nodeinit: &nodeinit,
        stub: &stub,
        epoch: 1,
    };
    let boot = BootSet::make(&sealed, &inputs, &cache, &silent).expect("boot set");
    Built { sealed, boot }
}

fn artifacts<'a>(built: &'a Built, name: &str, formats: &'a [Format]) -> Artifacts<'a> {
    let root = RootManifest {
        schema: 1,
        profile: name.to_owned(),
        role: Role::ControlPlane,
        source_date_epoch: 1,
        suite: "trixie".into(),
        kernel: RELEASE.into(),
        kubernetes: "1.36.3".into(),
        image_repository: "nodeimg.invalid/k8s".into(),
        image_tags: Default::default(),
        versions: Default::default(),
        nodeinit: "00".into(),
        addons: vec![],
    };
    Artifacts { sealed: &built.sealed, boot: &built.boot, root, lock: "11".into(), formats }
}

fn write_to(dist: &Path, a: &Artifacts<'_>) -> (Result<ImageManifest, OutputError>, Vec<Outcome>) {
    let progress = Progress::silent();
    let result = write(dist, a, &progress);
    (result, progress.finished().iter().map(|f| f.outcome).collect())
}

const BOTH: &[Format] = &[Format::Uki, Format::Files];

#[test]
fn every_file_is_there_and_the_manifest_tells_the_truth() {
    let dir = tempfile::tempdir().expect("temp");
    let built = build(dir.path(), &[7; 300_000]);
    let dist = dir.path().join("dist");
    let manifest = write_to(&dist, &artifacts(&built, "cplane", BOTH)).0.expect("written");
    let folder = dist.join("cplane");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .expect("list")
        .map(|e| e.expect("entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, ["cmdline", "cplane.efi", "image.json", "initrd", "root.img", "vmlinuz"]);
    for (name, info) in &manifest.files {
        assert_eq!(sha256_file(&folder.join(name)).expect("read"), info.sha256, "{name}");
        assert_eq!(std::fs::metadata(folder.join(name)).expect("stat").len(), info.size, "{name}");
    }
    let text = std::fs::read(folder.join("image.json")).expect("read");
    assert_eq!(serde_json::from_slice::<ImageManifest>(&text).expect("json"), manifest);
    assert_eq!(manifest.root_hash, built.sealed.root_hash());
    assert_eq!((manifest.sizes["erofs"], manifest.sizes["programs"]), (built.sealed.erofs_size(), 300_000));
}

#[test]
fn root_img_is_a_disk_whose_partitions_are_found_by_the_root_hash() {
    let dir = tempfile::tempdir().expect("temp");
    let built = build(dir.path(), &[7; 300_000]);
    let dist = dir.path().join("dist");
    write_to(&dist, &artifacts(&built, "cplane", &[])).0.expect("written");
    let image = dist.join("cplane/root.img");
    let disk = gpt::GptConfig::new().writable(false).open(&image).expect("gpt");
    let bytes = std::fs::read(&image).expect("read");
    let hash = built.sealed.root_hash();
    let wanted = [
        (partition::ROOT, hash.root_partuuid(), built.sealed.erofs()),
        (partition::ROOT_VERITY, hash.verity_partuuid(), built.sealed.verity()),
    ];
    assert_eq!(disk.partitions().len(), wanted.len());
    for ((_, p), (kind, guid, content)) in disk.partitions().iter().zip(wanted) {
        assert_eq!(p.part_type_guid.guid.to_string(), kind);
        assert_eq!(p.part_guid.to_string(), guid);
        assert_eq!(p.flags, 1 << 60);
        let (first, last) = (p.first_lba as usize * 512, (p.last_lba as usize + 1) * 512);
        assert_eq!(&bytes[first..last], &std::fs::read(content).expect("read")[..]);
    }
    for (program, args) in [("sfdisk", vec!["--verify"]), ("sgdisk", vec!["--verify"])] {
        let Ok(out) = Command::new(program).args(args).arg(&image).output() else { continue };
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        let good = text.contains("No errors detected") || text.contains("No problems found");
        assert!(out.status.success() && good, "{program}: {text}");
    }
}

#[test]
fn two_folders_two_caches_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().expect("temp"), tempfile::tempdir().expect("temp"));
    let manifests = [one, two].map(|dir| {
        let built = build(dir.path(), b"same");
        write_to(&dir.path().join("dist"), &artifacts(&built, "cplane", BOTH)).0.expect("written")
    });
    assert_eq!(manifests[0], manifests[1]);
}

#[test]
fn unchanged_is_left_alone_and_changed_or_damaged_is_replaced() {
    let dir = tempfile::tempdir().expect("temp");
    let dist = dir.path().join("dist");
    let built = build(dir.path(), b"one");
    let first = artifacts(&built, "cplane", BOTH);
    assert_eq!(write_to(&dist, &first).1, [Outcome::Built]);
    assert_eq!(write_to(&dist, &first).1, [Outcome::Cached]);
    std::fs::remove_file(dist.join("cplane/initrd")).expect("remove");
    assert_eq!(write_to(&dist, &first).1, [Outcome::Built], "a file is gone");
    let other = build(dir.path(), b"two");
    let (manifest, how) = write_to(&dist, &artifacts(&other, "cplane", BOTH));
    assert_eq!(
        (manifest.expect("written").root_hash, how.as_slice()),
        (other.sealed.root_hash(), &[Outcome::Built][..])
    );
    assert_eq!(std::fs::read_dir(&dist).expect("list").count(), 1, "nothing lies about");
}

#[test]
fn a_failed_build_leaves_the_last_good_one() {
    let dir = tempfile::tempdir().expect("temp");
    let dist = dir.path().join("dist");
    let good = build(dir.path(), b"good");
    let before = write_to(&dist, &artifacts(&good, "cplane", BOTH)).0.expect("written");
    let bad = build(dir.path(), b"bad");
    std::fs::remove_file(bad.sealed.verity()).expect("remove");
    let failed = write_to(&dist, &artifacts(&bad, "cplane", BOTH)).0.expect_err("must fail").to_string();
    assert!(failed.contains("root.verity"), "{failed}");
    let text = std::fs::read(dist.join("cplane/image.json")).expect("read");
    assert_eq!(serde_json::from_slice::<ImageManifest>(&text).expect("json"), before);
    assert_eq!(std::fs::read_dir(&dist).expect("list").count(), 1);
}

#[test]
fn names_cannot_leave_the_folder() {
    let dir = tempfile::tempdir().expect("temp");
    let built = build(dir.path(), b"x");
    for name in ["", "..", "a/b", ".hidden"] {
        let failed = write_to(dir.path(), &artifacts(&built, name, BOTH)).0;
        assert!(matches!(failed, Err(OutputError::Name(_))), "{name:?}");
    }
}
