//! From the initramfs into the root (util-linux' switch_root(8) describes the steps).

use nix::fcntl::AtFlags;
use nix::mount::MsFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{chdir, chroot};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the largest nodeinit.
const LIMIT: u64 = 256 << 20;
/// The argument that tells nodeinit where it is.
pub const STAGE2: &str = "stage2";

/// Reads the root's nodeinit whole, and thereby verifies each of its blocks.
pub fn read_nodeinit(root: &Path) -> std::io::Result<Vec<u8>> {
    let path = root.join(nodeimg_contract::paths::NODEINIT.trim_start_matches('/'));
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Frees the initramfs, makes `root` the root and executes nodeinit. Returns only when that fails.
///
/// PID 1 runs from memory: a block of the root that fails later must be a fault that somebody can tell, and a page of
/// PID 1 that cannot be read would be a kernel panic.
pub fn enter(root: &str, program: &[u8]) -> Result<Infallible, String> {
    let step = |what: &'static str| move |e: nix::Error| format!("{what} failed: {e}");
    let memory = memfd_create(c"nodeinit", MFdFlags::MFD_CLOEXEC).map_err(step("memfd_create"))?;
    let mut file = File::from(memory);
    file.write_all(program).map_err(|e| format!("nodeinit could not be copied to memory: {e}"))?;
    for mount in ["/dev", "/proc", "/sys", "/run"] {
        let to = format!("{root}{mount}");
        nix::mount::mount(Some(mount), to.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .map_err(|e| format!("{mount} could not be moved to {to}: {e}"))?;
    }
    if let Ok(here) = std::fs::metadata("/") {
        empty(Path::new("/"), here.dev(), 0);
    }
    chdir(root).map_err(step("chdir"))?;
    nix::mount::mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(step("moving the root"))?;
    chroot(".").map_err(step("chroot"))?;
    chdir("/").map_err(step("chdir"))?;
    let arguments = [CString::from(c"nodeinit"), CString::new(STAGE2).unwrap_or_default()];
    let environment = [CString::from(c"PATH=/usr/bin:/usr/sbin"), CString::from(c"TERM=linux")];
    match nix::unistd::execveat(file.as_fd(), c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH) {
        Ok(never) => Ok(never),
        Err(e) => Err(format!("executing nodeinit failed: {e}")),
    }
}

/// Deletes what lies on the initramfs' own file system: its memory is free then.
fn empty(folder: &Path, device: u64, depth: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(facts) = std::fs::symlink_metadata(&path) else { continue };
        if facts.dev() != device {
            continue;
        }
        if facts.is_dir() && depth < 64 {
            empty(&path, device, depth + 1);
            let _ = std::fs::remove_dir(&path);
        } else {
            let _ = std::fs::remove_file(&path);
        }
    }
}
