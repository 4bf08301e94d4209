//! A node's folder on this machine: its seed, its state disk, and the kubeconfig that reaches it.
//!
//! Takes `--seed` and `--state`, gives paths. Writes below the node's folder only; a seed or disk that is there is kept,
//! so that the same folder boots the same node again.

use crate::args::RunArgs;
use crate::cluster::{self, ClusterSpec};
use crate::failure::Failure;
use nodeimg_contract::image::ImageManifest;
use nodeimg_contract::seed::ControlPlane;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The address that QEMU's user network gives its guest.
const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15));
/// Names of the throw-away cluster.
const CLUSTER: &str = "lab";
const NODE: &str = "cp1";
const ENDPOINT: &str = "api.lab.nodeimg.invalid";

/// The folder.
pub struct NodeFolder {
    path: PathBuf,
    /// Where the cluster's admin kubeconfig lies, when it is known.
    admin: Option<PathBuf>,
    /// Removes a temporary folder at the end.
    _temporary: Option<tempfile::TempDir>,
}

impl NodeFolder {
    /// Makes what is missing.
    pub fn prepare(args: &RunArgs, image: &ImageManifest) -> Result<Self, Failure> {
        let (path, temporary) = match &args.vm.state {
            Some(dir) => {
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true).mode(0o700).create(dir).map_err(|e| {
                    Failure::from(e).help(format!("--state: \"{}\" must be a folder", dir.display()))
                })?;
                (std::path::absolute(dir)?, None)
            }
            None => {
                let dir = tempfile::Builder::new().prefix("nodeimg-run-").tempdir()?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let mut node = Self { path, admin: None, _temporary: temporary };
        node.seed(args, image)?;
        if !node.state_disk().exists() {
            nodeimg_qemu::create_state_disk(&node.state_disk(), u64::from(args.vm.disk) << 30)?;
        }
        Ok(node)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The NoCloud disk.
    pub fn seed_disk(&self) -> PathBuf {
        self.path.join("seed.img")
    }
    /// The state disk.
    pub fn state_disk(&self) -> PathBuf {
        self.path.join("state.img")
    }

    fn seed(&mut self, args: &RunArgs, image: &ImageManifest) -> Result<(), Failure> {
        let throw_away = self.path.join("cluster");
        if let Some(seed) = &args.vm.seed {
            self.admin = admin_near(seed);
            let bytes = if seed.is_dir() {
                cluster::seed_disk(seed)?
            } else {
                fs::read(seed).map_err(|e| {
                    Failure::from(e)
                        .help(format!("--seed: \"{}\" must be a folder or a disk image", seed.display()))
                })?
            };
            return write_private(&self.seed_disk(), &bytes);
        }
        if !self.seed_disk().exists() {
            if image.root.role != nodeimg_contract::image::Role::ControlPlane {
                return Err(Failure::new(
                    format!(
                        "a throw-away cluster has one control plane; this image is for role \"{}\"",
                        image.root.role
                    ),
                    "give its seed with --seed DIR",
                ));
            }
            if !throw_away.exists() {
                let node = ControlPlane { name: NODE.to_owned(), address: GUEST };
                let mut spec = ClusterSpec::with_defaults(CLUSTER, throw_away.clone(), vec![node], ENDPOINT);
                spec.schedule_on_control_planes = true;
                cluster::new(&spec)?;
            }
            let bytes = fs::read(throw_away.join(format!("seeds/{NODE}.img")))?;
            write_private(&self.seed_disk(), &bytes)?;
        }
        self.admin = Some(throw_away.join(cluster::KUBECONFIG)).filter(|p| p.is_file());
        Ok(())
    }

    /// Writes a kubeconfig that reaches the API server through a port of this machine's loopback; none when the
    /// cluster's own is not known.
    pub fn host_kubeconfig(&self, port: u16) -> Result<Option<PathBuf>, Failure> {
        let Some(admin) = &self.admin else { return Ok(None) };
        let text = fs::read_to_string(admin)?;
        let Some(text) = through_loopback(&text, port) else {
            return Err(Failure::new(
                format!("\"{}\" names no server", admin.display()),
                "make the cluster's folder anew with nodeimg cluster new",
            ));
        };
        let path = self.path.join("kubeconfig");
        write_private(&path, text.as_bytes())?;
        Ok(Some(path))
    }
}

/// The same kubeconfig with `server: https://127.0.0.1:PORT`; the certificate is still checked for the endpoint's name.
fn through_loopback(kubeconfig: &str, port: u16) -> Option<String> {
    let line = kubeconfig.lines().find(|l| l.trim_start().starts_with("server: https://"))?;
    let indent = &line[..line.len() - line.trim_start().len()];
    let host = line.trim_start().strip_prefix("server: https://")?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let new = format!("{indent}server: https://127.0.0.1:{port}\n{indent}tls-server-name: {name}");
    Some(kubeconfig.replacen(line, &new, 1))
}

/// The admin kubeconfig of the cluster folder that a seed (`CLUSTER/seeds/NODE` or `CLUSTER/seeds/NODE.img`) lies in.
fn admin_near(seed: &Path) -> Option<PathBuf> {
    let seed = std::path::absolute(seed).ok()?;
    seed.ancestors().skip(1).take(2).map(|dir| dir.join(cluster::KUBECONFIG)).find(|p| p.is_file())
}

/// A file that only its owner reads; it appears whole.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(&fresh, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_checked_for_the_name_though_the_way_is_loopback() {
        let text = "clusters:\n- cluster:\n    server: https://api.x.test:6443\n  name: x\n";
        let new = through_loopback(text, 4711).expect("a server");
        assert!(
            new.contains("    server: https://127.0.0.1:4711\n    tls-server-name: api.x.test\n"),
            "{new}"
        );
        assert_eq!(through_loopback("a: b\n", 1), None);
    }
}
