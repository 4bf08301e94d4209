//! Root tree to EROFS image, dm-verity hash tree and root hash.
//!
//! Takes: a finished [`RootTree`], the `mkfs.erofs` of the tools tree, the lock's time. Gives: [`Sealed`], the only
//! thing that carries a root hash. May touch: the cache's folder, one child process. Never does: the network, root's
//! rights, a mount; it never changes a tree.
//!
//! The same tree, time and `mkfs.erofs` give the same bytes: order, owners and modes come from the tree, every time
//! stamp is the lock's, the file system's UUID, the verity UUID and the salt are derived from the content.

mod erofs;
mod error;
mod fingerprint;
mod tar_stream;
mod verity;

pub use erofs::{COMPRESSION, MkfsErofs};
pub use error::SealError;
pub use tar_stream::{TarError, write_tar};
pub use verity::{HashTree, hash_tree};

use nodeimg_cache::{Cache, Origin};
use nodeimg_contract::verity::{BLOCK, RootHash};
use nodeimg_progress::{Outcome, Progress};
use nodeimg_tree::{Part, RootTree};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Counts up when the layout of the cache entry or the way in which it is made changes.
const ENTRY_VERSION: u32 = 1;
const EROFS_FILE: &str = "root.erofs";
const VERITY_FILE: &str = "root.verity";
const HASH_FILE: &str = "root-hash";

/// A root that can no longer change: EROFS image, hash tree and the hash that decides both.
#[derive(Debug, Clone)]
pub struct Sealed {
    root_hash: RootHash,
    dir: PathBuf,
    erofs_size: u64,
    verity_size: u64,
    parts: BTreeMap<Part, u64>,
}

impl Sealed {
    /// The hash at the top of the tree.
    pub fn root_hash(&self) -> RootHash {
        self.root_hash
    }
    /// The EROFS image; its size is a whole number of [`BLOCK`]s.
    pub fn erofs(&self) -> PathBuf {
        self.dir.join(EROFS_FILE)
    }
    /// dm-verity superblock and hash tree.
    pub fn verity(&self) -> PathBuf {
        self.dir.join(VERITY_FILE)
    }
    /// Bytes of the EROFS image.
    pub fn erofs_size(&self) -> u64 {
        self.erofs_size
    }
    /// Bytes of superblock and hash tree.
    pub fn verity_size(&self) -> u64 {
        self.verity_size
    }
    /// Bytes of regular files before compression, by part.
    pub fn parts(&self) -> &BTreeMap<Part, u64> {
        &self.parts
    }

    /// A finished cache entry, if all of it is there.
    fn load(dir: &Path, parts: BTreeMap<Part, u64>) -> Result<Self, SealError> {
        let broken = |why: &str| SealError::BrokenEntry { path: dir.to_owned(), why: why.to_owned() };
        let size =
            |name: &str| fs::metadata(dir.join(name)).map(|m| m.len()).map_err(|e| broken(&e.to_string()));
        let text = fs::read_to_string(dir.join(HASH_FILE)).map_err(|e| broken(&e.to_string()))?;
        let root_hash = text.trim().parse().map_err(|_| broken("its root hash is no root hash"))?;
        let (erofs_size, verity_size) = (size(EROFS_FILE)?, size(VERITY_FILE)?);
        if erofs_size == 0 || erofs_size % BLOCK as u64 != 0 || verity_size != verity::stored_size(erofs_size)
        {
            return Err(broken("its files do not have the sizes that belong together"));
        }
        Ok(Self { root_hash, dir: dir.to_owned(), erofs_size, verity_size, parts })
    }
}

/// Seals `tree`. `epoch` (seconds since 1970) becomes every time stamp. An unchanged tree comes from the cache.
///
/// `mkfs` is the tools tree's program; it is started at most once.
pub fn seal(
    tree: &RootTree,
    mkfs: MkfsErofs,
    epoch: u64,
    cache: &Cache,
    progress: &Progress,
) -> Result<Sealed, SealError> {
    let step = progress.step("seal");
    let quick = fingerprint::quick(tree, cache.root())?;
    let key = nodeimg_cache::digest_text(&format!(
        "seal {ENTRY_VERSION}\n{quick}\n{epoch}\n{}\n{}",
        mkfs.identity(),
        COMPRESSION.join(" "),
    ));
    let (dir, origin) = cache.entry("seal", &key, |fresh| -> Result<(), SealError> {
        make_entry(tree, mkfs, epoch, fresh, &step)
    })?;
    let sealed = Sealed::load(&dir, parts(tree))?;
    step.finish(if origin == Origin::Cached { Outcome::Cached } else { Outcome::Built });
    Ok(sealed)
}

fn make_entry(
    tree: &RootTree,
    mkfs: MkfsErofs,
    epoch: u64,
    fresh: &Path,
    step: &nodeimg_progress::Step,
) -> Result<(), SealError> {
    let io = |action, path: PathBuf| move |source| SealError::Io { action, path, source };
    fs::create_dir(fresh).map_err(io("create", fresh.to_owned()))?;
    step.set_total(tree.iter().map(|(_, e)| file_size(e)).sum());
    let content = fingerprint::content(tree)?;
    let image = fresh.join(EROFS_FILE);
    mkfs.run(tree, &image, fingerprint::derive(&content, "erofs uuid"), epoch, step)?;
    step.note("hash tree");
    let data = fs::File::open(&image).map_err(io("open", image.clone()))?;
    let hashes = hash_tree(&data, fingerprint::derive(&content, "verity salt"), fingerprint::uuid(&content))
        .map_err(io("read", image.clone()))?;
    let verity = fresh.join(VERITY_FILE);
    fs::write(&verity, &hashes.bytes).map_err(io("write", verity.clone()))?;
    let text = fresh.join(HASH_FILE);
    fs::write(&text, format!("{}\n", hashes.root_hash)).map_err(io("write", text.clone()))?;
    for path in [&image, &verity, &text] {
        fs::File::open(path).and_then(|f| f.sync_data()).map_err(io("flush", path.clone()))?;
    }
    Ok(())
}

fn file_size(entry: &nodeimg_tree::Entry) -> u64 {
    match &entry.kind {
        nodeimg_tree::Kind::File(content) => content.size(),
        _ => 0,
    }
}

fn parts(tree: &RootTree) -> BTreeMap<Part, u64> {
    let mut parts = BTreeMap::new();
    for (_, entry) in tree.iter() {
        *parts.entry(entry.part).or_default() += file_size(entry);
    }
    parts
}
