//! Whether the image in the output folder is still the one that the inputs give.
//!
//! Takes the inputs' digests, reads the project's folders and the image's manifest. Lets an unchanged build end before
//! any package is looked at.

use crate::failure::Failure;
use nodeimg_cache::{digest_text, sha256_file};
use nodeimg_contract::image::ImageManifest;
use std::path::Path;

/// Name of the file that says which inputs the image beside it was made of.
pub const INPUTS: &str = ".inputs";

/// The running nodeimg by size and time of change of its file: cheap, and never the same for two builds of it.
pub fn program_identity() -> Result<String, Failure> {
    let exe = std::env::current_exe()?;
    let meta = std::fs::metadata(&exe)?;
    let changed = meta.modified()?.duration_since(std::time::UNIX_EPOCH).map(|d| d.as_nanos()).unwrap_or(0);
    Ok(format!("{} {changed}\n", meta.len()))
}

/// Names, modes and contents below a folder of the project.
pub fn folder_digest(dir: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mut text = String::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        let list = match std::fs::read_dir(&next) {
            Ok(list) => list,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Failure::from(e).help(format!("\"{}\" must be readable", next.display()))),
        };
        let mut entries = list.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(|e| e.file_name());
        for entry in entries {
            let path = entry.path();
            let meta = entry.metadata()?;
            let what = if meta.is_dir() {
                todo.push(path.clone());
                "dir".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", std::fs::read_link(&path)?.display())
            } else {
                sha256_file(&path)?
            };
            text.push_str(&format!("{} {:o} {what}\n", path.display(), meta.permissions().mode()));
        }
    }
    Ok(digest_text(&text))
}

/// The image in `folder` when it was made of `inputs` and its files are whole by size.
pub fn up_to_date(folder: &Path, inputs: &str) -> Option<ImageManifest> {
    if std::fs::read_to_string(folder.join(INPUTS)).ok()? != inputs {
        return None;
    }
    let manifest: ImageManifest =
        serde_json::from_slice(&std::fs::read(folder.join("image.json")).ok()?).ok()?;
    let whole = manifest
        .files
        .iter()
        .all(|(name, info)| std::fs::metadata(folder.join(name)).is_ok_and(|m| m.len() == info.size));
    whole.then_some(manifest)
}
