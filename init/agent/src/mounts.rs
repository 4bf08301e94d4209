//! Mounting, with errors that name the place.

use nix::mount::{MntFlags, MsFlags};
use std::path::{Path, PathBuf};

/// Something that could not be mounted, moved or unmounted.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" could not be mounted from \"{from}\": {source}", at.display())]
pub struct MountError {
    /// What.
    pub from: String,
    /// Where.
    pub at: PathBuf,
    /// Why.
    #[source]
    pub source: nix::Error,
}

/// Mounts a file system; makes the folder where it can.
pub fn mount(
    from: &str,
    at: impl AsRef<Path>,
    kind: Option<&str>,
    flags: MsFlags,
    options: &str,
) -> Result<(), MountError> {
    let at = at.as_ref();
    // A read-only root has its folders already; where one is missing, mount itself says so.
    let _ = std::fs::create_dir_all(at);
    let data = (!options.is_empty()).then_some(options);
    match nix::mount::mount(Some(from), at, kind, flags, data) {
        Ok(()) => Ok(()),
        Err(source) => Err(MountError { from: from.to_owned(), at: at.to_owned(), source }),
    }
}

/// Whether something is mounted exactly there.
pub fn is_mounted(at: &str) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo")
        .is_ok_and(|t| t.lines().any(|l| l.split(' ').nth(4) == Some(at)))
}

/// Mounts unless something is mounted there already.
pub fn mount_once(from: &str, at: &str, kind: &str, flags: MsFlags, options: &str) -> Result<(), MountError> {
    if is_mounted(at) { Ok(()) } else { mount(from, at, Some(kind), flags, options) }
}

/// The same tree at a second place.
pub fn bind(from: &str, at: &str) -> Result<(), MountError> {
    mount(from, at, None, MsFlags::MS_BIND | MsFlags::MS_REC, "")
}

/// The kernel's file systems that both stages need; those that are mounted stay.
pub fn early() -> Result<(), MountError> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // /proc first: it tells what is mounted.
    if !Path::new("/proc/self").exists() {
        mount("proc", "/proc", Some("proc"), safe, "")?;
    }
    mount_once("sysfs", "/sys", "sysfs", safe, "")?;
    mount_once("devtmpfs", "/dev", "devtmpfs", MsFlags::MS_NOSUID, "mode=0755")?;
    mount_once("tmpfs", "/run", "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755,size=20%")
}

/// Everything mounted below a folder and the folder itself, the last mounted first.
pub fn below(folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let inside = |at: &str| at == folder || at.strip_prefix(folder).is_some_and(|r| r.starts_with('/'));
    text.lines().rev().filter_map(|l| l.split(' ').nth(4)).filter(|at| inside(at)).map(unescape).collect()
}

/// mountinfo writes space, tab, newline and backslash as `\ooo`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match octal.and_then(|d| u8::from_str_radix(d, 8).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Unmounts; with `lazy` also what is in use.
pub fn unmount(at: &str, lazy: bool) -> nix::Result<()> {
    let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    nix::mount::umount2(at, flags | MntFlags::UMOUNT_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_of_mountinfo() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/a\04"), r"/a\04");
    }

    #[test]
    fn proc_is_mounted_here() {
        assert!(is_mounted("/proc") && !is_mounted("/nowhere"));
        assert!(below("/proc").contains(&"/proc".to_owned()));
    }

    proptest! {
        #[test]
        fn any_text_is_unescaped(text in ".{0,60}") {
            let plain = unescape(&text);
            if !text.contains('\\') {
                prop_assert_eq!(plain, text);
            }
        }
    }
}
