//! The files that programs read about the network: `hostname`, `hosts`, `resolv.conf`, and the kubelet's `resolv.conf`.
//!
//! Takes texts, writes them below `/run/nodeimg` atomically (a reader sees the old file or the new one, whole).

use nodeimg_contract::paths;
use nodeimg_init_core::resolv::Dns;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts unfinished files.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Where the files lie.
#[derive(Debug, Clone)]
pub struct EtcFiles {
    etc: PathBuf,
    run: PathBuf,
}

/// What the kubelet's `resolvConf` names.
pub const KUBELET_RESOLV_CONF: &str = "kubelet-resolv.conf";

impl EtcFiles {
    /// A node's own places.
    pub fn of_this_node() -> Self {
        Self { etc: paths::RUN_ETC.into(), run: paths::RUN.into() }
    }
    /// Below another folder.
    #[cfg(test)]
    pub fn below(folder: &Path) -> Self {
        Self { etc: folder.join("etc"), run: folder.to_owned() }
    }
    /// `/etc/hosts`.
    pub fn hosts_path(&self) -> PathBuf {
        self.etc.join("hosts")
    }
    /// Writes `/etc/hosts`.
    pub fn hosts(&self, text: &str) -> io::Result<()> {
        write(&self.hosts_path(), text)
    }
    /// Writes `/etc/hostname`. The kernel's host name is set by [`set_kernel_hostname`].
    pub fn hostname(&self, name: &str) -> io::Result<()> {
        write(&self.etc.join("hostname"), &format!("{name}\n"))
    }
    /// Writes both `resolv.conf` files.
    pub fn dns(&self, dns: &Dns) -> io::Result<()> {
        write(&self.run.join(KUBELET_RESOLV_CONF), &dns.kubelet_text())?;
        write(&self.etc.join("resolv.conf"), &dns.node_text())
    }
}

/// Sets the kernel's host name.
pub fn set_kernel_hostname(name: &str) -> io::Result<()> {
    nix::unistd::sethostname(name).map_err(Into::into)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Leases and the boot write at the same time: each has an unfinished file of its own.
    let mine = WRITES.fetch_add(1, Ordering::Relaxed);
    let new = folder.join(format!(".{name}.{mine}.new"));
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole() {
        let folder = std::env::temp_dir().join(format!("nodeimg-etc-{}", std::process::id()));
        let files = EtcFiles::below(&folder);
        files.hostname("cp1").expect("written");
        files.hosts("127.0.0.1 localhost\n").expect("written");
        let dns = Dns::new(["127.0.0.1", "192.0.2.53"].map(|a| a.parse().expect("an address")), []);
        files.dns(&dns).expect("written");
        files.hostname("cp2").expect("written again");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
        assert_eq!(read("etc/hostname"), "cp2\n");
        assert!(read("etc/resolv.conf").contains("127.0.0.1"));
        assert!(!read(KUBELET_RESOLV_CONF).contains("127.0.0.1"));
        assert_eq!(
            std::fs::read_dir(folder.join("etc")).expect("a folder").count(),
            3,
            "nothing is left behind"
        );
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
