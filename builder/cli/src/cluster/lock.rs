//! One command at a time on a cluster's folder, and what commands that were killed have left behind.

use super::{ClusterError, interrupt};
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(50);

/// Takes a folder for this command alone; free again when dropped, and when the process ends in whatever way.
pub fn folder(folder: &Path) -> Result<File, ClusterError> {
    let failed = |source| ClusterError::Lock { path: folder.to_owned(), source };
    let file = File::open(folder).map_err(failed)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        if !told {
            eprintln!("waiting for another nodeimg that changes \"{}\"", folder.display());
            told = true;
        }
        interrupt::check()?;
        std::thread::sleep(PAUSE);
    }
}

/// Removes folders in the making that nobody makes any more: they hold keys. Each maker has its own one locked.
pub fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
            && entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == nix::unistd::geteuid().as_raw());
        if !ours {
            continue;
        }
        // What is locked is being made; what cannot be removed is found again the next time.
        let dead = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if dead && std::fs::remove_dir_all(entry.path()).is_ok() {
            eprintln!("removed \"{}\", left over from a command that was ended", entry.path().display());
        }
    }
}
