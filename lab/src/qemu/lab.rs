//! Several virtual machines and their network.
//!
//! Takes a [`QemuLabSpec`]. Gives machines by name, with what [`crate::Lab`] gives as far as it needs nobody inside.
//! Dropping a lab ends its machines.

use super::hub::Hub;
use super::machine::QemuMachine;
use crate::command::finish;
use crate::error::LabError;
use crate::machine::{Answer, Machine};
use crate::said::News;
use crate::spec::DISK_BYTES;
use crate::together::Together;
use nodeimg_qemu::{Accel, QemuProgram};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Limit of one question to an API server; a guest on software CPUs takes its time.
const ASK: Duration = Duration::from_secs(90);

/// A lab of virtual machines.
#[derive(Debug, Clone)]
pub struct QemuLabSpec {
    /// QEMU.
    pub program: QemuProgram,
    /// What runs the guests' instructions.
    pub accel: Accel,
    /// Virtual CPUs of each machine; kubeadm wants two.
    pub cpus: u32,
    /// Memory of each machine in MiB.
    pub memory_mib: u32,
    /// Where labs keep their files, each in a folder of its own; what killed labs have left there is removed.
    pub folder: PathBuf,
    /// The host's address on the machines' network, as far as forwarded ports need one. Neither it nor its neighbour (the
    /// last bit turned) may be a machine's, the network's own or its broadcast.
    pub host_address: Ipv4Addr,
    /// The machines; all are off at first, on one switch.
    pub nodes: Vec<QemuNodeSpec>,
}

/// One virtual machine.
#[derive(Debug, Clone)]
pub struct QemuNodeSpec {
    /// Its name, as in its seed.
    pub name: String,
    /// Folder of its built image: kernel, initrd, command line and root.
    pub image: PathBuf,
    /// Its seed as a disk image (`CLUSTER/seeds/NAME.img`); `None`: it has no seed.
    pub seed_disk: Option<PathBuf>,
    /// Its address, as in its seed.
    pub address: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix: u8,
    /// Bytes of its state disk.
    pub disk_bytes: u64,
}

impl QemuNodeSpec {
    /// A node on a /24 with the usual disk.
    pub fn new(name: &str, image: impl Into<PathBuf>, seed_disk: impl Into<PathBuf>, at: Ipv4Addr) -> Self {
        Self {
            name: name.to_owned(),
            image: image.into(),
            seed_disk: Some(seed_disk.into()),
            address: at,
            prefix: 24,
            disk_bytes: DISK_BYTES,
        }
    }
}

/// What the machines of a lab share.
pub(crate) struct Host {
    pub(crate) program: QemuProgram,
    pub(crate) accel: Accel,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) address: Ipv4Addr,
}

/// A lab of virtual machines.
pub struct QemuLab {
    /// Before what they stand on.
    nodes: Vec<QemuMachine>,
    hub: Arc<Hub>,
    news: News,
    folder: PathBuf,
    /// Says to other labs that this one lives.
    _lock: nix::fcntl::Flock<std::fs::File>,
    /// The switch's sockets: their names must be short.
    _sockets: tempfile::TempDir,
}

impl QemuLab {
    /// Makes it; all machines are off.
    pub fn new(spec: QemuLabSpec) -> Result<Self, LabError> {
        let (_, folder, lock) = crate::namespace::claim(&spec.folder)?;
        let sockets = tempfile::Builder::new().prefix("nodeimg-lab-").tempdir();
        let sockets = sockets.map_err(LabError::kernel("make a folder for", "the lab's switch"))?;
        let hub = Hub::new(spec.nodes.len(), sockets.path());
        let hub = Arc::new(hub.map_err(LabError::kernel("make the switch of", "the lab"))?);
        let host = Arc::new(Host {
            program: spec.program,
            accel: spec.accel,
            cpus: spec.cpus,
            memory_mib: spec.memory_mib,
            address: spec.host_address,
        });
        let news = News::default();
        let make = |(number, node)| {
            let node: &QemuNodeSpec = node;
            let own = folder.join(&node.name);
            QemuMachine::new(number, node, host.clone(), hub.clone(), own, news.clone())
        };
        let nodes = spec.nodes.iter().enumerate().map(make).collect::<Result<_, _>>()?;
        Ok(Self { nodes, hub, news, folder, _lock: lock, _sockets: sockets })
    }

    fn together(&self) -> Together<'_> {
        let machines = self.nodes.iter().map(|n| n as &dyn Machine).collect();
        Together { machines, news: &self.news }
    }

    fn number(&self, name: &str) -> Result<usize, LabError> {
        let found = self.nodes.iter().position(|n| n.name() == name);
        found.ok_or_else(|| LabError::NoNode(name.to_owned()))
    }

    /// A machine by its name.
    ///
    /// # Panics
    /// When the lab has none of that name: a scenario names its own nodes.
    pub fn node(&self, name: &str) -> &QemuMachine {
        let found = self.number(name).ok().and_then(|n| self.nodes.get(n));
        found.unwrap_or_else(|| panic!("{}", LabError::NoNode(name.to_owned())))
    }

    /// All machines.
    pub fn nodes(&self) -> &[QemuMachine] {
        &self.nodes
    }

    /// Powers these on, all at once. Returns when each has said its first word.
    pub fn power_on(&self, names: &[&str]) -> Result<(), LabError> {
        self.together().each(names, |node| node.power_on())
    }

    /// Cuts the power of these, all at once.
    pub fn power_cut(&self, names: &[&str]) -> Result<(), LabError> {
        self.together().each(names, |node| node.power_cut())
    }

    /// Waits until all of these say that they are Ready and steady.
    pub fn until_ready(&self, names: &[&str], limit: Duration) -> Result<(), LabError> {
        self.together().until_ready(names, limit)
    }

    /// Waits for anything; asks again whenever a node says something new, and now and then. At the deadline the error
    /// shows the consoles.
    pub fn until(&self, what: &str, limit: Duration, done: impl FnMut() -> bool) -> Result<(), LabError> {
        self.together().until(what, limit, done)
    }

    /// The last lines of every console.
    pub fn consoles(&self) -> String {
        self.together().consoles()
    }

    /// Nothing passes between the two sides from now on; who is on neither stays with the first.
    pub fn partition(&self, one: &[&str], other: &[&str]) -> Result<(), LabError> {
        for name in one {
            self.number(name)?;
        }
        let other: Vec<usize> = other.iter().map(|n| self.number(n)).collect::<Result<_, _>>()?;
        other.into_iter().for_each(|number| self.hub.side(number, 1));
        Ok(())
    }

    /// All machines are on one switch again.
    pub fn heal(&self) {
        (0..self.nodes.len()).for_each(|number| self.hub.side(number, 0));
    }

    /// The host's kubectl against one node's API server, as the administrator whose kubeconfig is given; standard output.
    pub fn kubectl(
        &self,
        kubectl: &Path,
        kubeconfig: &Path,
        node: &str,
        arguments: &[&str],
    ) -> Result<String, LabError> {
        let port = self.nodes.get(self.number(node)?).map_or(0, QemuMachine::api_port);
        let failed = |complaint: String| LabError::Command {
            node: node.to_owned(),
            command: format!("kubectl {}", arguments.join(" ")),
            complaint,
        };
        let text = std::fs::read_to_string(kubeconfig)
            .map_err(LabError::kernel("read", kubeconfig.display().to_string()))?;
        let name = endpoint(&text).ok_or_else(|| failed("its kubeconfig names no server".to_owned()))?;
        let mut command = Command::new(kubectl);
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--server=https://127.0.0.1:{port}"))
            .arg(format!("--tls-server-name={name}"))
            .arg("--request-timeout=60s")
            .args(arguments)
            // Its cache of an API's resources; nobody's own.
            .env("HOME", &self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(LabError::kernel("start", kubectl.display().to_string()))?;
        match finish(child, ASK).map_err(LabError::kernel("wait for", "kubectl"))? {
            Some(Answer { code: Some(0), stdout, .. }) => Ok(stdout),
            Some(answer) => Err(failed(format!("{:?} {}{}", answer.code, answer.stderr, answer.stdout))),
            None => Err(failed(format!("no end within {} s", ASK.as_secs()))),
        }
    }

    /// The lab's own files: a folder for each node with its console.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for QemuLab {
    fn drop(&mut self) {
        // All die at the same moment; each one's own drop then finds it off.
        let names: Vec<&str> = self.nodes.iter().map(|n| n.name()).collect();
        let _ = self.together().each(&names, |node| node.power_cut());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The name of a kubeconfig's server, for which its certificate is checked.
fn endpoint(kubeconfig: &str) -> Option<&str> {
    let server = kubeconfig.lines().find_map(|l| l.trim_start().strip_prefix("server: https://"))?;
    Some(server.rsplit_once(':').map_or(server, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn the_endpoint_is_the_servers_name() {
        assert_eq!(
            endpoint("clusters:\n- cluster:\n    server: https://api.x.test:6443\n"),
            Some("api.x.test")
        );
        assert_eq!(endpoint("a: b\n"), None);
    }
}
