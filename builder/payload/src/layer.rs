//! The one layer of an image: the tar stream of a tree, and the digest of that stream.
//!
//! Takes a [`RootTree`] of folders, files and links. Gives bytes that depend on nothing but the tree and one time stamp:
//! sorted names, plain ustar headers, parents before children. Reads the files that are the tree's contents; writes
//! only to the writer it is handed.
//!
//! Source of the format: OCI image-spec, layer.md; POSIX ustar.

use std::fs::File;
use std::io::{self, Read, Write};

use nodeimg_tree::{BadPath, Content, Entry, Kind, Part, RootTree, TreePath};
use sha2::{Digest as _, Sha256};

/// Digest and length of a layer's tar stream. The stream is not compressed, so the digest is its diff ID too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDigest {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// Without this file `nft` lists protocols by number, and kube-proxy, which compares what is listed with what it set by
/// name, would delete the living elements of its maps.
const PROTOCOLS: &[u8] =
    b"icmp\t1\tICMP\ntcp\t6\tTCP\nudp\t17\tUDP\nipv6-icmp\t58\tIPv6-ICMP\nsctp\t132\tSCTP\n";

/// What every image of ours has: a root user, names of protocols, and a `/tmp`.
pub fn base() -> Result<RootTree, BadPath> {
    let mut tree = RootTree::new();
    tree.insert(TreePath::parse("tmp")?, Entry::dir(0o1777, Part::Images));
    add_file(&mut tree, "etc/passwd", 0o644, Content::Bytes((*b"root:x:0:0:root:/:/\n").into()))?;
    add_file(&mut tree, "etc/group", 0o644, Content::Bytes((*b"root:x:0:\n").into()))?;
    add_file(&mut tree, "etc/protocols", 0o644, Content::Bytes(PROTOCOLS.into()))?;
    Ok(tree)
}

/// Adds a regular file of root, with its parents.
pub fn add_file(tree: &mut RootTree, path: &str, mode: u32, content: Content) -> Result<(), BadPath> {
    let entry = Entry { kind: Kind::File(content), mode, uid: 0, gid: 0, part: Part::Images };
    tree.insert(TreePath::parse(path)?, entry);
    Ok(())
}

/// Writes the tar stream, every entry dated `epoch` (seconds since 1970).
pub fn write_tar<W: Write>(tree: &RootTree, epoch: u64, into: W) -> io::Result<W> {
    let mut tar = tar::Builder::new(into);
    for (path, entry) in tree.iter() {
        let mut header = tar::Header::new_ustar();
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mode(entry.mode);
        header.set_mtime(epoch);
        header.set_size(0);
        match &entry.kind {
            Kind::Dir => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, format!("{}/", path.as_str()), io::empty())?;
            }
            Kind::File(content) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(content.size());
                tar.append_data(&mut header, path.as_str(), open(content)?)?;
            }
            Kind::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, path.as_str(), target)?;
            }
            Kind::Hardlink(_) | Kind::CharDev(..) => {
                let message = format!("{path} is neither a folder nor a file nor a symbolic link");
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        }
    }
    tar.into_inner()
}

/// Digest and length of the tar stream, without keeping it.
pub fn digest(tree: &RootTree, epoch: u64) -> io::Result<LayerDigest> {
    let sink = write_tar(tree, epoch, DigestSink::default())?;
    Ok(LayerDigest { sha256: hex::encode(sink.hash.finalize()), size: sink.size })
}

fn open(content: &Content) -> io::Result<Box<dyn Read + '_>> {
    match content {
        Content::Bytes(bytes) => Ok(Box::new(&bytes[..])),
        Content::Path { path, .. } => {
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("\"{}\": {error}", path.display()));
            Ok(Box::new(File::open(path).map_err(named)?))
        }
    }
}

#[derive(Default)]
struct DigestSink {
    hash: Sha256,
    size: u64,
}

impl Write for DigestSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(order: [&str; 2]) -> RootTree {
        let mut tree = base().unwrap();
        for path in order {
            add_file(&mut tree, path, 0o755, Content::Bytes(path.as_bytes().into())).unwrap();
        }
        tree
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let one = write_tar(&example(["usr/bin/a", "usr/sbin/b"]), 7, Vec::new()).unwrap();
        let two = write_tar(&example(["usr/sbin/b", "usr/bin/a"]), 7, Vec::new()).unwrap();
        assert_ne!(one, write_tar(&example(["usr/bin/a", "usr/sbin/c"]), 7, Vec::new()).unwrap());
        let paths = |tar: &[u8]| tar::Archive::new(tar).entries().unwrap().count();
        assert_eq!(paths(&one), 10);
        assert_eq!(one.len(), two.len());
        assert_eq!(one, two);
    }

    #[test]
    fn the_digest_is_of_the_stream() {
        let tree = example(["a", "b"]);
        let tar = write_tar(&tree, 7, Vec::new()).unwrap();
        let same = digest(&tree, 7).unwrap();
        assert_eq!(same.size, tar.len() as u64);
        assert_eq!(same.sha256, hex::encode(Sha256::digest(&tar)));
        assert_ne!(same, digest(&tree, 8).unwrap());
    }

    #[test]
    fn entries_belong_to_root_come_after_their_parents_and_are_dated() {
        let tar = write_tar(&example(["usr/bin/a", "usr/sbin/b"]), 7, Vec::new()).unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 7));
            names.push(entry.path().unwrap().to_string_lossy().into_owned());
        }
        let expected = [
            "etc/",
            "etc/group",
            "etc/passwd",
            "etc/protocols",
            "tmp/",
            "usr/",
            "usr/bin/",
            "usr/bin/a",
            "usr/sbin/",
            "usr/sbin/b",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file_that_is_gone_is_named() {
        let mut tree = RootTree::new();
        let content = Content::Path { path: "/nonexistent/x".into(), size: 3 };
        add_file(&mut tree, "x", 0o644, content).unwrap();
        assert!(digest(&tree, 0).unwrap_err().to_string().contains("\"/nonexistent/x\""));
    }
}
