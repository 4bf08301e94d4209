//! What can go wrong while artifacts are written.

use std::io;
use std::path::PathBuf;

/// Artifacts that could not be written. The last good ones are still there.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file system said no.
    #[error("output: cannot {action} \"{}\"{}", path.display(), disk_full(source, path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A root that fits on no disk.
    #[error("output: the sealed root cannot be laid out on a GPT disk")]
    Layout,
    /// A name that is no folder's name.
    #[error(
        "output: \"{0}\" cannot be the name of an image\nhelp: name the profile file with letters, digits, `-`, `_` and `.`"
    )]
    Name(String),
    /// The manifest could not be written as JSON.
    #[error("output: cannot write image.json")]
    Json(#[from] serde_json::Error),
}

fn disk_full(source: &io::Error, path: &std::path::Path) -> String {
    let folder = path.parent().unwrap_or(path).display();
    match source.kind() {
        io::ErrorKind::StorageFull => format!("\nhelp: the disk is full: `df -h {folder}`"),
        io::ErrorKind::PermissionDenied => {
            format!("\nhelp: `{folder}` must be writable; --dist names another folder")
        }
        _ => String::new(),
    }
}
