//! A new folder that appears whole or not at all, readable by its owner alone.

use super::{ClusterError, interrupt, lock};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder in the making, beside the place that it will have; removed when dropped unfinished.
pub struct NewFolder {
    wanted: PathBuf,
    making: tempfile::TempDir,
    /// Says that somebody still makes it.
    _maker: File,
}

impl NewFolder {
    /// Refuses a place that is taken.
    pub fn begin(wanted: &Path) -> Result<Self, ClusterError> {
        if wanted.symlink_metadata().is_ok() {
            return Err(ClusterError::Exists(wanted.to_owned()));
        }
        let parent = parent(wanted);
        let failed = |source| ClusterError::Write { path: wanted.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        // Between its making and its own lock a new folder looks like one that was left over.
        let _alone = lock::folder(parent)?;
        Self::beside(wanted)
    }

    /// A folder that is to take the place of one that exists ([`NewFolder::exchange`]). The parent is locked.
    pub fn beside(wanted: &Path) -> Result<Self, ClusterError> {
        let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = parent(wanted);
        let failed = |source| ClusterError::Write { path: wanted.to_owned(), source };
        let prefix = format!(".{name}.nodeimg-");
        lock::sweep(parent, &prefix);
        let making = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(failed)?;
        let maker = lock::folder(making.path())?;
        Ok(Self { wanted: wanted.to_owned(), making, _maker: maker })
    }

    /// The error of a file below, by the path that it would have had.
    pub fn failed(&self, path: &Path, source: io::Error) -> ClusterError {
        ClusterError::Write { path: self.wanted.join(path), source }
    }

    /// Writes one file of mode 0600, in folders of mode 0700.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ClusterError> {
        interrupt::check()?;
        let full = self.making.path().join(path);
        let write = || {
            if let Some(folder) = full.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&full)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|source| self.failed(path, source))
    }

    /// Takes over what lies in a folder, by hard links: its files are never written again, only replaced.
    pub fn copy_from(&self, folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), ClusterError> {
        let link = || -> io::Result<()> {
            if !folder.exists() {
                return Ok(());
            }
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if !name.to_str().is_some_and(&wanted) {
                    continue;
                }
                let target = self.making.path().join(&name);
                if !entry.file_type()?.is_dir() {
                    std::fs::hard_link(entry.path(), target)?;
                    continue;
                }
                DirBuilder::new().mode(0o700).create(&target)?;
                for file in std::fs::read_dir(entry.path())? {
                    let file = file?;
                    std::fs::hard_link(file.path(), target.join(file.file_name()))?;
                }
            }
            Ok(())
        };
        link().map_err(|source| ClusterError::Write { path: folder.to_owned(), source })
    }

    /// Takes the place of the folder that exists, in one step; gives that one, to be removed when dropped.
    pub fn exchange(self) -> Result<tempfile::TempDir, ClusterError> {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let from = self.making.path();
        if !self.wanted.exists() {
            let made = DirBuilder::new().mode(0o700).create(&self.wanted);
            made.map_err(|source| self.failed(Path::new(""), source))?;
        }
        renameat2(AT_FDCWD, from, AT_FDCWD, &self.wanted, RenameFlags::RENAME_EXCHANGE)
            .map_err(|e| self.failed(Path::new(""), e.into()))?;
        Ok(self.making)
    }

    /// Gives the folder its place.
    pub fn finish(self) -> Result<(), ClusterError> {
        let from = self.making.path().to_owned();
        if self.wanted.symlink_metadata().is_ok() {
            return Err(ClusterError::Exists(self.wanted));
        }
        std::fs::rename(&from, &self.wanted)
            .map_err(|source| ClusterError::Write { path: self.wanted, source })?;
        // The folder has moved: nothing is left to remove.
        let _ = self.making.keep();
        Ok(())
    }
}

fn parent(wanted: &Path) -> &Path {
    match wanted.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
