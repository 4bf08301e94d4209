//! Digests of a tree: a quick one that names a cache entry, and one over all content that decides UUIDs and salt.
//!
//! Takes a tree. Gives SHA-256 digests. Reads the tree's files, writes nothing.

use crate::error::SealError;
use nodeimg_tree::{Content, Entry, Kind, RootTree, TreePath};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::path::Path;

/// A digest over the tree that reads no file below `cache_root`: those are named by their content or by their inputs
/// and never change, so their path below the cache stands for their bytes. Hexadecimal.
pub(crate) fn quick(tree: &RootTree, cache_root: &Path) -> Result<String, SealError> {
    digest(tree, |content| match content {
        Content::Path { path, size } => match path.strip_prefix(cache_root) {
            Ok(below) => Ok(format!("cache {size} {}", below.display())),
            Err(_) => content_digest(content),
        },
        Content::Bytes(_) => content_digest(content),
    })
    .map(hex::encode)
}

/// A digest over everything that the root file system will hold; the same on every machine.
pub(crate) fn content(tree: &RootTree) -> Result<[u8; 32], SealError> {
    digest(tree, content_digest)
}

/// 32 bytes for one purpose, derived from a content digest.
pub(crate) fn derive(content: &[u8; 32], purpose: &str) -> [u8; 32] {
    let mut h = Sha256::new();
    h.update(b"nodeimg ");
    h.update(purpose.as_bytes());
    h.update([0]);
    h.update(content);
    h.finalize().into()
}

/// The verity device's UUID: version 8 (RFC 9562, custom) from the content digest.
pub(crate) fn uuid(content: &[u8; 32]) -> [u8; 16] {
    as_uuid(&derive(content, "verity uuid"))
}

/// The first 16 bytes with version 8 and the RFC's variant set.
pub(crate) fn as_uuid(bytes: &[u8; 32]) -> [u8; 16] {
    let mut u = [0; 16];
    u.copy_from_slice(&bytes[..16]);
    u[6] = (u[6] & 0x0f) | 0x80;
    u[8] = (u[8] & 0x3f) | 0x80;
    u
}

fn content_digest(content: &Content) -> Result<String, SealError> {
    let hex =
        match content {
            Content::Bytes(bytes) => hex::encode(Sha256::digest(bytes)),
            Content::Path { path, .. } => nodeimg_cache::sha256_file(path)
                .map_err(|source| SealError::Io { action: "read", path: path.clone(), source })?,
        };
    Ok(format!("sha256 {} {hex}", content.size()))
}

fn digest(
    tree: &RootTree,
    of_content: impl Fn(&Content) -> Result<String, SealError> + Sync,
) -> Result<[u8; 32], SealError> {
    let entries: Vec<(&TreePath, &Entry)> = tree.iter().collect();
    let lines: Vec<String> = entries
        .par_iter()
        .map(|(path, entry)| {
            let kind = match &entry.kind {
                Kind::Dir => "dir".to_owned(),
                Kind::File(content) => of_content(content)?,
                Kind::Symlink(target) => format!("symlink {target}"),
                Kind::Hardlink(target) => format!("hardlink {}", target.as_str()),
                Kind::CharDev(major, minor) => format!("chardev {major} {minor}"),
            };
            Ok(format!("{}\0{:o} {} {} {kind}", path.as_str(), entry.mode, entry.uid, entry.gid))
        })
        .collect::<Result<_, SealError>>()?;
    let mut h = Sha256::new();
    for line in &lines {
        h.update((line.len() as u64).to_le_bytes());
        h.update(line.as_bytes());
    }
    Ok(h.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_tree::Part;

    fn tree(entry: Entry) -> RootTree {
        let mut t = RootTree::new();
        t.insert(TreePath::parse("etc/x").expect("path"), entry);
        t
    }

    #[test]
    fn everything_that_a_node_can_see_counts() {
        let base = Entry::file(*b"x", 0o644, Part::Config);
        let id = |e: Entry| content(&tree(e)).expect("digest");
        let first = id(base.clone());
        assert_eq!(first, id(Entry { part: Part::Debian, ..base.clone() }), "the part is bookkeeping");
        assert_ne!(first, id(Entry { mode: 0o600, ..base.clone() }));
        assert_ne!(first, id(Entry { uid: 1, ..base.clone() }));
        assert_ne!(first, id(Entry { gid: 1, ..base.clone() }));
        assert_ne!(first, id(Entry::file(*b"y", 0o644, Part::Config)));
        assert_ne!(first, id(Entry::symlink("x", Part::Config)));
    }

    #[test]
    fn where_the_bytes_lie_does_not_count_for_the_content() {
        let dir = tempfile::tempdir().expect("temp folder");
        let path = dir.path().join("f");
        std::fs::write(&path, b"x").expect("write");
        let on_disk = Entry {
            kind: Kind::File(Content::Path { path, size: 1 }),
            ..Entry::file(*b"x", 0o644, Part::Config)
        };
        let in_memory = Entry::file(*b"x", 0o644, Part::Config);
        assert_eq!(content(&tree(on_disk.clone())).ok(), content(&tree(in_memory.clone())).ok());
        let elsewhere = Path::new("/nonexistent");
        assert_eq!(quick(&tree(on_disk), elsewhere).ok(), quick(&tree(in_memory), elsewhere).ok());
    }

    #[test]
    fn purposes_differ() {
        assert_ne!(derive(&[1; 32], "a"), derive(&[1; 32], "b"));
        let u = as_uuid(&[0xff; 32]);
        assert_eq!((u[6], u[8]), (0x8f, 0xbf));
    }
}
