//! `nodeimg cluster`: a cluster's PKI, permit, seeds and admin kubeconfig, made on the operator's machine, and the
//! commands that change them later.
//!
//! Takes a [`ClusterSpec`], gives [`Made`]: a new folder, written whole or not at all. May touch that folder and the
//! kernel's randomness; `remove-node` and `seed --register` alone talk to the cluster's API. Never overwrites, never
//! prints a secret.

mod add;
mod api;
mod args;
mod authority;
mod cluster_file;
mod disk;
mod error;
mod folder;
pub mod interrupt;
mod kept;
mod keys;
mod kubeconfig;
mod lock;
mod made;
mod network;
mod permit;
mod pki;
mod remove;
mod renew;
mod rules;
mod seed;
mod spec;

pub use add::add;
pub use args::{
    ClusterKubeconfigArgs, ClusterNewArgs, ClusterPermitArgs, ClusterRemoveArgs, ClusterSeedArgs,
};
pub use error::ClusterError;
pub use made::Made;
pub use network::NodeNetwork;
pub use permit::permit;
pub use remove::remove;
pub use renew::renew;
pub use spec::ClusterSpec;

use folder::NewFolder;
use jiff::Timestamp;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::BootstrapToken;
use pki::Pki;
use seed::Given;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the kubeconfig in the cluster's folder.
pub const KUBECONFIG: &str = "admin.kubeconfig";
/// Folder of the seeds in the cluster's folder.
const SEEDS: &str = "seeds";
/// Folder of the CAs in the cluster's folder, by kubeadm's names.
const PKI: &str = "pki";

/// Makes a cluster.
pub fn new(spec: &ClusterSpec) -> Result<Made, ClusterError> {
    let checked = spec.check()?;
    let out = NewFolder::begin(&spec.out)?;
    let uuid = match &spec.uuid {
        Some(uuid) => uuid.clone(),
        None => seed::uuid()?,
    };
    let spec = &ClusterSpec { uuid: Some(uuid.clone()), ..spec.clone() };
    let pki = Pki::make(&spec.name, spec.keys, spec.ca_dir.as_deref(), spec.issued_at)?;
    let mut warnings: Vec<String> = pki.outlives(spec.issued_at, &checked)?.into_iter().collect();
    if spec.of(Role::Lb).next().is_some() {
        warnings.push(
            "there is no image for balancers yet: run one of your own at the address that --lb names".into(),
        );
    }
    let year = spec.issued_at.checked_add(pki::ADMIN_LIFETIME).unwrap_or(Timestamp::MAX);
    let admin = pki.admin(spec.issued_at, year)?;
    let permit = checked.permit_ends.map(|ends| seed::permit(&uuid, ends)).transpose()?;
    let mut tokens: BTreeMap<&str, BootstrapToken> = BTreeMap::new();
    let certificate_key = spec.upload_certs.then(seed::certificate_key).transpose()?;
    let fetching = spec.of(Role::ControlPlane).filter(|_| spec.upload_certs);
    for node in spec.of(Role::Worker).chain(fetching) {
        tokens.insert(&node.name, seed::bootstrap_token(checked.tokens_end)?);
    }
    let all: Vec<_> = tokens.values().cloned().collect();

    for (path, pem) in pki.files() {
        out.write(&Path::new(PKI).join(path), pem.as_bytes())?;
    }
    let mut nodes = Vec::new();
    for node in &spec.nodes {
        let own_token = tokens.get(node.name.as_str());
        let given = Given {
            pki: &pki,
            permit: permit.as_ref(),
            without: &[],
            tokens: &all,
            own_token,
            certificate_key: certificate_key.as_ref(),
            disk: None,
        };
        let documents = seed::documents(spec, &checked, node, &given)?;
        for (path, bytes) in kept::seed_files(Path::new(SEEDS), &node.name, &documents)? {
            out.write(&path, &bytes)?;
        }
        nodes.push(kept::made_node(&spec.out.join(SEEDS), node));
    }
    let server = format!("https://{}:{}", spec.endpoint_name, spec.endpoint_port);
    let text = kubeconfig::render(&spec.name, &server, &pki, &admin);
    out.write(Path::new(KUBECONFIG), text.as_bytes())?;
    out.write(Path::new(cluster_file::NAME), cluster_file::render(spec)?.as_bytes())?;
    out.finish()?;
    Ok(Made {
        name: spec.name.clone(),
        uuid,
        folder: spec.out.clone(),
        server,
        nodes,
        kubeconfig: spec.out.join(KUBECONFIG),
        permit_ends: checked.permit_ends,
        warnings,
    })
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
