//! What can go wrong while a boot set is made.

use crate::uki::UkiError;
use nodeimg_cache::CacheError;
use std::io;
use std::path::PathBuf;

/// A boot set that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file system said no.
    #[error("boot set: cannot {action} \"{}\"", path.display())]
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
    /// The root tree lacks a file that the initramfs is made from.
    #[error("boot set: the root tree has no /{path}\nhelp: {help}")]
    Missing {
        /// Path in the tree.
        path: String,
        /// What to do.
        help: &'static str,
    },
    /// A module that no node can do without is neither a file of the tree nor built into the kernel.
    #[error(
        "boot set: kernel {release} has no module \"{name}\", neither as a file nor built in\n\
         help: take a kernel package with its modules (linux-image-amd64), and check [os] exclude in the profile"
    )]
    NoModule {
        /// Kernel release.
        release: String,
        /// The module.
        name: &'static str,
    },
    /// A file is too large for its format.
    #[error("boot set: \"{name}\" is too large for an initramfs ({size} bytes)")]
    TooLarge {
        /// Path in the archive.
        name: String,
        /// Bytes.
        size: u64,
    },
    /// The UKI could not be put together.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// A cache entry that was changed by somebody else.
    #[error("boot set: the cache entry \"{}\" is broken: {why}\nhelp: remove that folder and build again", path.display())]
    BrokenEntry {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}
