//! Mounts, cgroups and identity: what everything else stands on.

use super::image_fault;
use crate::machine;
use crate::mounts::{self, MountError, mount_once};
use crate::report::Reporter;
use nix::mount::MsFlags;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::machine::Cgroups;
use nodeimg_contract::paths;
use std::io::Read;
use std::path::Path;

const CGROUPS: &str = "/sys/fs/cgroup";
const OURS: &str = "/sys/fs/cgroup/nodeimg";
/// Controllers without which the kubelet does not run pods.
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
const KEPT_MACHINE_ID: &str = "/var/lib/nodeimg/machine-id";

/// Something without which there is no stage 2.
#[derive(Debug, thiserror::Error)]
pub enum EarlyError {
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The kernel lacks a controller.
    #[error("the kernel has no cgroup controller \"{0}\"")]
    Controller(&'static str),
    /// A file.
    #[error("\"{path}\" could not be written: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl EarlyError {
    /// As a person sees it.
    pub fn fault(&self) -> Fault {
        let object = match self {
            EarlyError::Mount(e) => e.at.display().to_string(),
            EarlyError::Controller(_) => CGROUPS.to_owned(),
            EarlyError::File { path, .. } => path.clone(),
        };
        image_fault(&object, &self.to_string())
    }
}

/// Everything that is mounted before a disk is; `/` and what is mounted later is shared, as the kubelet wants it.
pub fn mount_all() -> Result<(), EarlyError> {
    mounts::early()?;
    let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mounts::mount("none", "/", None, shared, "")?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let no_device = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_once("cgroup2", CGROUPS, "cgroup2", safe, "nsdelegate,memory_recursiveprot")?;
    mount_once("tmpfs", "/tmp", "tmpfs", no_device, "mode=1777,size=25%")?;
    mount_once("tmpfs", "/dev/shm", "tmpfs", no_device, "mode=1777")?;
    let pts = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_once("devpts", "/dev/pts", "devpts", pts, "gid=5,mode=0620,ptmxmode=0666")?;
    // A kernel without one of these still makes a node.
    let _ = mount_once("mqueue", "/dev/mqueue", "mqueue", safe, "");
    let _ = mount_once("bpf", "/sys/fs/bpf", "bpf", safe, "mode=0700");
    let _ = mount_once("securityfs", "/sys/kernel/security", "securityfs", safe, "");
    let _ = mount_once("hugetlbfs", "/dev/hugepages", "hugetlbfs", no_device, "");
    for folder in [paths::RUN, paths::RUN_ETC, "/run/nodeimg/log", "/run/lock", "/run/udev"] {
        std::fs::create_dir_all(folder)
            .map_err(|source| EarlyError::File { path: folder.to_owned(), source })?;
    }
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
        ("core", "/proc/kcore"),
    ] {
        let _ = std::os::unix::fs::symlink(to, Path::new("/dev").join(link));
    }
    Ok(())
}

/// Puts nodeinit into a leaf and gives the controllers to the root's children.
pub fn cgroups() -> Result<(), EarlyError> {
    // Groups of v1 may have processes and children both.
    if machine::namespace().is_some_and(|n| n.cgroups == Cgroups::V1) {
        return Ok(());
    }
    let write = |path: String, text: &str| {
        std::fs::write(&path, text).map_err(|source| EarlyError::File { path, source })
    };
    let leaf = format!("{OURS}/init");
    std::fs::create_dir_all(&leaf).map_err(|source| EarlyError::File { path: leaf.clone(), source })?;
    write(format!("{leaf}/cgroup.procs"), "1")?;
    let all = std::fs::read_to_string(format!("{CGROUPS}/cgroup.controllers")).unwrap_or_default();
    for needed in NEEDED {
        if !all.split_whitespace().any(|c| c == needed) {
            return Err(EarlyError::Controller(needed));
        }
    }
    for controller in all.split_whitespace() {
        let on = format!("+{controller}");
        let enabled = write(format!("{CGROUPS}/cgroup.subtree_control"), &on);
        if NEEDED.contains(&controller) {
            enabled?;
        }
        // Accounting of our own services; they are not limited.
        let _ = write(format!("{OURS}/cgroup.subtree_control"), &on);
    }
    Ok(())
}

/// Files of `/etc` that every program expects; the seed fills them later.
pub fn identity() -> Result<(), EarlyError> {
    let write = |name: &str, text: &str| {
        let path = format!("{}/{name}", paths::RUN_ETC);
        std::fs::write(&path, text).map_err(|source| EarlyError::File { path, source })
    };
    write("hostname", "localhost\n")?;
    write("hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")?;
    write("resolv.conf", "")?;
    let mut id = [0u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut id))
        .map_err(|source| EarlyError::File { path: "/dev/urandom".to_owned(), source })?;
    // machine-id(5): a random UUID of version 4, as 32 hexadecimal digits.
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    write("machine-id", &format!("{}\n", hex::encode(id)))
}

/// The machine-id of the first boot becomes this boot's; the first boot keeps its own.
pub fn keep_machine_id(reporter: &Reporter) {
    let current = format!("{}/machine-id", paths::RUN_ETC);
    let kept = std::fs::read_to_string(KEPT_MACHINE_ID).ok().filter(|t| is_machine_id(t.trim()));
    let result = match kept {
        Some(id) => std::fs::write(&current, id),
        None => std::fs::copy(&current, KEPT_MACHINE_ID).map(drop),
    };
    if let Err(e) = result {
        reporter.warn(format!("machine-id could not be kept: {e}; this boot has one of its own"));
    }
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) && text.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_ids_are_told_from_other_text() {
        assert!(is_machine_id("0123456789abcdef0123456789abcdef"));
        assert!(!is_machine_id(&"0".repeat(32)) && !is_machine_id("uninitialized") && !is_machine_id(""));
    }
}
