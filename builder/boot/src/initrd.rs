//! The initramfs: nodeinit as `/init`, modules with their index, folders to mount on.
//!
//! Takes entries, gives one newc archive under zstd. Pure but for the files that it is given.
//!
//! Format: kernel `Documentation/driver-api/early-userspace/buffer-format.rst`. Order is by path, inode numbers
//! count up, every time is the lock's: the same entries give the same bytes. Modules are compressed already
//! (`.ko.xz`) and go in as they are; the kernel unpacks them itself.

use crate::error::BootError;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Level of zstd: the archive is mostly modules that no longer shrink, so a higher one buys nothing but time.
const ZSTD_LEVEL: i32 = 12;

enum Node {
    Dir,
    File { bytes: Vec<u8>, mode: u32 },
    Symlink(&'static str),
    Console,
}

/// An archive being put together.
#[derive(Default)]
pub(crate) struct Initrd {
    nodes: BTreeMap<String, Node>,
}

impl Initrd {
    /// With the folders and links that nodeinit's first stage expects.
    pub(crate) fn skeleton() -> Self {
        let mut initrd = Self::default();
        for dir in ["dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "usr/bin", "usr/lib"] {
            initrd.dir(dir);
        }
        initrd.nodes.insert("lib".into(), Node::Symlink("usr/lib"));
        initrd.nodes.insert("bin".into(), Node::Symlink("usr/bin"));
        initrd.nodes.insert("sbin".into(), Node::Symlink("usr/bin"));
        initrd.nodes.insert("dev/console".into(), Node::Console);
        initrd
    }

    /// A folder and those above it.
    fn dir(&mut self, path: &str) {
        let mut at = 0;
        while let Some(slash) = path[at..].find('/') {
            self.nodes.entry(path[..at + slash].to_owned()).or_insert(Node::Dir);
            at += slash + 1;
        }
        self.nodes.entry(path.to_owned()).or_insert(Node::Dir);
    }

    /// A regular file of root at a relative path, with the folders above it.
    pub(crate) fn file(&mut self, path: &str, bytes: Vec<u8>, mode: u32) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.dir(parent);
        }
        self.nodes.insert(path.to_owned(), Node::File { bytes, mode });
    }

    /// The newc archive, uncompressed. `epoch` in seconds since 1970 (what does not fit in 32 bits becomes the largest
    /// that does).
    pub(crate) fn archive(&self, epoch: u64) -> Result<Vec<u8>, BootError> {
        let mtime = u32::try_from(epoch).unwrap_or(u32::MAX);
        let mut out = Vec::new();
        for (ino, (name, node)) in (1u32..).zip(&self.nodes) {
            let entry = cpio::newc::Builder::new(name).ino(ino).mtime(mtime).uid(0).gid(0);
            let (entry, bytes) = match node {
                Node::Dir => (entry.mode(0o040755).nlink(2), &[][..]),
                Node::File { bytes, mode } => (entry.mode(0o100000 | mode).nlink(1), &bytes[..]),
                Node::Symlink(target) => (entry.mode(0o120777).nlink(1), target.as_bytes()),
                Node::Console => (entry.mode(0o020600).nlink(1).rdev_major(5).rdev_minor(1), &[][..]),
            };
            let size = u32::try_from(bytes.len())
                .map_err(|_| BootError::TooLarge { name: name.clone(), size: bytes.len() as u64 })?;
            let mut writer = entry.write(&mut out, size);
            writer.write_all(bytes).and_then(|()| writer.finish().map(drop)).map_err(in_memory)?;
        }
        cpio::newc::trailer(&mut out).map_err(in_memory)?;
        Ok(out)
    }

    /// The archive under zstd.
    pub(crate) fn compressed(&self, epoch: u64) -> Result<Vec<u8>, BootError> {
        zstd::bulk::compress(&self.archive(epoch)?, ZSTD_LEVEL).map_err(in_memory)
    }
}

fn in_memory(source: std::io::Error) -> BootError {
    BootError::Io { action: "write", path: Path::new("initrd").into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode, bytes, device.
    type Seen = (String, u32, Vec<u8>, (u32, u32));

    #[test]
    fn comes_back_whole_and_parents_first() {
        let mut initrd = Initrd::skeleton();
        initrd.file("init", b"elf".to_vec(), 0o755);
        initrd.file("usr/lib/modules/1/kernel/a.ko.xz", vec![7; 5001], 0o644);
        let packed = initrd.compressed(1_700_000_000).expect("archive");
        assert_eq!(packed, initrd.compressed(1_700_000_000).expect("archive"), "twice the same");
        let bytes = zstd::bulk::decompress(&packed, 1 << 20).expect("zstd");
        let mut rest = &bytes[..];
        let mut seen: Vec<Seen> = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(rest).expect("entry");
            if reader.entry().is_trailer() {
                break;
            }
            let mut data = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut data).expect("data");
            let e = reader.entry();
            if let Some((parent, _)) = e.name().rsplit_once('/') {
                assert!(seen.iter().any(|(n, ..)| n == parent), "{} before {parent}", e.name());
            }
            assert_eq!(e.mtime(), 1_700_000_000);
            seen.push((e.name().to_owned(), e.mode(), data, (e.rdev_major(), e.rdev_minor())));
            rest = reader.finish().expect("next");
        }
        let find = |name: &str| seen.iter().find(|(n, ..)| n == name).expect(name);
        assert_eq!((find("init").1, find("init").2.as_slice()), (0o100755, &b"elf"[..]));
        assert_eq!(find("usr/lib/modules/1/kernel/a.ko.xz").2.len(), 5001);
        assert_eq!((find("lib").1, find("lib").2.as_slice()), (0o120777, &b"usr/lib"[..]));
        assert_eq!(find("dev/console").3, (5, 1));
    }
}
