//! A folder that appears whole or not at all, in place of the one before.
//!
//! Takes a parent, a name and a function that fills a fresh folder. Touches `PARENT/NAME` and
//! `PARENT/.NAME.{new,old}-PID`. Killed at any moment, it leaves the old folder or the new one, at worst under its
//! `.old` name, from where the next run takes it back.

use crate::error::OutputError;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Fills a fresh folder and puts it in place of `parent/name`.
pub(crate) fn replace<T>(
    parent: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<T, OutputError>,
) -> Result<T, OutputError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| OutputError::Io { action, path, source }
    };
    fs::create_dir_all(parent).map_err(io("create", parent))?;
    recover(parent, name);
    let target = parent.join(name);
    let fresh = parent.join(format!(".{name}.new-{}", std::process::id()));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(io("remove", &fresh))?;
    }
    fs::create_dir(&fresh).map_err(io("create", &fresh))?;
    let filled = fill(&fresh).and_then(|value| {
        sync(&fresh).map_err(io("flush", &fresh))?;
        swap(&fresh, &target, parent, name).map_err(io("move into place", &target))?;
        Ok(value)
    });
    if fresh.exists() {
        // What was there before, or what could not be finished.
        let _ = fs::remove_dir_all(&fresh);
    }
    let _ = sync(parent);
    filled
}

/// Leaves the old content at `fresh`, if there was any.
fn swap(fresh: &Path, target: &Path, parent: &Path, name: &str) -> io::Result<()> {
    if !target.exists() {
        return fs::rename(fresh, target);
    }
    match renameat2(AT_FDCWD, fresh, AT_FDCWD, target, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => Ok(()),
        // File systems without an exchange: two renames, the first one undone when the second fails.
        Err(_) => {
            let old = parent.join(format!(".{name}.old-{}", std::process::id()));
            fs::rename(target, &old)?;
            if let Err(e) = fs::rename(fresh, target) {
                fs::rename(&old, target)?;
                return Err(e);
            }
            fs::remove_dir_all(&old)
        }
    }
}

/// Cleans up behind runs that were killed.
fn recover(parent: &Path, name: &str) {
    let Ok(list) = fs::read_dir(parent) else { return };
    let left: Vec<(PathBuf, bool)> = list
        .flatten()
        .filter_map(|entry| {
            let file_name = entry.file_name().into_string().ok()?;
            let rest = file_name.strip_prefix(&format!(".{name}."))?.to_owned();
            let (kind, pid) = rest.split_once('-')?;
            let pid: u32 = pid.parse().ok()?;
            let alive = Path::new("/proc").join(pid.to_string()).exists();
            (matches!(kind, "new" | "old") && !alive).then(|| (entry.path(), kind == "old"))
        })
        .collect();
    for (path, old) in left {
        if old && !parent.join(name).exists() {
            let _ = fs::rename(&path, parent.join(name));
        } else {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("list")
            .map(|e| e.expect("entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn put(dir: &Path, text: &str) -> Result<(), OutputError> {
        replace(dir, "img", |fresh| {
            fs::write(fresh.join("f"), text).expect("write");
            Ok(())
        })
    }

    #[test]
    fn a_failure_leaves_the_last_good_one_and_nothing_else() {
        let dir = tempfile::tempdir().expect("temp");
        put(dir.path(), "one").expect("first");
        put(dir.path(), "two").expect("second");
        let failed = replace::<()>(dir.path(), "img", |fresh| {
            fs::write(fresh.join("f"), "half").expect("write");
            Err(OutputError::Layout)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(dir.path().join("img/f")).expect("read"), "two");
        assert_eq!(names(dir.path()), ["img"]);
    }

    #[test]
    fn what_a_killed_run_left_is_taken_back_or_swept() {
        let dir = tempfile::tempdir().expect("temp");
        let dead = u32::MAX;
        for kind in ["old", "new"] {
            let left = dir.path().join(format!(".img.{kind}-{dead}"));
            fs::create_dir(&left).expect("create");
            fs::write(left.join("f"), kind).expect("write");
        }
        recover(dir.path(), "img");
        assert_eq!(names(dir.path()), ["img"]);
        assert_eq!(fs::read_to_string(dir.path().join("img/f")).expect("read"), "old");
    }
}
