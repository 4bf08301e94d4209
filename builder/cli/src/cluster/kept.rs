//! A cluster's folder, opened for a change.
//!
//! `cluster.toml` is the truth about which nodes there are: it is replaced last, in one rename, so that a command that
//! is stopped half-way has changed nothing that counts. What a new seed replaces is kept below `replaced/`.

use super::api::token_secret;
use super::folder::NewFolder;
use super::made::MadeNode;
use super::pki::Pki;
use super::seed::SeedDocuments;
use super::spec::{ClusterSpec, NodeWish};
use super::{ClusterError, PKI, SEEDS, cluster_file, disk, lock};
use jiff::Timestamp;
use nodeimg_contract::seed::{BootstrapToken, UserData};
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Folder of the tokens that the cluster must be told.
const TOKENS: &str = "tokens";
/// Seeds that were replaced, by time.
const REPLACED: &str = "replaced";

/// An opened folder.
pub struct Kept {
    folder: PathBuf,
    /// Two commands that change one folder at once would each lose what the other did.
    _alone: fs::File,
    /// What its cluster.toml says; `out` is the folder.
    pub spec: ClusterSpec,
}

impl Kept {
    /// Waits until no other command changes the folder, and reads `cluster.toml`.
    pub fn open(folder: &Path) -> Result<Self, ClusterError> {
        let path = folder.join(cluster_file::NAME);
        if !path.is_file() {
            return Err(ClusterError::NoCluster(folder.to_owned()));
        }
        let alone = lock::folder(folder)?;
        let text =
            fs::read_to_string(&path).map_err(|source| ClusterError::Read { path: path.clone(), source })?;
        let spec = cluster_file::parse(&path, &text, folder.to_owned())?;
        Ok(Self { folder: folder.to_owned(), _alone: alone, spec })
    }

    /// The CAs.
    pub fn pki(&self) -> Result<Pki, ClusterError> {
        Pki::open(&self.folder.join(PKI), self.spec.keys, self.spec.issued_at)
    }

    /// A node by name.
    pub fn node(&self, name: &str, help: &'static str) -> Result<&NodeWish, ClusterError> {
        self.spec.nodes.iter().find(|n| n.name == name).ok_or_else(|| ClusterError::NoNode {
            name: name.to_owned(),
            has: self.spec.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", "),
            help,
        })
    }

    /// A node's user-data as it lies there; none without one.
    pub fn user_data(&self, node: &str) -> Result<Option<UserData>, ClusterError> {
        let path = self.folder.join(SEEDS).join(node).join("user-data");
        if !path.is_file() {
            return Ok(None);
        }
        let failed = |source| ClusterError::Read { path: path.clone(), source };
        let text = fs::read_to_string(&path).map_err(failed)?;
        let parsed = serde_saphyr::from_str(&text);
        // The parser's own words could hold a piece of a key.
        parsed
            .map(Some)
            .map_err(|_| failed(std::io::Error::other("it is no longer a seed that nodeimg wrote")))
    }

    /// A node's network-config as it lies there.
    pub fn network_config(&self, node: &NodeWish) -> String {
        let path = self.folder.join(SEEDS).join(&node.name).join("network-config");
        fs::read_to_string(path).unwrap_or_else(|_| self.spec.network_of(node).document(node.address))
    }

    /// Puts seeds in their places, all of them in one step; those that lay there move to `replaced/TIME/`.
    pub fn write_seeds(&self, seeds: &[(&NodeWish, SeedDocuments)]) -> Result<Vec<MadeNode>, ClusterError> {
        let place = self.folder.join(SEEDS);
        let making = NewFolder::beside(&place)?;
        let new: Vec<_> = seeds.iter().map(|(node, _)| node.name.as_str()).collect();
        making.copy_from(&place, |name| !new.contains(&name.strip_suffix(".img").unwrap_or(name)))?;
        for (node, documents) in seeds {
            for (path, bytes) in seed_files(Path::new(""), &node.name, documents)? {
                making.write(&path, &bytes)?;
            }
        }
        let old = making.exchange()?;
        let kept = self.replaced()?;
        for name in new.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.img")]) {
            move_into(&old.path().join(&name), &kept)?;
        }
        remove_if_empty(&kept);
        Ok(seeds.iter().map(|(node, _)| made_node(&place, node)).collect())
    }

    /// Moves a node's seed to `replaced/TIME/`.
    pub fn retire_seed(&self, name: &str) -> Result<(), ClusterError> {
        let kept = self.replaced()?;
        for path in
            [Path::new(SEEDS).join(name), Path::new(SEEDS).join(format!("{name}.img")), token_file(name)]
        {
            move_into(&self.folder.join(path), &kept)?;
        }
        remove_if_empty(&kept);
        Ok(())
    }

    /// Writes the file with which the cluster is told a node's token.
    pub fn write_token(&self, node: &str, token: &BootstrapToken) -> Result<PathBuf, ClusterError> {
        let text = serde_json::to_string_pretty(&token_secret(node, token)?)
            .map_err(|e| ClusterError::Render { document: "token", cause: e.to_string() })?;
        self.write(&token_file(node), (text + "\n").as_bytes())
    }

    /// Whether such a file lies there.
    pub fn has_token(&self, node: &str) -> bool {
        self.folder.join(token_file(node)).is_file()
    }

    /// Removes that file: the cluster knows another token.
    pub fn retire_token(&self, node: &str) -> Result<(), ClusterError> {
        let path = self.folder.join(token_file(node));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ClusterError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Moves a file of the folder to `replaced/TIME/`; gives its place there, if there was one.
    pub fn set_aside(&self, file: &str) -> Result<Option<PathBuf>, ClusterError> {
        if !self.folder.join(file).exists() {
            return Ok(None);
        }
        let kept = self.replaced()?;
        move_into(&self.folder.join(file), &kept)?;
        Ok(Some(kept.join(file)))
    }

    /// Writes one file of mode 0600 beside its place and renames it.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf, ClusterError> {
        let path = self.folder.join(path);
        let failed = |source| ClusterError::Write { path: path.clone(), source };
        let dir = path.parent().unwrap_or(&self.folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        // A temporary file has mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(path)
    }

    /// Replaces `cluster.toml` by what `self.spec` says.
    pub fn save(&self) -> Result<(), ClusterError> {
        let text = cluster_file::render(&self.spec)?;
        self.write(Path::new(cluster_file::NAME), text.as_bytes()).map(|_| ())
    }

    fn replaced(&self) -> Result<PathBuf, ClusterError> {
        let mut number = 0;
        loop {
            let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            let name = if number == 0 { time } else { format!("{time}-{number}") };
            let path = self.folder.join(REPLACED).join(name);
            let failed = |source| ClusterError::Write { path: path.clone(), source };
            let parent = self.folder.join(REPLACED);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(path),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(e) => return Err(failed(e)),
            }
        }
    }
}

fn token_file(node: &str) -> PathBuf {
    Path::new(TOKENS).join(format!("{node}.json"))
}

/// The files of one node's seed: its documents, and the same as a disk.
pub fn seed_files(
    below: &Path,
    name: &str,
    documents: &SeedDocuments,
) -> Result<Vec<(PathBuf, Vec<u8>)>, ClusterError> {
    let image = disk::image(&documents.files())
        .map_err(|e| ClusterError::Render { document: "seed disk", cause: e.to_string() })?;
    let files = documents.files().into_iter();
    let mut all: Vec<_> =
        files.map(|(file, text)| (below.join(name).join(file), text.as_bytes().to_vec())).collect();
    all.push((below.join(format!("{name}.img")), image));
    Ok(all)
}

/// Where a node's seed lies.
pub fn made_node(seeds: &Path, node: &NodeWish) -> MadeNode {
    MadeNode {
        name: node.name.clone(),
        role: node.role,
        seed_folder: seeds.join(&node.name),
        seed_disk: seeds.join(format!("{}.img", node.name)),
    }
}

fn move_into(path: &Path, folder: &Path) -> Result<(), ClusterError> {
    let Some(name) = path.file_name().filter(|_| path.symlink_metadata().is_ok()) else { return Ok(()) };
    let target = folder.join(name);
    fs::rename(path, &target).map_err(|source| ClusterError::Write { path: target, source })
}

fn remove_if_empty(folder: &Path) {
    // Fails on a folder that holds something: that is the question.
    let _ = fs::remove_dir(folder);
    if let Some(parent) = folder.parent() {
        let _ = fs::remove_dir(parent);
    }
}
