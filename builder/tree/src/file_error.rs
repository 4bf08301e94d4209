//! A file that could not be read or written: what was tried, on what, and why it failed.

use std::io;
use std::path::{Path, PathBuf};

/// The file system said no.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} \"{}\"", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// For `map_err`: the error of `action` on `path`.
pub(crate) fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> FileError {
    let path = path.to_owned();
    move |cause| FileError { action, path, source: cause.into() }
}
