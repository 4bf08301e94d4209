//! A root tree as a tar stream (GNU format), the form in which `mkfs.erofs --tar=f` takes owners, modes and devices
//! without anybody being root.
//!
//! Takes a tree and a writer. Reads the tree's files. Order: the tree's own, hard links last (their targets must be
//! there when they come). Bytes depend on nothing but the tree and the time given.

use nodeimg_tree::{Content, Entry, Kind, RootTree, TreePath};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use tar::{Builder, EntryType, Header};

/// Longest name that fits a header; longer ones get a GNU `L` or `K` entry in front.
const NAME_FIELD: usize = 100;

/// A tree that could not be streamed.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A file of the tree could not be read.
    #[error("cannot read \"{}\" for {in_tree}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it becomes.
        in_tree: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file has another size than the tree says: somebody changed it meanwhile.
    #[error("\"{}\" changed while it was read for {in_tree}: {expected} bytes announced, {got} found", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What it becomes.
        in_tree: TreePath,
        /// Bytes that the tree says.
        expected: u64,
        /// Bytes that were there.
        got: u64,
    },
    /// A hard link to nothing, or to something that is no regular file.
    #[error("{link} is a hard link to {target}, which is no regular file of the tree")]
    DanglingHardlink {
        /// The link.
        link: TreePath,
        /// What it names.
        target: TreePath,
    },
    /// Whoever takes the stream took no more.
    #[error("the tar stream was not taken to its end")]
    Write(#[source] io::Error),
}

/// Writes `tree` to `out`; `advance` hears of bytes of content as they go out. `mtime` in seconds since 1970.
pub fn write_tar<W: Write>(
    tree: &RootTree,
    mtime: u64,
    out: W,
    mut advance: impl FnMut(u64),
) -> Result<W, TarError> {
    let mut tar = Builder::new(out);
    let root = TreePath::parse("").map_err(|e| TarError::Write(io::Error::other(e.to_string())))?;
    if tree.get(&root).is_none() {
        put(&mut tar, "./", &mut header(EntryType::Directory, 0o755, 0, 0, mtime), io::empty())?;
    }
    for (path, entry) in tree.iter() {
        write_entry(&mut tar, path, entry, mtime, &mut advance)?;
    }
    for (path, entry) in tree.iter() {
        let Kind::Hardlink(target) = &entry.kind else { continue };
        if !matches!(tree.get(target).map(|e| &e.kind), Some(Kind::File(_))) {
            return Err(TarError::DanglingHardlink { link: path.clone(), target: target.clone() });
        }
        let mut h = header(EntryType::Link, entry.mode, entry.uid, entry.gid, mtime);
        link_name(&mut tar, &mut h, target.as_str())?;
        put(&mut tar, path.as_str(), &mut h, io::empty())?;
    }
    tar.into_inner().map_err(TarError::Write)
}

fn write_entry<W: Write>(
    tar: &mut Builder<W>,
    path: &TreePath,
    entry: &Entry,
    mtime: u64,
    advance: &mut impl FnMut(u64),
) -> Result<(), TarError> {
    let new = |kind| header(kind, entry.mode, entry.uid, entry.gid, mtime);
    match &entry.kind {
        Kind::Hardlink(_) => Ok(()),
        Kind::Dir => {
            let name = if path.as_str().is_empty() { "./".to_owned() } else { format!("{}/", path.as_str()) };
            put(tar, &name, &mut new(EntryType::Directory), io::empty())
        }
        Kind::Symlink(target) => {
            let mut h = new(EntryType::Symlink);
            link_name(tar, &mut h, target)?;
            put(tar, path.as_str(), &mut h, io::empty())
        }
        Kind::CharDev(major, minor) => {
            let mut h = new(EntryType::Char);
            h.set_device_major(*major).map_err(TarError::Write)?;
            h.set_device_minor(*minor).map_err(TarError::Write)?;
            put(tar, path.as_str(), &mut h, io::empty())
        }
        Kind::File(content) => {
            let mut h = new(EntryType::Regular);
            h.set_size(content.size());
            match content {
                Content::Bytes(bytes) => put(tar, path.as_str(), &mut h, &bytes[..])?,
                Content::Path { path: file, size } => put_file(tar, path, &mut h, file, *size)?,
            }
            advance(content.size());
            Ok(())
        }
    }
}

fn put_file<W: Write>(
    tar: &mut Builder<W>,
    in_tree: &TreePath,
    header: &mut Header,
    path: &PathBuf,
    size: u64,
) -> Result<(), TarError> {
    let unreadable = |source| TarError::Read { path: path.clone(), in_tree: in_tree.clone(), source };
    let file = File::open(path).map_err(unreadable)?;
    let got = file.metadata().map_err(unreadable)?.len();
    let changed =
        |got| TarError::Changed { path: path.clone(), in_tree: in_tree.clone(), expected: size, got };
    if got != size {
        return Err(changed(got));
    }
    let mut source = Counted { inner: file.take(size), read: 0, failed: None };
    let result = put(tar, in_tree.as_str(), header, &mut source);
    if let Some(e) = source.failed {
        return Err(unreadable(e));
    }
    result?;
    if source.read == size { Ok(()) } else { Err(changed(source.read)) }
}

/// Tells a failed read from a failed write, which the tar crate gives back as the same error.
struct Counted<R> {
    inner: R,
    read: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buf) {
            Ok(n) => {
                self.read += n as u64;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                let kind = e.kind();
                self.failed = Some(e);
                Err(kind.into())
            }
        }
    }
}

fn header(kind: EntryType, mode: u32, uid: u32, gid: u32, mtime: u64) -> Header {
    let mut h = Header::new_gnu();
    h.set_entry_type(kind);
    h.set_mode(mode & 0o7777);
    h.set_uid(uid.into());
    h.set_gid(gid.into());
    h.set_mtime(mtime);
    h.set_size(0);
    h
}

fn put<W: Write>(
    tar: &mut Builder<W>,
    name: &str,
    header: &mut Header,
    data: impl Read,
) -> Result<(), TarError> {
    if name.len() > NAME_FIELD {
        long(tar, b'L', name)?;
    }
    let field = &mut header.as_old_mut().name;
    fill(field, name);
    header.set_cksum();
    tar.append(header, data).map_err(TarError::Write)
}

fn link_name<W: Write>(tar: &mut Builder<W>, header: &mut Header, target: &str) -> Result<(), TarError> {
    if target.len() > NAME_FIELD {
        long(tar, b'K', target)?;
    }
    fill(&mut header.as_old_mut().linkname, target);
    Ok(())
}

/// The field's bytes are what the tree says, cut where they do not fit: the tar crate's own setters would normalise
/// them, and a symbolic link's target is nobody's to change.
fn fill(field: &mut [u8; NAME_FIELD], text: &str) {
    *field = [0; NAME_FIELD];
    for (slot, byte) in field.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
}

fn long<W: Write>(tar: &mut Builder<W>, kind: u8, text: &str) -> Result<(), TarError> {
    let mut h = header(EntryType::new(kind), 0o644, 0, 0, 0);
    fill(&mut h.as_old_mut().name, "././@LongLink");
    h.set_size(text.len() as u64 + 1);
    h.set_cksum();
    tar.append(&h, text.as_bytes().chain(&[0u8][..])).map_err(TarError::Write)
}
