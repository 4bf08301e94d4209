//! What can go wrong while a root is sealed.

use crate::tar_stream::TarError;
use nodeimg_cache::CacheError;
use std::io;
use std::path::PathBuf;

/// A root that could not be sealed. Nothing of it stays in the cache.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file system said no.
    #[error("seal: cannot {action} \"{}\"", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The cache said no.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The tree could not be written as a tar stream.
    #[error(transparent)]
    Tree(#[from] TarError),
    /// mkfs.erofs could not be started.
    #[error("seal: cannot start mkfs.erofs (\"{program}\")")]
    Start {
        /// What was started.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// mkfs.erofs failed.
    #[error(
        "seal: mkfs.erofs failed ({status}){}\nhelp: a full disk is the usual cause: see `df -h {}`",
        if lines.is_empty() { String::new() } else { format!(":\n  {}", lines.join("\n  ")) },
        folder.display()
    )]
    Mkfs {
        /// How it ended.
        status: String,
        /// The last lines that it wrote to standard error.
        lines: Vec<String>,
        /// Where it was writing.
        folder: PathBuf,
    },
    /// What mkfs.erofs wrote is no image that can be hashed.
    #[error("seal: mkfs.erofs wrote {size} bytes, not a whole number of 4096-byte blocks")]
    OddSize {
        /// Bytes.
        size: u64,
    },
    /// A cache entry that was changed by somebody else.
    #[error("seal: the cache entry \"{}\" is broken: {why}\nhelp: remove that folder and build again", path.display())]
    BrokenEntry {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}
