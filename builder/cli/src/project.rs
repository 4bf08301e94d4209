//! Where things lie around a profile.
//!
//! Takes a profile's path, gives its name, its project folder and the paths that follow from these. The project folder
//! is the parent of `profiles/` when the profile lies in a folder of that name, else the profile's own folder.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// A profile's surroundings.
#[derive(Debug, Clone)]
pub struct Project {
    /// The profile's file.
    pub profile: PathBuf,
    /// Its name: the file name without extension.
    pub name: String,
    /// The folder that relative paths in the profile start from.
    pub folder: PathBuf,
}

impl Project {
    /// Of the profile at `path`, which must exist.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let profile = std::path::absolute(path)?;
        if !profile.is_file() {
            return Err(Failure::new(
                format!("there is no profile \"{}\"", path.display()),
                "give the path of a TOML file, for example profiles/cplane.toml",
            ));
        }
        let name = profile
            .file_stem()
            .and_then(|s| s.to_str())
            .filter(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
            .ok_or_else(|| {
                Failure::new(
                    format!("\"{}\" gives no name for artifacts", path.display()),
                    "name the file with letters, digits, - and _",
                )
            })?
            .to_owned();
        let own = profile.parent().unwrap_or(Path::new("/"));
        let folder = match own.file_name() {
            Some(n) if n == "profiles" => own.parent().unwrap_or(own),
            _ => own,
        };
        Ok(Self { name, folder: folder.to_owned(), profile })
    }
    /// The lock beside the profile.
    pub fn lock(&self) -> PathBuf {
        self.profile.with_extension("lock")
    }
    /// Default of `--out`.
    pub fn dist(&self) -> PathBuf {
        self.folder.join("dist")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_around_profiles() {
        let dir = tempfile::tempdir().expect("temp folder");
        std::fs::create_dir(dir.path().join("profiles")).expect("folder");
        for p in ["profiles/a.toml", "b.toml"] {
            std::fs::write(dir.path().join(p), "").expect("file");
            let project = Project::of(&dir.path().join(p)).expect("project");
            assert_eq!(project.folder, std::path::absolute(dir.path()).expect("path"));
        }
        assert!(Project::of(&dir.path().join("c.toml")).is_err());
    }
}
