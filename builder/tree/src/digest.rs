//! The digest of a tree: one SHA-256 for every path, kind, mode, owner and byte in it.
//!
//! Takes a tree and the cache. Contents that the cache names by their own SHA-256 (`blob/…`, `deb/…/content/…`) are
//! not read again; those of other files are remembered in the cache by path, size, inode and time of change. Writes
//! cache entries `digest/KEY`, nothing else.

use crate::file_error::{FileError, failed};
use crate::model::{Content, Kind, RootTree};
use crate::unpack::CONTENT;
use nodeimg_cache::{Cache, CacheError, digest_text, sha256_file};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A tree whose content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl RootTree {
    /// SHA-256 over the sorted entries, hexadecimal; the same for the same tree on every machine. The part that an
    /// entry counts for does not matter.
    pub fn digest(&self, cache: &Cache) -> Result<String, DigestError> {
        let entries: Vec<_> = self.iter().collect();
        let contents: Vec<Option<String>> = entries
            .par_iter()
            .map(|(_, entry)| match &entry.kind {
                Kind::File(content) => content.digest(cache).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let mut hash = Sha256::new();
        // Lengths first: no two lists of fields give the same bytes.
        let mut field = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for ((path, entry), content) in entries.into_iter().zip(contents) {
            field(path.as_str());
            field(&format!("{:o} {} {}", entry.mode, entry.uid, entry.gid));
            match &entry.kind {
                Kind::Dir => field("dir"),
                Kind::File(_) => field(&format!("file {}", content.unwrap_or_default())),
                Kind::Symlink(target) => field(&format!("symlink {target}")),
                Kind::Hardlink(to) => field(&format!("hardlink {}", to.as_str())),
                Kind::CharDev(major, minor) => field(&format!("char {major} {minor}")),
            }
        }
        Ok(hex::encode(hash.finalize()))
    }
}

impl Content {
    /// SHA-256 of the bytes, hexadecimal.
    pub fn digest(&self, cache: &Cache) -> Result<String, DigestError> {
        match self {
            Content::Bytes(bytes) => Ok(hex::encode(Sha256::digest(bytes))),
            Content::Path { path, .. } => match named_by_content(path, cache.root()) {
                Some(name) => Ok(name.to_owned()),
                None => remembered(path, cache),
            },
        }
    }
}

/// The digest in the path of a file that the cache names by its content.
fn named_by_content<'a>(path: &'a Path, cache: &Path) -> Option<&'a str> {
    let parts: Vec<&str> = path.strip_prefix(cache).ok()?.iter().map(|p| p.to_str().unwrap_or("")).collect();
    let name = match parts.as_slice() {
        ["blob", name] => name,
        ["deb", _, folder, name] if *folder == CONTENT => name,
        _ => return None,
    };
    (name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())).then_some(*name)
}

fn remembered(path: &Path, cache: &Cache) -> Result<String, DigestError> {
    let meta = std::fs::metadata(path).map_err(failed("read", path))?;
    let key = digest_text(&format!(
        "{}\n{} {} {} {}.{} {}.{}",
        path.display(),
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    ));
    let (memo, _) = cache.entry("digest", &key, |fresh| -> Result<(), DigestError> {
        let sha256 = sha256_file(path).map_err(failed("read", path))?;
        Ok(std::fs::write(fresh, sha256).map_err(failed("write", fresh))?)
    })?;
    let text = std::fs::read_to_string(&memo).map_err(failed("read", &memo))?;
    if text.len() == 64 { Ok(text) } else { Ok(sha256_file(path).map_err(failed("read", path))?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, Part, TreePath};

    fn tree(content: Content) -> RootTree {
        let mut tree = RootTree::new();
        let mut entry = Entry::file(*b"", 0o644, Part::Config);
        entry.kind = Kind::File(content);
        tree.insert(TreePath::parse("etc/x").expect("path"), entry);
        tree
    }

    #[test]
    fn where_the_bytes_lie_does_not_matter_but_every_fact_does() {
        let dir = tempfile::tempdir().expect("temp folder");
        let cache = Cache::open(dir.path()).expect("cache");
        let digest = |tree: &RootTree| tree.digest(&cache).expect("digest");
        let file = dir.path().join("file");
        std::fs::write(&file, b"bytes").expect("write");
        let sha = sha256_file(&file).expect("digest");
        let blob = cache.blob_path(&sha);
        std::fs::write(&blob, b"bytes").expect("write");
        let one = digest(&tree(Content::Bytes((*b"bytes").into())));
        assert_eq!(digest(&tree(Content::Path { path: file.clone(), size: 5 })), one);
        assert_eq!(digest(&tree(Content::Path { path: blob, size: 5 })), one);
        std::fs::write(&file, b"other").expect("write");
        assert_ne!(digest(&tree(Content::Path { path: file, size: 5 })), one);
        let mut changed = tree(Content::Bytes((*b"bytes").into()));
        changed.get_mut(&TreePath::parse("etc/x").expect("path")).expect("entry").gid = 1;
        assert_ne!(digest(&changed), one);
    }
}
