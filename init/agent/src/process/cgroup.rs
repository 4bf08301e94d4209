//! Leaf cgroups for nodeinit and its services.
//!
//! cgroup v2 lets a group have processes or controllers for children, not both ("no internal processes",
//! Documentation/admin-guide/cgroup-v2.rst); so nobody stays in a group that has children.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cgroup v2 is mounted.
pub const MOUNT: &str = "/sys/fs/cgroup";
/// All leaves of ours lie below.
const OURS: &str = "/sys/fs/cgroup/nodeimg";

/// Makes the leaf for one service and returns its folder; none where cgroup v2 is not mounted.
pub fn leaf(name: &str) -> Option<PathBuf> {
    if !Path::new(MOUNT).join("cgroup.controllers").exists() {
        return None;
    }
    let folder = Path::new(OURS).join(name);
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

/// Makes the command's process enter the leaf before it executes, so that none of its children starts elsewhere.
pub fn enter(command: &mut Command, leaf: &Path) {
    let Ok(procs) = CString::new(leaf.join("cgroup.procs").into_os_string().into_encoded_bytes()) else {
        return;
    };
    // SAFETY: the closure runs between fork and exec and calls open, write and close alone, which are
    // async-signal-safe; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let fd = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if fd >= 0 {
                libc::write(fd, b"0".as_ptr().cast(), 1);
                libc::close(fd);
            }
            Ok(())
        });
    }
}
