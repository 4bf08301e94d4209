//! Small images, and the sealed root's stand-in: a tree written to a folder.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod cri;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nodeimg_payload::{Image, WantedBy};
use nodeimg_tree::{Content, Entry, Kind, Part, RootTree, TreePath};
use sha2::{Digest, Sha256};

/// What the program of the test images prints.
pub const PRINTED: &str = "baked\n";

/// Machine code of 56 bytes, with `path` right behind it and `text` 9 bytes later.
const CODE: [u8; 56] = [
    0x48, 0x8d, 0x3d, 49, 0, 0, 0, // lea rdi, [path]
    0xbe, 0xa4, 1, 0, 0, // mov esi, 0644
    0xb8, 85, 0, 0, 0, 0x0f, 0x05, // creat
    0x48, 0xc1, 0xe8, 63, 0x50, // shr rax, 63: 1 when that failed; push
    0xbf, 1, 0, 0, 0, // mov edi, 1
    0x48, 0x8d, 0x35, 29, 0, 0, 0, // lea rsi, [text]
    0xba, 6, 0, 0, 0, // mov edx, 6
    0xb8, 1, 0, 0, 0, 0x0f, 0x05, // write
    0x5f, 0xb8, 60, 0, 0, 0, 0x0f, 0x05, // pop rdi; exit
];

/// A static x86-64 ELF program: creates `/written`, prints [`PRINTED`], exits 0 when it could create.
pub fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes()); // entry, program headers, no sections
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let size = HEADERS + CODE.len() as u64 + 9 + PRINTED.len() as u64;
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // load, read and execute
    for word in [0, BASE, BASE, size, size, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf.extend(b"/written\0");
    elf.extend(PRINTED.as_bytes());
    elf
}

/// A file of root.
pub fn file(tree: &mut RootTree, path: &str, mode: u32, content: Content) {
    let entry = Entry { kind: Kind::File(content), mode, uid: 0, gid: 0, part: Part::Images };
    tree.insert(TreePath::parse(path).unwrap(), entry);
}

/// An image whose layer is `tree`; its layer's size and digest are made up, since no store holds a layer blob.
pub fn image(reference: &str, tree: RootTree) -> Image {
    let (diff_id, layer_size) = (digest(format!("{tree:?}").as_bytes()), 5000u64);
    let config = bytes(&serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Entrypoint": ["/bin/program"], "WorkingDir": "/", "Labels": { "of": reference } },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    }));
    let manifest = bytes(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": diff_id, "size": layer_size,
        }],
    }));
    Image {
        name: reference.to_owned(),
        wanted_by: WantedBy::Tests,
        manifest_digest: digest(&manifest),
        manifest,
        config_digest: digest(&config),
        config,
        diff_id,
        layer_size,
        tree,
    }
}

fn bytes(document: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Two images that share their program (a file) and `/etc/passwd` (bytes).
pub fn two_images(folder: &Path) -> Vec<Image> {
    let path = folder.join("program");
    fs::write(&path, program()).unwrap();
    let size = fs::metadata(&path).unwrap().len();
    ["one", "two"]
        .map(|name| {
            let mut tree = RootTree::new();
            file(&mut tree, "bin/program", 0o755, Content::Path { path: path.clone(), size });
            file(&mut tree, "etc/passwd", 0o644, Content::Bytes((*b"root:x:0:0:root:/:/\n").into()));
            file(&mut tree, "etc/name", 0o644, Content::Bytes(name.as_bytes().into()));
            tree.insert(TreePath::parse("tmp").unwrap(), Entry::dir(0o1777, Part::Images));
            image(&format!("nodeimg.invalid/test/{name}:1"), tree)
        })
        .to_vec()
}

/// Writes a tree to a folder, as the seal would into a file system; owners are left alone.
pub fn materialise(tree: &RootTree, folder: &Path) {
    for (path, entry) in tree.iter() {
        let at = folder.join(path.as_str());
        match &entry.kind {
            Kind::Dir => fs::create_dir_all(&at).unwrap(),
            Kind::File(content) => fs::write(&at, content.read().unwrap()).unwrap(),
            Kind::Hardlink(target) => fs::hard_link(folder.join(target.as_str()), &at).unwrap(),
            Kind::Symlink(target) => std::os::unix::fs::symlink(target, &at).unwrap(),
            Kind::CharDev(..) => panic!("{path} is a device"),
        }
        if matches!(entry.kind, Kind::Dir | Kind::File(_)) {
            fs::set_permissions(&at, fs::Permissions::from_mode(entry.mode)).unwrap();
        }
    }
}
