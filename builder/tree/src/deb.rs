//! Reading a .deb: `ar` shell, compressed `data.tar`, entries.
//!
//! Takes the bytes of a package whose digest was checked before, and still trusts nothing in them: sizes, counts and
//! path lengths are bounded, a path that leaves the tree is refused, and so is one that goes through something that is
//! no folder. Gives each entry with its content to a visitor. Touches no file; never runs or even reads the control
//! member's scripts. Format: deb(5), and tar as dpkg-deb writes it (GNU long names; no pax, no sparse files).

mod ar;

use crate::model::{BadPath, TreePath};
use std::collections::HashMap;
use std::io::{self, Read};

/// What a package may be at most. The defaults are some ten times what Debian's largest node packages are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries.
    pub entries: usize,
    /// Bytes of the unpacked data.tar.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 200_000, unpacked: 8 << 30 }
    }
}

/// A package that is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The outer archive.
    #[error("not a Debian package: {0}")]
    Shell(&'static str),
    /// A data member with a compression that Debian does not use.
    #[error("unknown data member \"{0}\"")]
    Member(String),
    /// Decompression or the tar format.
    #[error("its content cannot be read")]
    Read(#[source] io::Error),
    /// Over a limit.
    #[error("it holds more than {0}")]
    Limit(&'static str),
    /// A path that leaves the tree.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// A path that goes through a link or a file, or a name given twice.
    #[error("entry \"{path}\" {what}")]
    Entry {
        /// Which.
        path: TreePath,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The visitor could not take the entry.
    #[error("entry \"{path}\" cannot be stored")]
    Store {
        /// Which.
        path: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// One entry of a package, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: RecordKind,
    /// Permission bits with set-id and sticky (0o7777).
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKind {
    /// Folder.
    Dir,
    /// Regular file with its size in bytes; the visitor reads the content.
    File(u64),
    /// Symbolic link with its target, as written.
    Symlink(String),
    /// Another name of a regular file that came before.
    Hardlink(TreePath),
    /// Character device (major, minor).
    CharDev(u32, u32),
}

/// Reads a .deb from `reader` and gives each entry to `visit`, which may read a file's content.
pub fn read(
    reader: impl Read,
    limits: Limits,
    visit: &mut dyn FnMut(&Record, &mut dyn Read) -> io::Result<()>,
) -> Result<(), DebError> {
    let mut members = ar::Members::open(reader)?;
    match members.next()? {
        Some(m) if m.name == "debian-binary" && m.size <= 64 => {
            let mut version = String::new();
            members.content().read_to_string(&mut version).map_err(DebError::Read)?;
            if !version.starts_with("2.") {
                return Err(DebError::Shell("unknown format version"));
            }
        }
        _ => return Err(DebError::Shell("no debian-binary member")),
    }
    while let Some(member) = members.next()? {
        let Some(compression) = member.name.strip_prefix("data.tar") else { continue };
        let packed = members.content();
        let unpacked: &mut dyn Read = match compression {
            "" => &mut *packed,
            ".gz" => &mut flate2::read::MultiGzDecoder::new(packed),
            ".xz" => {
                let stream = liblzma::stream::Stream::new_stream_decoder(256 << 20, 0)
                    .map_err(|e| DebError::Read(e.into()))?;
                &mut liblzma::read::XzDecoder::new_stream(packed, stream)
            }
            ".zst" => {
                let mut zst = zstd::stream::read::Decoder::new(packed).map_err(DebError::Read)?;
                zst.window_log_max(27).map_err(DebError::Read)?;
                &mut { zst }
            }
            _ => return Err(DebError::Member(member.name)),
        };
        return read_tar(&mut Bounded { inner: unpacked, left: limits.unpacked }, limits, visit);
    }
    Err(DebError::Shell("no data member"))
}

/// Fails when more than `left` bytes come.
struct Bounded<'a> {
    inner: &'a mut dyn Read,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| io::Error::other("more bytes than a package may have"))?;
        Ok(n)
    }
}

/// Reads the entries of a tar archive (GNU or ustar).
fn read_tar(
    reader: &mut dyn Read,
    limits: Limits,
    visit: &mut dyn FnMut(&Record, &mut dyn Read) -> io::Result<()>,
) -> Result<(), DebError> {
    let mut archive = tar::Archive::new(reader);
    let mut seen = Seen::default();
    let (mut long_name, mut long_link) = (None, None);
    // Raw entries: the extensions that come in entries of their own are read here, with a bound on their size.
    for (count, entry) in archive.entries().map_err(DebError::Read)?.raw(true).enumerate() {
        if count >= limits.entries {
            return Err(DebError::Limit("200000 entries"));
        }
        let mut entry = entry.map_err(DebError::Read)?;
        match entry.header().entry_type() {
            tar::EntryType::GNULongName => long_name = Some(read_long(&mut entry)?),
            tar::EntryType::GNULongLink => long_link = Some(read_long(&mut entry)?),
            _ => {
                let record = record(entry.header(), long_name.take(), long_link.take())?;
                seen.admit(&record)?;
                visit(&record, &mut entry)
                    .map_err(|source| DebError::Store { path: record.path.clone(), source })?;
            }
        }
    }
    Ok(())
}

fn read_long(entry: &mut impl Read) -> Result<Vec<u8>, DebError> {
    let mut name = vec![];
    entry.take(4098).read_to_end(&mut name).map_err(DebError::Read)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    if name.len() > 4096 { Err(DebError::Limit("4096 bytes in a path")) } else { Ok(name) }
}

fn record(
    header: &tar::Header,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
) -> Result<Record, DebError> {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|e| BadPath(String::from_utf8_lossy(e.as_bytes()).into_owned()))
    };
    let path = TreePath::parse(&text(long_name.unwrap_or_else(|| header.path_bytes().into_owned()))?)?;
    let link = || -> Result<String, BadPath> {
        text(long_link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()))
    };
    let refuse = |what| DebError::Entry { path: path.clone(), what };
    let number = |n: io::Result<u64>| {
        n.ok().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| refuse("has a bad number in its header"))
    };
    let device =
        |n: io::Result<Option<u32>>| n.ok().flatten().ok_or_else(|| refuse("has a bad device number"));
    let kind = match header.entry_type() {
        tar::EntryType::Directory => RecordKind::Dir,
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            RecordKind::File(header.size().map_err(|_| refuse("has a bad size"))?)
        }
        tar::EntryType::Symlink => {
            let target = link()?;
            if target.is_empty() || target.len() > 4095 || target.contains('\0') {
                return Err(refuse("is a link with a bad target"));
            }
            RecordKind::Symlink(target)
        }
        tar::EntryType::Link => RecordKind::Hardlink(TreePath::parse(&link()?)?),
        tar::EntryType::Char => {
            RecordKind::CharDev(device(header.device_major())?, device(header.device_minor())?)
        }
        _ => return Err(refuse("is of a kind that no node needs")),
    };
    let (mode, uid, gid) =
        (number(header.mode().map(u64::from))?, number(header.uid())?, number(header.gid())?);
    Ok(Record { path, kind, mode: mode & 0o7777, uid, gid })
}

/// What came before in the same package.
#[derive(Default)]
struct Seen {
    shapes: HashMap<TreePath, Shape>,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Dir,
    File,
    Other,
}

impl Seen {
    /// Refuses what would be written through a link, a file, or over something else.
    fn admit(&mut self, record: &Record) -> Result<(), DebError> {
        let refuse = |what| Err(DebError::Entry { path: record.path.clone(), what });
        let shape = match &record.kind {
            RecordKind::Dir => Shape::Dir,
            RecordKind::File(_) => Shape::File,
            RecordKind::Hardlink(to) if self.shapes.get(to) == Some(&Shape::File) => Shape::File,
            RecordKind::Hardlink(_) => return refuse("is a hard link to something that is not there"),
            RecordKind::Symlink(_) | RecordKind::CharDev(..) => Shape::Other,
        };
        let mut up = record.path.parent();
        while let Some(dir) = up {
            match self.shapes.get(&dir) {
                Some(Shape::Dir) => break,
                Some(_) => return refuse("goes through something that is no folder"),
                None => up = dir.parent(),
            }
            self.shapes.insert(dir, Shape::Dir);
        }
        match self.shapes.insert(record.path.clone(), shape) {
            None => Ok(()),
            Some(Shape::Dir) if shape == Shape::Dir => Ok(()),
            Some(_) => refuse("is there twice"),
        }
    }
}

#[cfg(test)]
mod tests;
