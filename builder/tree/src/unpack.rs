//! Packages unpacked into the cache, without maintainer scripts.
//!
//! Takes .debs whose digest was checked, gives their entries with content as files of the cache. Writes cache entries
//! `deb/SHA256/` and nothing else: `entries.json` (the list) and `content/SHA256` (one file for each content, named by
//! it, so that a tree's digest needs no second look). A package's own paths name no file here, so that none of them
//! can lead anywhere.

use crate::deb::{self, DebError, Limits, Record, RecordKind};
use crate::file_error::{FileError, failed};
use crate::model::{BadPath, Content, TreePath};
use nodeimg_cache::{Cache, CacheError, Origin};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Changes when the layout of a cache entry does; older entries are then not looked at.
const KIND: &str = "deb";
const LIST: &str = "entries.json";
/// Folder of contents in a cache entry.
pub(crate) const CONTENT: &str = "content";

/// A package that is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The package is malformed or hostile.
    #[error(
        "package \"{name}\" is refused\nhelp: its digest was right, so the archive itself holds this; \
         look at it with `ar t` and `tar tvf`, and leave the package out of the profile"
    )]
    Deb {
        /// Its file name.
        name: String,
        /// Why.
        #[source]
        source: DebError,
    },
    /// The package is sound, but the cache cannot take it.
    #[error("package \"{name}\" cannot be unpacked into the cache")]
    Store {
        /// Its file name.
        name: String,
        /// Which entry.
        #[source]
        source: DebError,
    },
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The file system said no.
    #[error(transparent)]
    File(#[from] FileError),
    /// A list in the cache is damaged.
    #[error("the cache entry \"{}\" is damaged\nhelp: remove that folder and build again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

/// A .deb to unpack; whoever makes one has checked the digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// The package's name, for messages.
    pub name: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The file.
    pub path: PathBuf,
}

/// A package in the cache, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedDeb {
    /// The package's name.
    pub name: String,
    /// SHA-256 of the .deb, hexadecimal.
    pub sha256: String,
    /// Its entries in the archive's order: parents and hard links' targets come first.
    pub entries: Vec<UnpackedEntry>,
}

/// One entry of an unpacked package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedEntry {
    /// Where, as the package says (not yet moved below `usr/`).
    pub path: TreePath,
    /// What, with its content.
    pub kind: crate::model::Kind,
    /// Permission bits with set-id and sticky (0o7777).
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
}

/// One line of `entries.json`.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "p")]
    path: String,
    #[serde(rename = "m")]
    mode: u32,
    #[serde(rename = "o", default, skip_serializing_if = "is_root")]
    owner: (u32, u32),
    #[serde(flatten)]
    kind: LineKind,
}

fn is_root(owner: &(u32, u32)) -> bool {
    *owner == (0, 0)
}

#[derive(Serialize, Deserialize)]
enum LineKind {
    #[serde(rename = "d")]
    Dir(()),
    #[serde(rename = "f")]
    File(u64, String),
    #[serde(rename = "l")]
    Symlink(String),
    #[serde(rename = "h")]
    Hardlink(String),
    #[serde(rename = "c")]
    CharDev(u32, u32),
}

/// Unpacks the packages that the cache does not have, as many at once as there are processors, and gives all of them
/// in the order asked for. `unpacked` is called for each with its origin (from several threads).
pub fn debs(
    cache: &Cache,
    debs: &[Deb],
    unpacked: &(dyn Fn(&Deb, Origin) + Sync),
) -> Result<Vec<UnpackedDeb>, UnpackError> {
    debs.par_iter()
        .map(|d| {
            let (done, origin) = deb(cache, d)?;
            unpacked(d, origin);
            Ok(done)
        })
        .collect()
}

/// Unpacks one package, or finds it in the cache.
pub fn deb(cache: &Cache, deb: &Deb) -> Result<(UnpackedDeb, Origin), UnpackError> {
    let (folder, origin) = cache.entry(KIND, &deb.sha256, |fresh| fill(fresh, deb))?;
    Ok((load(&folder, deb)?, origin))
}

fn fill(folder: &Path, deb: &Deb) -> Result<(), UnpackError> {
    let content = folder.join(CONTENT);
    fs::create_dir_all(&content).map_err(failed("create", &content))?;
    let file = File::open(&deb.path).map_err(failed("open", &deb.path))?;
    let mut lines = vec![];
    deb::read(BufReader::with_capacity(1 << 18, file), Limits::default(), &mut |record, bytes| {
        lines.push(line(record, bytes, &content)?);
        Ok(())
    })
    .map_err(|source| refused(&deb.name, source))?;
    let list = folder.join(LIST);
    let bytes = serde_json::to_vec(&lines).map_err(|_| UnpackError::Damaged { path: list.clone() })?;
    Ok(fs::write(&list, bytes).map_err(failed("write", &list))?)
}

/// A package whose content cannot be written (a full disk) is not at fault.
fn refused(name: &str, source: DebError) -> UnpackError {
    match source {
        DebError::Store { .. } => UnpackError::Store { name: name.to_owned(), source },
        source => UnpackError::Deb { name: name.to_owned(), source },
    }
}

fn line(record: &Record, bytes: &mut dyn Read, content: &Path) -> io::Result<Line> {
    let kind = match &record.kind {
        RecordKind::Dir => LineKind::Dir(()),
        RecordKind::File(size) => {
            LineKind::File(*size, store(bytes, *size, record.mode & 0o111 != 0, content)?)
        }
        RecordKind::Symlink(target) => LineKind::Symlink(target.clone()),
        RecordKind::Hardlink(to) => LineKind::Hardlink(to.as_str().to_owned()),
        RecordKind::CharDev(major, minor) => LineKind::CharDev(*major, *minor),
    };
    Ok(Line {
        path: record.path.as_str().to_owned(),
        mode: record.mode,
        owner: (record.uid, record.gid),
        kind,
    })
}

/// Writes a content under its SHA-256, read-only, with execute bits where its program is to run from a hard link.
fn store(bytes: &mut dyn Read, size: u64, executable: bool, folder: &Path) -> io::Result<String> {
    let fresh = folder.join("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&fresh)?;
    let mut hash = Sha256::new();
    let mut buf = vec![0; size.clamp(1, 1 << 18) as usize];
    let mut left = size;
    loop {
        match bytes.read(&mut buf)? {
            0 if left == 0 => break,
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                hash.update(&buf[..n]);
                file.write_all(&buf[..n])?;
                left = left.saturating_sub(n as u64);
            }
        }
    }
    let name = hex::encode(hash.finalize());
    let path = folder.join(&name);
    let executable = executable || fs::metadata(&path).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    file.set_permissions(fs::Permissions::from_mode(if executable { 0o555 } else { 0o444 }))?;
    fs::rename(&fresh, &path)?;
    Ok(name)
}

fn load(folder: &Path, deb: &Deb) -> Result<UnpackedDeb, UnpackError> {
    let list = folder.join(LIST);
    let damaged = || UnpackError::Damaged { path: folder.to_owned() };
    let bytes = fs::read(&list).map_err(failed("read", &list))?;
    let lines: Vec<Line> = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    let content = folder.join(CONTENT);
    let entries = lines
        .into_iter()
        .map(|line| entry(line, &content))
        .collect::<Result<_, BadPath>>()
        .map_err(|_| damaged())?;
    Ok(UnpackedDeb { name: deb.name.clone(), sha256: deb.sha256.clone(), entries })
}

fn entry(line: Line, content: &Path) -> Result<UnpackedEntry, BadPath> {
    use crate::model::Kind;
    let kind = match line.kind {
        LineKind::Dir(()) => Kind::Dir,
        LineKind::File(size, sha256) => Kind::File(Content::Path { path: content.join(sha256), size }),
        LineKind::Symlink(target) => Kind::Symlink(target),
        LineKind::Hardlink(to) => Kind::Hardlink(TreePath::parse(&to)?),
        LineKind::CharDev(major, minor) => Kind::CharDev(major, minor),
    };
    let (uid, gid) = line.owner;
    Ok(UnpackedEntry { path: TreePath::parse(&line.path)?, kind, mode: line.mode, uid, gid })
}

#[cfg(test)]
mod tests;
