//! Images -> the store's entries in a node's root, and the store's identity.
//!
//! Takes images, checks that their documents hold together. Gives a tree whose contents are the images' own; equal files
//! of several images become hard links, so that the sealed root holds them once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use nodeimg_contract::paths::STORE;
use nodeimg_contract::store::{StoreImage, StoreManifest};
use nodeimg_payload::Image;
use nodeimg_tree::{Content, Entry, Kind, Part, RootTree, TreePath};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::bolt::{self, Bucket};
use crate::{Blob, Snapshot, StoreError, StoredImage, meta, snapshotter};

/// Block in which a layer's size is counted, as the snapshotter does when it commits (`fs.DiskUsage`).
const BLOCK: u64 = 4096;

/// The store of these images, every record dated `epoch` (seconds since 1970).
pub fn bake(images: &[Image], epoch: u64) -> Result<(RootTree, StoreManifest), StoreError> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted.dedup_by(|a, b| a.name == b.name && a.manifest == b.manifest);
    if let Some([twice, _]) = sorted.array_windows().find(|[a, b]| a.name == b.name) {
        return Err(StoreError::Twice(twice.name.clone()));
    }

    let mut tree = RootTree::new();
    let mut stored = Vec::new();
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for image in sorted {
        let checked = check(image)?;
        for blob in [checked.manifest, checked.config] {
            let path = store_path(&format!("blobs/sha256/{}", blob.sha256));
            tree.insert(path, Entry::file(blob.bytes, 0o444, Part::Images));
        }
        if !snapshots.iter().any(|snapshot| snapshot.chain_id == checked.chain_id) {
            let number = snapshots.len() as u64 + 1;
            let (inodes, size) = lay(image, number, &mut tree)?;
            snapshots.push(Snapshot { number, chain_id: checked.chain_id.to_owned(), inodes, size });
        }
        stored.push(checked);
    }
    link_equal_files(&mut tree);

    let meta_db = database("meta.db", &meta::database(&stored, &snapshots, epoch))?;
    let metadata_db = database("metadata.db", &snapshotter::database(&snapshots, epoch))?;
    let manifest = StoreManifest {
        identity: identity(&meta_db, &metadata_db),
        images: stored
            .iter()
            .map(|image| StoreImage { name: image.reference.to_owned(), digest: image.manifest.digest() })
            .collect(),
        snapshots: snapshots.iter().map(|snapshot| snapshot.number).collect(),
    };
    let json = serde_json::to_vec_pretty(&manifest).expect("strings and numbers always serialize");
    for (name, bytes) in [("meta.db", meta_db), ("metadata.db", metadata_db), ("store.json", json)] {
        tree.insert(store_path(name), Entry::file(bytes, 0o644, Part::Images));
    }
    Ok((tree, manifest))
}

/// The two databases name every manifest, config and layer by digest, so theirs is the whole store's.
fn identity(meta_db: &[u8], metadata_db: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"nodeimg store 1\n");
    for part in [meta_db, metadata_db] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

fn database(file: &'static str, root: &Bucket) -> Result<Vec<u8>, StoreError> {
    bolt::write(root).map_err(|source| StoreError::Database { file, source })
}

fn store_path(rest: &str) -> TreePath {
    TreePath::parse(&format!("{STORE}/{rest}")).expect("the store's own names are plain")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Follows an image from manifest to layer; containerd would find out only when a pod starts.
fn check(image: &Image) -> Result<StoredImage<'_>, StoreError> {
    let wrong = |what: String| StoreError::Image { image: image.name.clone(), what };
    let unlike = |name, digest| wrong(format!("its {name} is not what the digest {digest} says"));
    let manifest_blob = Blob::check(&image.manifest_digest, &image.manifest)
        .ok_or_else(|| unlike("manifest", &image.manifest_digest))?;
    let config_blob = Blob::check(&image.config_digest, &image.config)
        .ok_or_else(|| unlike("config", &image.config_digest))?;
    let manifest: Manifest = serde_json::from_slice(&image.manifest)
        .map_err(|error| wrong(format!("its manifest cannot be read: {error}")))?;
    let config: Config = serde_json::from_slice(&image.config)
        .map_err(|error| wrong(format!("its config cannot be read: {error}")))?;
    if manifest.config.digest != image.config_digest || manifest.config.size != image.config.len() as u64 {
        return Err(wrong(format!("its manifest names another config, {}", manifest.config.digest)));
    }
    if manifest.layers.len() != 1 || config.rootfs.diff_ids != [image.diff_id.as_str()] {
        let (ours, named) = (&image.diff_id, &config.rootfs.diff_ids);
        return Err(wrong(format!("it must have one layer, {ours}, and names {named:?}")));
    }
    Ok(StoredImage {
        reference: &image.name,
        media_type: manifest.media_type,
        manifest: manifest_blob,
        config: config_blob,
        chain_id: &image.diff_id,
    })
}

/// Lays a layer below `snapshots/N/fs`; gives its inodes and its bytes in whole blocks.
fn lay(image: &Image, number: u64, tree: &mut RootTree) -> Result<(u64, u64), StoreError> {
    let path = |rest: &str| {
        let path = store_path(&format!("snapshots/{number}/fs"));
        path.join(rest).map_err(|source| StoreError::Path { image: image.name.clone(), source })
    };
    let root = image.tree.get(&TreePath::parse("").expect("the root is a path"));
    let root = root.cloned().unwrap_or(Entry::dir(0o755, Part::Images));
    tree.insert(path("")?, Entry { part: Part::Images, ..root });
    let (mut inodes, mut size) = (1, BLOCK);
    for (below, entry) in image.tree.iter().filter(|(below, _)| !below.as_str().is_empty()) {
        let mut entry = Entry { part: Part::Images, ..entry.clone() };
        inodes += 1;
        match &mut entry.kind {
            Kind::Dir => size += BLOCK,
            Kind::File(content) => size += content.size().div_ceil(BLOCK) * BLOCK,
            Kind::Hardlink(target) => {
                inodes -= 1;
                *target = path(target.as_str())?;
            }
            Kind::Symlink(_) | Kind::CharDev(..) => {}
        }
        tree.insert(path(below.as_str())?, entry);
    }
    Ok((inodes, size))
}

/// What makes two regular files the same inode.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Inode {
    content: Identity,
    mode: u32,
    uid: u32,
    gid: u32,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

/// Makes the later of equal files hard links to the first in order of path. Contents are compared by their place in the
/// cache or their bytes; nothing is read.
fn link_equal_files(tree: &mut RootTree) {
    let snapshots = format!("{}/", store_path("snapshots").as_str());
    let linked: BTreeSet<TreePath> = tree
        .iter()
        .filter_map(|(_, entry)| match &entry.kind {
            Kind::Hardlink(target) => Some(target.clone()),
            _ => None,
        })
        .collect();
    let mut first: BTreeMap<Inode, TreePath> = BTreeMap::new();
    let mut links = Vec::new();
    for (path, entry) in tree.iter().filter(|(path, _)| path.as_str().starts_with(&snapshots)) {
        let Kind::File(content) = &entry.kind else { continue };
        let content = match content {
            Content::Bytes(bytes) if bytes.is_empty() => continue,
            Content::Bytes(bytes) => Identity::Bytes(bytes.clone()),
            Content::Path { path, .. } => Identity::File(path.clone()),
        };
        let inode = Inode { content, mode: entry.mode, uid: entry.uid, gid: entry.gid };
        match first.get(&inode) {
            // A link to a link would be one; the target of another link stays a file.
            Some(target) if !linked.contains(path) => links.push((path.clone(), target.clone())),
            Some(_) => {}
            None => {
                first.insert(inode, path.clone());
            }
        }
    }
    for (path, target) in links {
        if let Some(entry) = tree.get_mut(&path) {
            entry.kind = Kind::Hardlink(target);
        }
    }
}
