//! `nodeimg cluster new`: a cluster's PKI, permit, seeds and admin kubeconfig, made on the operator's machine.
//!
//! Takes a [`ClusterSpec`], gives [`Made`]: a new folder, written whole or not at all. May touch that folder alone and
//! the kernel's randomness. Never overwrites, never prints a secret, never talks to a network.

mod args;
mod disk;
mod folder;
mod kubeconfig;
mod pki;
mod seed;
mod spec;

pub use args::ClusterNewArgs;
pub use spec::{ClusterSpec, NodeNetwork};

use folder::NewFolder;
use jiff::Timestamp;
use std::fmt;
use std::path::{Path, PathBuf};

/// A cluster that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is something already.
    #[error(
        "\"{0}\" exists already\nhelp: choose another folder with --out, or remove it if its keys are not needed any more"
    )]
    Exists(PathBuf),
    /// A value that makes no sense.
    #[error("{what} \"{value}\" is not {wanted}\nhelp: {help}")]
    Value {
        /// Which.
        what: &'static str,
        /// As it was given.
        value: String,
        /// What it should be.
        wanted: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// More control planes than this version can form.
    #[error(
        "{0} control planes cannot form a cluster yet\nhelp: give one --control-plane; 3 and 5 come with a later version"
    )]
    NotYet(usize),
    /// A number of control planes that no etcd should have.
    #[error(
        "{0} control planes are an even number\nhelp: give one --control-plane; 3 and 5 come with a later version, an even number never: etcd gains nothing from it"
    )]
    Even(usize),
    /// Writing failed.
    #[error("cannot write \"{path}\"\nhelp: check the folder's permissions and the space on its disk")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A seed's file.
    #[error("cannot read \"{path}\"\nhelp: a seed's documents are UTF-8 texts of at most 1 MiB")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without seed.
    #[error(
        "\"{0}\" holds no seed\nhelp: give a folder with user-data and meta-data, as nodeimg cluster new makes them"
    )]
    NoSeed(PathBuf),
    /// Making keys or certificates failed.
    #[error(
        "cannot make the certificate \"{subject}\": {cause}\nhelp: this is a defect of nodeimg; please report it"
    )]
    Certificate {
        /// Common name.
        subject: String,
        /// Why.
        cause: String,
    },
    /// A document could not be rendered.
    #[error("cannot render \"{document}\": {cause}\nhelp: this is a defect of nodeimg; please report it")]
    Render {
        /// Which.
        document: &'static str,
        /// Why.
        cause: String,
    },
    /// No randomness.
    #[error("the kernel gives no random numbers\nhelp: check that /dev/urandom is there and readable")]
    Random(#[source] std::io::Error),
}

/// What was made, and where.
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
    /// The birth must come before this.
    pub permit_ends: Timestamp,
}

/// One node's seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeNode {
    /// Its name.
    pub name: String,
    /// Folder with `meta-data`, `user-data`, `network-config`.
    pub seed_folder: PathBuf,
    /// The same as a NoCloud disk.
    pub seed_disk: PathBuf,
}

/// Name of the kubeconfig in the cluster's folder.
pub const KUBECONFIG: &str = "admin.kubeconfig";

/// Makes a cluster.
pub fn new(spec: &ClusterSpec) -> Result<Made, ClusterError> {
    let checked = spec.check()?;
    let out = NewFolder::begin(&spec.out)?;
    let uuid = seed::uuid()?;
    let pki = pki::make(spec.issued_at)?;
    let admin = pki.admin(spec.issued_at)?;
    let secrets = seed::Secrets::new(&uuid, checked.permit_ends, pki.for_seed())?;

    for (path, pem, secret) in pki.files() {
        out.write(&Path::new("pki").join(path), pem.as_bytes(), secret)?;
    }
    let mut nodes = Vec::new();
    for node in &spec.control_planes {
        let documents = seed::documents(spec, &checked, node, &secrets)?;
        let seeds = Path::new("seeds");
        for (name, text) in documents.files() {
            out.write(&seeds.join(&node.name).join(name), text.as_bytes(), true)?;
        }
        let image = disk::image(&documents.files()).map_err(|source| out.failed(seeds, source))?;
        let disk = seeds.join(format!("{}.img", node.name));
        out.write(&disk, &image, true)?;
        nodes.push(MadeNode {
            name: node.name.clone(),
            seed_folder: spec.out.join(seeds).join(&node.name),
            seed_disk: spec.out.join(disk),
        });
    }
    let server = format!("https://{}:{}", spec.endpoint_name, spec.endpoint_port);
    let text = kubeconfig::render(&spec.name, &server, &pki, &admin);
    out.write(Path::new(KUBECONFIG), text.as_bytes(), true)?;
    out.finish()?;
    Ok(Made {
        name: spec.name.clone(),
        uuid,
        folder: spec.out.clone(),
        server,
        nodes,
        kubeconfig: spec.out.join(KUBECONFIG),
        permit_ends: checked.permit_ends,
    })
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.nodes.len() {
            1 => "1 control plane".to_owned(),
            n => format!("{n} control planes"),
        };
        writeln!(f, "Cluster \"{}\" ({}): {count}, endpoint {}\n", self.name, self.uuid, self.server)?;
        for node in &self.nodes {
            writeln!(f, "  {}", node.seed_disk.display())?;
            writeln!(
                f,
                "      seed of {}: a disk with the label cidata, to attach at its first boot",
                node.name
            )?;
            writeln!(f, "  {}/", node.seed_folder.display())?;
            writeln!(f, "      the same as files")?;
        }
        writeln!(f, "  {}\n      for kubectl, as administrator", self.kubeconfig.display())?;
        writeln!(f, "  {}/\n      CAs and their keys: keep them safe\n", self.folder.join("pki").display())?;
        writeln!(f, "Seeds hold private keys: hand them over by local media only.")?;
        write!(f, "The cluster must be born before {}.", self.permit_ends.strftime("%Y-%m-%d %H:%M UTC"))
    }
}

/// The NoCloud disk of a seed that lies in a folder (`meta-data`, `user-data`, and `network-config` if there is one).
pub fn seed_disk(folder: &Path) -> Result<Vec<u8>, ClusterError> {
    const LONGEST: u64 = 1 << 20;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ClusterError::Read { path, source }
    };
    let mut documents = Vec::new();
    for name in ["meta-data", "user-data", "network-config"] {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        if path.metadata().map_err(failed(&path))?.len() > LONGEST {
            return Err(failed(&path)(std::io::Error::other("it is larger than 1 MiB")));
        }
        documents.push((name, std::fs::read_to_string(&path).map_err(failed(&path))?));
    }
    if documents.is_empty() {
        return Err(ClusterError::NoSeed(folder.to_owned()));
    }
    let documents: Vec<_> = documents.iter().map(|(name, text)| (*name, text.as_str())).collect();
    disk::image(&documents).map_err(failed(folder))
}

#[cfg(test)]
mod tests;
