//! The .debs of a lock, checked, in the cache.
//!
//! Takes a lock and a mirror. Gives [`FetchedDebs`], which only a complete set can make. Fetches what is missing, several
//! at once; what the cache has is not asked for again.

use crate::Fetch;
use crate::download::{DownloadError, Expected};
use crate::http::HttpError;
use crate::mirror::Mirror;
use nodeimg_cache::Cache;
use nodeimg_plan::lock::{Archive, Lock, LockedPackage};
use nodeimg_progress::Outcome;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Downloads at once: enough to fill a line, few enough to be a polite guest of a mirror.
const AT_ONCE: usize = 8;

/// Proof that every package of a lock lies in the cache as a checked blob.
#[derive(Debug, Clone)]
pub struct FetchedDebs {
    paths: BTreeMap<String, PathBuf>,
}

/// A set that is not complete.
#[derive(Debug, thiserror::Error)]
pub enum DebsError {
    /// The mirror has dropped files that the lock names (point releases and security updates do that).
    #[error(
        "the lock is stale: the mirror \"{mirror}\" no longer has {}\nhelp: renew the lock: nodeimg build --update {profile}",
        names.join(", ")
    )]
    Stale {
        /// The mirror.
        mirror: String,
        /// The packages, `NAME VERSION`.
        names: Vec<String>,
        /// The profile, as the caller names it.
        profile: String,
    },
    /// The mirror has no security archive, and the lock needs one.
    #[error(
        "package \"{package}\" is in Debian's security archive, and no mirror of that is known\nhelp: give a mirror with --mirror URL that has `…-security` beside it"
    )]
    NoSecurity {
        /// Package.
        package: String,
    },
    /// One did not come.
    #[error("package \"{package}\"")]
    Download {
        /// Package.
        package: String,
        /// Why not.
        #[source]
        source: DownloadError,
    },
}

impl FetchedDebs {
    /// When the cache has every package: no mirror is needed then.
    pub fn cached(lock: &Lock, cache: &Cache) -> Option<Self> {
        let paths = lock.packages.iter().map(|p| Some((p.sha256.clone(), cache.blob(&p.sha256)?)));
        Some(Self { paths: paths.collect::<Option<_>>()? })
    }
    /// The checked .deb of a package of the lock that was fetched.
    ///
    /// # Panics
    /// For a package of another lock.
    pub fn path(&self, package: &LockedPackage) -> &Path {
        match self.paths.get(&package.sha256) {
            Some(path) => path,
            None => panic!("package \"{}\" is not of the lock that was fetched", package.name),
        }
    }
}

/// Fetches every .deb of `lock` that the cache lacks. `profile` is named in the help of [`DebsError::Stale`].
pub fn debs(fetch: Fetch<'_>, mirror: &Mirror, lock: &Lock, profile: &str) -> Result<FetchedDebs, DebsError> {
    let step = fetch.progress.step("Debian packages");
    if let Some(all) = FetchedDebs::cached(lock, fetch.cache) {
        step.finish(Outcome::Cached);
        return Ok(all);
    }
    let mut missing: Vec<&LockedPackage> =
        lock.packages.iter().filter(|p| fetch.cache.blob(&p.sha256).is_none()).collect();
    // The largest first: the last thread should not begin with the kernel when all others are done.
    missing.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    step.set_total(missing.iter().map(|p| p.size).sum());
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Vec<DebsError>> = Mutex::default();
    let gone: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(missing.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(package) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    match one(fetch, mirror, package, &|bytes| step.add(bytes)) {
                        Ok(()) => {}
                        Err(DebsError::Download {
                            source: DownloadError::Http(HttpError::Missing { .. }),
                            ..
                        }) => {
                            let name = format!("{} {}", package.name, package.version);
                            gone.lock().unwrap_or_else(|e| e.into_inner()).push(name);
                        }
                        Err(e) => {
                            stop.store(true, Ordering::Relaxed);
                            failed.lock().unwrap_or_else(|e| e.into_inner()).push(e);
                        }
                    }
                }
            });
        }
    });
    if let Some(first) = failed.into_inner().unwrap_or_else(|e| e.into_inner()).into_iter().next() {
        return Err(first);
    }
    let mut names = gone.into_inner().unwrap_or_else(|e| e.into_inner());
    if !names.is_empty() {
        names.sort();
        let mirror = mirror.root(Archive::Debian).unwrap_or_default().to_owned();
        return Err(DebsError::Stale { mirror, names, profile: profile.to_owned() });
    }
    let paths = lock.packages.iter().map(|p| (p.sha256.clone(), fetch.cache.blob_path(&p.sha256))).collect();
    step.finish(Outcome::Built);
    Ok(FetchedDebs { paths })
}

fn one(
    fetch: Fetch<'_>,
    mirror: &Mirror,
    package: &LockedPackage,
    told: &dyn Fn(u64),
) -> Result<(), DebsError> {
    let name = || package.name.clone();
    let root = mirror.root(package.archive).ok_or_else(|| DebsError::NoSecurity { package: name() })?;
    let url = format!("{root}/{}", package.path);
    let expected = Expected { sha256: &package.sha256, size: package.size };
    match fetch.blob(&url, expected, told) {
        Ok(_) => Ok(()),
        Err(source) => Err(DebsError::Download { package: name(), source }),
    }
}
