//! The folders of the state partition, their version, and the places of `/etc` that lie on it.

use crate::mounts;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::partition::STATE_LAYOUT;
use nodeimg_contract::paths;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

/// Where the state partition is mounted.
pub const VAR: &str = "/var";
const LAYOUT: &str = "/var/lib/nodeimg/layout";
const WIPES: &str = "/var/lib/nodeimg/wipes";
/// Folders and their modes, parents first.
const FOLDERS: [(&str, u32); 17] = [
    ("cache", 0o755),
    ("lib", 0o755),
    ("lib/cni", 0o755),
    ("lib/containerd", 0o711),
    ("lib/etcd", 0o700),
    ("lib/kubelet", 0o700),
    ("lib/misc", 0o755),
    ("lib/nodeimg", 0o700),
    ("lib/nodeimg/etc", 0o755),
    ("lib/nodeimg/etc/kubernetes", 0o755),
    ("lib/nodeimg/etc/cni", 0o755),
    ("lib/nodeimg/etc/cni/net.d", 0o755),
    ("log", 0o755),
    ("log/nodeimg", 0o750),
    ("log/pods", 0o755),
    ("spool", 0o755),
    ("tmp", 0o1777),
];

/// Refuses a newer layout; makes what is missing; binds the places of `/etc`.
pub fn check_and_make() -> Result<(), Fault> {
    let failed = |at: &str, e: io::Error| Fault {
        code: Code::DiskFailed,
        object: at.to_owned(),
        cause: e.to_string(),
        help: "check the disk; trying goes on".to_owned(),
    };
    if let Some(version) = version().map_err(|e| failed(LAYOUT, e))?
        && version > STATE_LAYOUT
    {
        return Err(Fault {
            code: Code::DiskLayout,
            object: LAYOUT.to_owned(),
            cause: format!("the layout is version {version}, this image knows {STATE_LAYOUT}"),
            help: "boot the newer image again; nothing was changed".to_owned(),
        });
    }
    make(Path::new(VAR)).map_err(|e| failed(VAR, e))?;
    write_synced(LAYOUT, &format!("{STATE_LAYOUT}\n")).map_err(|e| failed(LAYOUT, e))?;
    for name in paths::STATE_ETC_DIRS {
        let (from, to) = (format!("{}/etc/{name}", paths::STATE), format!("/etc/{name}"));
        if !mounts::is_mounted(&to) {
            mounts::bind(&from, &to).map_err(|e| failed(&to, e.source.into()))?;
        }
    }
    Ok(())
}

fn make(var: &Path) -> io::Result<()> {
    for (name, mode) in FOLDERS {
        let folder = var.join(name);
        match std::fs::DirBuilder::new().mode(mode).create(&folder) {
            // The mode of a new folder passes through the umask.
            Ok(()) => std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    for (link, to) in [("run", "/run"), ("lock", "/run/lock")] {
        match symlink(to, var.join(link)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn version() -> io::Result<Option<u32>> {
    match std::fs::read_to_string(LAYOUT) {
        // An unreadable version is newer than any: only a whole one is ever written.
        Ok(text) => Ok(Some(text.trim().parse().unwrap_or(u32::MAX))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The wipe words that this disk has seen.
pub fn used_wipe_words() -> Vec<String> {
    let text = std::fs::read_to_string(WIPES).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Remembers them.
pub fn record_wipe_words(words: &[String]) -> io::Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    write_synced(WIPES, &(words.join("\n") + "\n"))
}

/// Replaces a file of ours whole and synced, readable by root alone.
pub fn write_synced(path: &str, text: &str) -> io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let new = format!("{path}.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match Path::new(path).parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_once_with_their_modes() {
        let dir = tempfile::tempdir().expect("a folder");
        make(dir.path()).expect("made");
        let mode = |name: &str| {
            std::fs::metadata(dir.path().join(name))
                .map(|m| m.permissions().mode() & 0o7777)
                .expect("a folder")
        };
        assert_eq!((mode("lib/etcd"), mode("tmp"), mode("lib/nodeimg")), (0o700, 0o1777, 0o700));
        assert!(dir.path().join("run").is_symlink());
        make(dir.path()).expect("made again");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("layout");
        let path = path.to_str().expect("text");
        write_synced(path, "1\n").expect("written");
        write_synced(path, "2\n").expect("written");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "2\n");
        assert_eq!(std::fs::metadata(path).expect("facts").permissions().mode() & 0o777, 0o600);
    }
}
