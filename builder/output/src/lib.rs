//! Boot set to the files in `dist/NAME/`.
//!
//! Takes a sealed root, its boot set and what is known about them. Gives `NAME.efi`, `vmlinuz`, `initrd`, `cmdline`,
//! `root.img` and `image.json`, whole or not at all: a failed or killed build leaves the last good folder. May touch
//! the dist folder only. An unchanged image is not written again.

mod error;
mod gpt;
mod place;
mod root_img;

pub use error::OutputError;

use nodeimg_boot::BootSet;
use nodeimg_cache::sha256_file;
use nodeimg_contract::image::{FileInfo, ImageManifest, RootManifest};
use nodeimg_progress::{Outcome, Progress, Step};
use nodeimg_seal::Sealed;
use nodeimg_tree::Part;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the manifest in an image's folder.
pub const MANIFEST: &str = "image.json";
/// Name of the GPT disk in an image's folder.
pub const ROOT_IMG: &str = "root.img";
/// Kernel, initramfs and command line, for boot loaders and `run --direct`.
pub const KERNEL: &str = "vmlinuz";
/// See [`KERNEL`].
pub const INITRD: &str = "initrd";
/// See [`KERNEL`]. One line.
pub const CMDLINE: &str = "cmdline";

/// What to write beside `root.img` and `image.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `NAME.efi`.
    Uki,
    /// `vmlinuz`, `initrd`, `cmdline`.
    Files,
}

/// What an image is made of.
#[derive(Debug)]
pub struct Artifacts<'a> {
    /// The root.
    pub sealed: &'a Sealed,
    /// What boots it.
    pub boot: &'a BootSet,
    /// What was baked; its profile name becomes the folder's name.
    pub root: RootManifest,
    /// SHA-256 of the lock, hexadecimal.
    pub lock: String,
    /// What to write.
    pub formats: &'a [Format],
}

/// The UKI's file name.
pub fn uki_name(profile: &str) -> String {
    format!("{profile}.efi")
}

/// Writes `dist/NAME` and gives its manifest.
pub fn write(
    dist: &Path,
    artifacts: &Artifacts<'_>,
    progress: &Progress,
) -> Result<ImageManifest, OutputError> {
    let step = progress.step("output");
    let name = checked_name(&artifacts.root.profile)?;
    let files = small_files(artifacts)?;
    if let Some(manifest) = unchanged(&dist.join(name), artifacts, &files)? {
        step.finish(Outcome::Cached);
        return Ok(manifest);
    }
    let manifest = place::replace(dist, name, |fresh| fill(fresh, artifacts, &files, &step))?;
    step.finish(Outcome::Built);
    Ok(manifest)
}

/// A file of the image other than `root.img`.
struct SmallFile {
    name: String,
    source: Source,
    info: FileInfo,
}

enum Source {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

fn small_files(artifacts: &Artifacts<'_>) -> Result<Vec<SmallFile>, OutputError> {
    let (boot, mut files) = (artifacts.boot, Vec::new());
    let mut copy = |name: String, path: PathBuf| -> Result<(), OutputError> {
        let io = |source| OutputError::Io { action: "read", path: path.clone(), source };
        let size = fs::metadata(&path).map_err(io)?.len();
        let info = FileInfo { size, sha256: sha256_file(&path).map_err(io)? };
        files.push(SmallFile { name, source: Source::Path(path), info });
        Ok(())
    };
    if artifacts.formats.contains(&Format::Uki) {
        copy(uki_name(&artifacts.root.profile), boot.uki())?;
    }
    if artifacts.formats.contains(&Format::Files) {
        copy(KERNEL.into(), boot.kernel())?;
        copy(INITRD.into(), boot.initrd())?;
        let bytes = format!("{}\n", boot.cmdline()).into_bytes();
        let info = FileInfo { size: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) };
        files.push(SmallFile { name: CMDLINE.into(), source: Source::Bytes(bytes), info });
    }
    Ok(files)
}

fn fill(
    fresh: &Path,
    artifacts: &Artifacts<'_>,
    files: &[SmallFile],
    step: &Step,
) -> Result<ImageManifest, OutputError> {
    let root_size = root_img::size(artifacts.sealed)?;
    step.set_total(root_size + files.iter().map(|f| f.info.size).sum::<u64>());
    for file in files {
        let to = fresh.join(&file.name);
        let io = |source| OutputError::Io { action: "write", path: to.clone(), source };
        match &file.source {
            Source::Path(from) => fs::copy(from, &to).map(drop).map_err(io)?,
            Source::Bytes(bytes) => fs::write(&to, bytes).map_err(io)?,
        }
        fs::File::open(&to).and_then(|f| f.sync_data()).map_err(io)?;
        step.add(file.info.size);
    }
    let root = root_img::write(artifacts.sealed, &fresh.join(ROOT_IMG), step)?;
    let manifest = manifest(artifacts, files, root)?;
    let path = fresh.join(MANIFEST);
    let io = |source| OutputError::Io { action: "write", path: path.clone(), source };
    fs::write(&path, render(&manifest)?).map_err(io)?;
    fs::File::open(&path).and_then(|f| f.sync_data()).map_err(io)?;
    Ok(manifest)
}

fn render(manifest: &ImageManifest) -> Result<Vec<u8>, OutputError> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(text)
}

fn manifest(
    artifacts: &Artifacts<'_>,
    files: &[SmallFile],
    root_img: FileInfo,
) -> Result<ImageManifest, OutputError> {
    let (sealed, boot) = (artifacts.sealed, artifacts.boot);
    let size_of = |path: PathBuf| {
        fs::metadata(&path).map(|m| m.len()).map_err(|source| OutputError::Io {
            action: "read",
            path,
            source,
        })
    };
    let mut sizes = BTreeMap::from([
        ("kernel".to_owned(), size_of(boot.kernel())?),
        ("initrd".to_owned(), size_of(boot.initrd())?),
        ("erofs".to_owned(), sealed.erofs_size()),
        ("verity".to_owned(), sealed.verity_size()),
    ]);
    for (part, bytes) in sealed.parts() {
        let name = match part {
            Part::Debian => "debian",
            Part::Modules => "modules",
            Part::Programs => "programs",
            Part::Images => "images",
            Part::Config => "config",
        };
        sizes.insert(name.to_owned(), *bytes);
    }
    let mut infos: BTreeMap<String, FileInfo> =
        files.iter().map(|f| (f.name.clone(), f.info.clone())).collect();
    infos.insert(ROOT_IMG.to_owned(), root_img);
    Ok(ImageManifest {
        root: artifacts.root.clone(),
        root_hash: sealed.root_hash(),
        lock: artifacts.lock.clone(),
        files: infos,
        sizes,
    })
}

/// The manifest that lies in `folder`, if everything there is what would be written now. The digest of `root.img` is
/// taken from it: the root hash and the size decide every byte of that file.
fn unchanged(
    folder: &Path,
    artifacts: &Artifacts<'_>,
    files: &[SmallFile],
) -> Result<Option<ImageManifest>, OutputError> {
    let Ok(text) = fs::read(folder.join(MANIFEST)) else { return Ok(None) };
    let Ok(there) = serde_json::from_slice::<ImageManifest>(&text) else { return Ok(None) };
    let Some(root_img) = there.files.get(ROOT_IMG).cloned() else { return Ok(None) };
    if root_img.size != root_img::size(artifacts.sealed)? {
        return Ok(None);
    }
    let wanted = manifest(artifacts, files, root_img)?;
    let whole = wanted.files.iter().all(|(name, info)| {
        fs::metadata(folder.join(name)).is_ok_and(|m| m.is_file() && m.len() == info.size)
    });
    Ok((whole && wanted == there).then_some(wanted))
}

fn checked_name(name: &str) -> Result<&str, OutputError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(good) {
        return Err(OutputError::Name(name.chars().take(80).collect()));
    }
    Ok(name)
}
