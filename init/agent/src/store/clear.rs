//! Emptying a folder that containers had a say in.
//!
//! Takes a folder, leaves it empty. What lies below may be as deep and as wide as a container liked to make it, and may
//! have something mounted on it: so no recursion, no growing list of open folders, no following of links, and no way
//! into a mount. Every folder is first renamed into one trash folder, and emptied there; the kernel refuses to rename or
//! unlink what is mounted on (EBUSY), which ends the work with an error before anything behind the mount is seen.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{StoreError, failed};

/// Stands in the emptied folder while its old content goes.
const TRASH: &CStr = c".nodeimg-old";
/// Names read from a folder at a time.
const BATCH: usize = 1024;
const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes everything in `folder`. Broken off and called again, it goes on.
pub(super) fn clear(folder: &Path) -> Result<(), StoreError> {
    empty(folder).map_err(|errno| failed("empty", folder)(errno.into()))
}

fn empty(folder: &Path) -> nix::Result<()> {
    let top = Dir::open(folder, FOLDER, Mode::empty())?;
    match mkdirat(&top, TRASH, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error),
    }
    let mut trash = Trash { dir: Dir::openat(&top, TRASH, FOLDER, Mode::empty())?, next: 0 };
    trash.take_from(&top, Some(TRASH))?;
    loop {
        let names = names(&trash.dir, None, BATCH)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            trash.remove(&name)?;
        }
    }
    unlinkat(&top, TRASH, UnlinkatFlags::RemoveDir)
}

struct Trash {
    dir: Dir,
    next: u64,
}

impl Trash {
    /// Unlinks what is in `from`, and moves its folders here.
    fn take_from(&mut self, from: &Dir, but: Option<&CStr>) -> nix::Result<()> {
        loop {
            let names = names(from, but, BATCH)?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                if is_folder(&fstatat(from, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?) {
                    self.take_folder(from, &name)?;
                } else {
                    unlinkat(from, name.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
                }
            }
        }
    }

    fn take_folder(&mut self, from: &Dir, name: &CStr) -> nix::Result<()> {
        loop {
            let here = CString::new(self.next.to_string()).map_err(|_| Errno::EINVAL)?;
            self.next += 1;
            match renameat(from, name, &self.dir, here.as_c_str()) {
                // Left by a run that was broken off.
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => continue,
                done => return done,
            }
        }
    }

    /// Removes what lies in the trash under this name; its folders come to lie beside it first.
    fn remove(&mut self, name: &CStr) -> nix::Result<()> {
        match Dir::openat(&self.dir, name, FOLDER, Mode::empty()) {
            Ok(inner) => {
                self.take_from(&inner, None)?;
                unlinkat(&self.dir, name, UnlinkatFlags::RemoveDir)
            }
            Err(Errno::ENOTDIR | Errno::ELOOP) => unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir),
            Err(error) => Err(error),
        }
    }
}

fn is_folder(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}

/// Up to `most` names in a folder, read from its start.
fn names(folder: &Dir, but: Option<&CStr>, most: usize) -> nix::Result<Vec<CString>> {
    let mut again = Dir::openat(folder.as_fd(), c".", FOLDER, Mode::empty())?;
    let mut names = Vec::new();
    for entry in again.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." && Some(name) != but {
            names.push(name.to_owned());
            if names.len() == most {
                break;
            }
        }
    }
    Ok(names)
}
