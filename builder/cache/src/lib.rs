//! The content-addressed cache below `$XDG_CACHE_HOME/nodeimg`.
//!
//! Takes: a kind of thing and a key that names its content or its inputs. Gives: a path. Whole entries appear by
//! rename, never half; it is safe to lose the cache at any time, and to kill whoever fills it. Touches nothing outside
//! its folder.
//!
//! Layout: `blob/SHA256` (files named by their content) · `KIND/KEY/` (folders or files named by their inputs) ·
//! `tmp/` (work in progress) · `lock/` (one file an entry being made).

use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system said no.
    #[error(
        "cache: cannot {action} \"{}\"\nhelp: the cache must be a folder of yours, on a disk with room; --cache DIR names another one",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Neither XDG_CACHE_HOME nor HOME is set.
    #[error("no folder for the cache is known\nhelp: set XDG_CACHE_HOME or HOME, or give --cache DIR")]
    NoHome,
}

/// Whether an entry was there or had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Cached,
    /// It was made now.
    Made,
}

impl Cache {
    /// A cache in `root`, made when missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let root = root.into();
        for sub in ["blob", "tmp", "lock"] {
            let dir = root.join(sub);
            fs::create_dir_all(&dir).map_err(|source| CacheError::Io {
                action: "create",
                path: dir,
                source,
            })?;
        }
        let cache = Self { root };
        cache.sweep_tmp();
        Ok(cache)
    }

    /// `$XDG_CACHE_HOME/nodeimg`, else `$HOME/.cache/nodeimg`, from the values given.
    pub fn default_root(
        xdg_cache_home: Option<PathBuf>,
        home: Option<PathBuf>,
    ) -> Result<PathBuf, CacheError> {
        xdg_cache_home
            .filter(|p| p.is_absolute())
            .or_else(|| home.map(|h| h.join(".cache")))
            .map(|p| p.join("nodeimg"))
            .ok_or(CacheError::NoHome)
    }

    /// The cache's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file with this SHA-256 (hexadecimal), if it is there. Its bytes were checked when it was put there.
    pub fn blob(&self, sha256: &str) -> Option<PathBuf> {
        let path = self.blob_path(sha256);
        path.is_file().then_some(path)
    }

    /// Where the file with this SHA-256 lies or would lie.
    pub fn blob_path(&self, sha256: &str) -> PathBuf {
        self.root.join("blob").join(sha256)
    }

    /// Moves a finished file of this cache's `tmp` in as a blob; the caller has checked its digest.
    pub fn adopt_blob(&self, sha256: &str, file: &Path) -> Result<PathBuf, CacheError> {
        let to = self.blob_path(sha256);
        fs::rename(file, &to).map_err(|source| CacheError::Io {
            action: "move into place",
            path: to.clone(),
            source,
        })?;
        Ok(to)
    }

    /// A path for partial content that a later run may continue (resumable downloads): stable by key.
    pub fn partial(&self, key: &str) -> PathBuf {
        self.root.join("tmp").join(format!("partial-{}", digest_text(key)))
    }

    /// The entry `kind/key`, made by `make` when missing: `make` gets a fresh path to create a file or folder at.
    /// Processes that want the same entry wait for the one that makes it.
    pub fn entry<E: From<CacheError>>(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(PathBuf, Origin), E> {
        let path = self.root.join(kind).join(key);
        if path.exists() {
            tracing::debug!(kind, key, "found in the cache");
            return Ok((path, Origin::Cached));
        }
        tracing::debug!(kind, key, "not in the cache: made now");
        let _lock = self.lock(&format!("{kind}-{key}"))?;
        if path.exists() {
            return Ok((path, Origin::Cached));
        }
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| E::from(CacheError::Io { action, path, source })
        };
        let parent = self.root.join(kind);
        fs::create_dir_all(&parent).map_err(io("create", &parent))?;
        let work = tempfile::Builder::new()
            .prefix(&format!("work-{}-", std::process::id()))
            .tempdir_in(self.root.join("tmp"))
            .map_err(io("create a folder in", &self.root.join("tmp")))?;
        let fresh = work.path().join("entry");
        make(&fresh)?;
        fs::rename(&fresh, &path).map_err(io("move into place", &path))?;
        Ok((path, Origin::Made))
    }

    /// Holds the lock `name` until dropped.
    pub fn lock(&self, name: &str) -> Result<File, CacheError> {
        let path = self.root.join("lock").join(digest_text(name));
        let io = |action| {
            let path = path.clone();
            move |source| CacheError::Io { action, path, source }
        };
        let file = File::create(&path).map_err(io("create"))?;
        file.lock().map_err(io("lock"))?;
        Ok(file)
    }

    /// Folders of runs that were killed.
    fn sweep_tmp(&self) {
        let Ok(list) = fs::read_dir(self.root.join("tmp")) else { return };
        for entry in list.flatten() {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|n| n.strip_prefix("work-")) else { continue };
            let alive = rest
                .split('-')
                .next()
                .and_then(|pid| pid.parse::<u32>().ok())
                .is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
            if !alive {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// SHA-256 of a file, hexadecimal.
pub fn sha256_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 18];
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buf[..n]),
        }
    }
}

/// SHA-256 of a text, hexadecimal: for keys.
pub fn digest_text(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_away_and_what_can_be_continued_stays() {
        let dir = tempfile::tempdir().expect("temp folder");
        let cache = Cache::open(dir.path()).expect("cache");
        // No process has a number above the kernel's limit of 2^22.
        let dead = dir.path().join("tmp/work-4194305-x");
        let alive = dir.path().join(format!("tmp/work-{}-x", std::process::id()));
        for folder in [&dead, &alive] {
            fs::create_dir_all(folder.join("entry")).expect("folder");
        }
        fs::write(cache.partial("a download"), "half").expect("partial");
        Cache::open(dir.path()).expect("cache");
        assert!(!dead.exists() && alive.exists() && cache.partial("a download").exists());
    }

    #[test]
    fn entry_is_made_once_and_a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().expect("temp folder");
        let cache = Cache::open(dir.path()).expect("cache");
        let fail: Result<_, CacheError> = cache.entry("k", "1", |_| Err(CacheError::NoHome));
        assert!(fail.is_err() && !dir.path().join("k/1").exists());
        let make = |p: &Path| fs::write(p, "x").map_err(|_| CacheError::NoHome);
        assert_eq!(cache.entry("k", "1", make).expect("made").1, Origin::Made);
        assert_eq!(cache.entry("k", "1", make).expect("found").1, Origin::Cached);
    }
}
