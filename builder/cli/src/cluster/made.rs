//! What was made, and what it says about itself. Never a secret.

use jiff::Timestamp;
use nodeimg_contract::image::Role;
use std::fmt;
use std::path::PathBuf;

/// A new cluster, and where its parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The cluster's name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// The folder of everything.
    pub folder: PathBuf,
    /// `https://NAME:PORT`.
    pub server: String,
    /// One seed a node.
    pub nodes: Vec<MadeNode>,
    /// Administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The birth must come before this; none: there is no permit.
    pub permit_ends: Option<Timestamp>,
    /// What the operator should know beforehand.
    pub warnings: Vec<String>,
}

/// One node's seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeNode {
    /// Its name.
    pub name: String,
    /// What it is to be.
    pub role: Role,
    /// Folder with `meta-data`, `user-data`, `network-config`.
    pub seed_folder: PathBuf,
    /// The same as a NoCloud disk.
    pub seed_disk: PathBuf,
}

/// `3 control planes, 2 workers`.
pub fn counted(nodes: &[MadeNode]) -> String {
    let words = [
        (Role::ControlPlane, "control plane"),
        (Role::Etcd, "etcd node"),
        (Role::Worker, "worker"),
        (Role::Lb, "balancer"),
    ];
    let counted =
        words.iter().filter_map(|(role, word)| match nodes.iter().filter(|n| n.role == *role).count() {
            0 => None,
            1 => Some(format!("1 {word}")),
            n => Some(format!("{n} {word}s")),
        });
    counted.collect::<Vec<_>>().join(", ")
}

/// The places of seeds. The first is explained, the others are alike.
pub fn seeds(f: &mut fmt::Formatter<'_>, nodes: &[MadeNode]) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        writeln!(f, "  {}", node.seed_disk.display())?;
        let name = &node.name;
        match i {
            0 => {
                writeln!(
                    f,
                    "      seed of {name}: a disk with the label cidata, to attach at its first boot"
                )?;
                writeln!(f, "  {}/\n      the same as files", node.seed_folder.display())?;
            }
            _ => writeln!(f, "      seed of {name} ({})", node.role)?,
        }
    }
    Ok(())
}

/// A time as people read it.
pub fn until(time: Timestamp) -> impl fmt::Display {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = counted(&self.nodes);
        writeln!(f, "Cluster \"{}\" ({}): {count}, endpoint {}\n", self.name, self.uuid, self.server)?;
        seeds(f, &self.nodes)?;
        writeln!(f, "  {}\n      for kubectl, as administrator", self.kubeconfig.display())?;
        writeln!(f, "  {}/\n      CAs and their keys: keep them safe\n", self.folder.join("pki").display())?;
        writeln!(f, "Seeds hold private keys: hand them over by local media only.")?;
        for warning in &self.warnings {
            writeln!(f, "Note: {warning}.")?;
        }
        match self.permit_ends {
            Some(ends) => write!(f, "The cluster must be born before {}.", until(ends)),
            None => write!(f, "No seed has a permit: these nodes can join a cluster, and form none."),
        }
    }
}
