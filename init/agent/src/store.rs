//! The baked image store, put to work at every boot.
//!
//! Takes the store in the sealed root (`nodeimg_contract::store` says how it lies there) and containerd's root on the
//! state partition. Gives a containerd root that lists every baked image the moment containerd is up: databases and small
//! blobs are copied once for each identity of the store, the unpacked layers are bind-mounted read-only at each boot.
//! May touch: containerd's root, whole, when the store is another one than it was seeded from; mounts. Must run before
//! containerd. Never writes into the sealed root, never deletes through a mount.
//!
//! The marker file decides: it is removed before anything else changes and comes back, synced, when everything is in
//! place. A power cut at any moment leaves a root that is seeded or one that the next boot seeds anew.

#[path = "store/clear.rs"]
mod clear;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::store::{BLOBS, META_DB, SEEDED, SNAPSHOTTER, StoreManifest};

/// Bytes of the longest `store.json` that is read.
const MANIFEST_LIMIT: u64 = 1 << 20;
/// Most snapshots that are mounted.
const SNAPSHOT_LIMIT: usize = 4096;

/// What was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Whether the store was seeded now; at most boots it already was.
    pub seeded: bool,
    /// Baked images.
    pub images: usize,
    /// Snapshots that are bind-mounted now.
    pub snapshots: usize,
}

/// Why the store is not in place. Shown as fault `NI-SVC-002`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `store.json` is not one.
    #[error("\"{}\" is no store manifest: {what}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file or folder resists.
    #[error("cannot {action} \"{}\": {source}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StoreError {
    /// The fault that the console shows.
    pub fn fault(&self) -> Fault {
        let (path, help) = match self {
            StoreError::Manifest { path, .. } => {
                (path, "build the image again; this one's store is not whole")
            }
            StoreError::File { source, path, .. } => (path, help_for(source)),
        };
        Fault {
            code: Code::StoreFailed,
            object: path.display().to_string(),
            cause: self.to_string(),
            help: help.to_owned(),
        }
    }
}

fn help_for(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => "make the state disk larger, or wipe it with consent in the seed",
        Some(libc::EBUSY) => "unmount what is mounted below containerd's root, or reboot the node",
        Some(libc::EROFS | libc::EIO) => {
            "check the state disk; its file system is read-only or it fails to read"
        }
        _ => "reboot the node; when that does not help, wipe the state disk with consent in the seed",
    }
}

/// Puts the store at `store` to work below `containerd_root`. Called again, it changes nothing.
pub fn place(store: &Path, containerd_root: &Path) -> Result<Placed, StoreError> {
    let manifest = load(&store.join("store.json"))?;
    make_dir(containerd_root, 0o700)?;
    let anew = !is_seeded(containerd_root, &manifest);
    if anew {
        forget(containerd_root)?;
        clear::clear(containerd_root)?;
        seed(store, containerd_root, &manifest)?;
    }
    for number in &manifest.snapshots {
        let source = store.join(format!("snapshots/{number}/fs"));
        let target = snapshot_dir(containerd_root, *number)?;
        bind(&source, &target)?;
    }
    Ok(Placed { seeded: anew, images: manifest.images.len(), snapshots: manifest.snapshots.len() })
}

fn load(path: &Path) -> Result<StoreManifest, StoreError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    file.take(MANIFEST_LIMIT).read_to_end(&mut bytes).map_err(failed("read", path))?;
    parse(&bytes).map_err(|what| StoreError::Manifest { path: path.to_owned(), what })
}

/// Parses `store.json`; what it says of paths is checked here, once.
fn parse(bytes: &[u8]) -> Result<StoreManifest, String> {
    let manifest: StoreManifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !is_sha256(&manifest.identity) {
        return Err("its identity is no SHA-256".to_owned());
    }
    if manifest.snapshots.len() > SNAPSHOT_LIMIT {
        return Err(format!("it names more than {SNAPSHOT_LIMIT} snapshots"));
    }
    Ok(manifest)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether everything was seeded from this very store. A database that has gone since counts as not seeded.
fn is_seeded(containerd_root: &Path, manifest: &StoreManifest) -> bool {
    let marker = fs::read(containerd_root.join(SEEDED));
    let databases = [META_DB.to_owned(), format!("{SNAPSHOTTER}/metadata.db")];
    let whole = |name: &String| {
        fs::symlink_metadata(containerd_root.join(name)).is_ok_and(|file| file.is_file() && file.len() > 0)
    };
    marker.is_ok_and(|marker| marker == marker_text(manifest)) && databases.iter().all(whole)
}

fn marker_text(manifest: &StoreManifest) -> Vec<u8> {
    format!("{}\n", manifest.identity).into_bytes()
}

/// Removes the marker, for good, before anything that it vouches for is touched.
fn forget(containerd_root: &Path) -> Result<(), StoreError> {
    let marker = containerd_root.join(SEEDED);
    match fs::remove_file(&marker) {
        Ok(()) => sync_dir(containerd_root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", &marker)(error)),
    }
}

fn seed(store: &Path, containerd_root: &Path, manifest: &StoreManifest) -> Result<(), StoreError> {
    let snapshotter = containerd_root.join(SNAPSHOTTER);
    make_dir(&snapshotter, 0o700)?;
    let meta_db = containerd_root.join(META_DB);
    if let Some(folder) = meta_db.parent() {
        make_dir(folder, 0o711)?;
    }
    copy(&store.join("meta.db"), &meta_db, 0o644)?;
    copy(&store.join("metadata.db"), &snapshotter.join("metadata.db"), 0o600)?;

    let blobs = containerd_root.join(BLOBS);
    make_dir(&blobs, 0o755)?;
    let baked = store.join("blobs/sha256");
    for entry in fs::read_dir(&baked).map_err(failed("list", &baked))? {
        let name = entry.map_err(failed("list", &baked))?.file_name();
        if name.to_str().is_some_and(is_sha256) {
            copy(&baked.join(&name), &blobs.join(&name), 0o444)?;
        }
    }
    for number in &manifest.snapshots {
        snapshot_dir(containerd_root, *number)?;
    }

    sync_file_system(containerd_root)?;
    let fresh = containerd_root.join(format!("{SEEDED}.new"));
    write_synced(&fresh, &marker_text(manifest)).map_err(failed("write", &fresh))?;
    let marker = containerd_root.join(SEEDED);
    fs::rename(&fresh, &marker).map_err(failed("rename", &marker))?;
    sync_dir(containerd_root)
}

/// Makes the folder over which a snapshot's layer is mounted. A committed snapshot needs no `work`.
fn snapshot_dir(containerd_root: &Path, number: u64) -> Result<PathBuf, StoreError> {
    let snapshots = containerd_root.join(SNAPSHOTTER).join("snapshots");
    let own = snapshots.join(number.to_string());
    make_dir(&snapshots, 0o700)?;
    make_dir(&own, 0o700)?;
    let layer = own.join("fs");
    make_dir(&layer, 0o755)?;
    Ok(layer)
}

/// Mounts `source` over `target`, read-only; nothing to do where that is so already.
fn bind(source: &Path, target: &Path) -> Result<(), StoreError> {
    let from = fs::symlink_metadata(source).map_err(failed("find the layer", source))?;
    let to = fs::symlink_metadata(target).map_err(failed("find", target))?;
    if !from.is_dir() || !to.is_dir() {
        let path = if from.is_dir() { target } else { source };
        return Err(failed("mount", path)(io::ErrorKind::NotADirectory.into()));
    }
    if (from.dev(), from.ino()) != (to.dev(), to.ino()) {
        let (none, flags) = (None::<&str>, MsFlags::MS_BIND);
        mount(Some(source), target, none, flags, none).map_err(|e| failed("mount", target)(e.into()))?;
    }
    // The kernel takes no flags of its own with the bind itself.
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .map_err(|e| failed("make read-only", target)(e.into()))
}

fn make_dir(path: &Path, mode: u32) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("make the folder", path))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(failed("open", from))?;
    let mut target = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(to)
        .map_err(failed("create", to))?;
    io::copy(&mut source, &mut target).map_err(failed("write", to)).map(drop)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

fn sync_file_system(path: &Path) -> Result<(), StoreError> {
    let folder = File::open(path).map_err(failed("open", path))?;
    nix::unistd::syncfs(&folder).map_err(|error| failed("sync the file system of", path)(error.into()))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path, source }
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
