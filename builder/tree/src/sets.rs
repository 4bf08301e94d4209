//! The sets of a lock, and the folders of a project, as this room takes them.
//!
//! Takes a lock with its fetched packages, or a profile. Gives packages to unpack, the small tree for container
//! images, the project's folders. Touches the cache.

use crate::merge::{self, MergeError};
use crate::model::{RootTree, TreePath};
use crate::unpack::{self, Deb, UnpackError};
use nodeimg_cache::Cache;
use nodeimg_fetch::debs::FetchedDebs;
use nodeimg_plan::lock::{Lock, Set};
use nodeimg_plan::profile::Profile;
use std::path::{Path, PathBuf};

/// What no program that we run reads.
const OF_NO_USE: [&str; 7] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/locale/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "var/",
];

/// Folder of add-ons below a project's folder.
const ADDONS: &str = "overlays/addons";

/// Whether a path of a package is kept where programs are only run, not documented.
pub(crate) fn of_use(path: &TreePath) -> bool {
    !OF_NO_USE.iter().any(|prefix| path.as_str().starts_with(prefix))
}

/// The packages of one set, in the lock's order.
pub fn locked_debs(lock: &Lock, set: Set, debs: &FetchedDebs) -> Vec<Deb> {
    lock.set(set)
        .map(|p| Deb { name: p.name.clone(), sha256: p.sha256.clone(), path: debs.path(p).to_owned() })
        .collect()
}

/// A tree that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// A package.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Packages that do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

/// The packages of set `nft` as one tree, without documentation: from it come `nft`, its libraries and their loader
/// for the container images of kube-proxy and flannel.
pub fn nft_tree(cache: &Cache, lock: &Lock, debs: &FetchedDebs) -> Result<RootTree, NftError> {
    let unpacked = unpack::debs(cache, &locked_debs(lock, Set::Nft, debs), &|_, _| ())?;
    Ok(merge::packages(&unpacked, &of_use)?)
}

/// The folder of an add-on.
pub fn addon_dir(project: &Path, name: &str) -> PathBuf {
    project.join(ADDONS).join(name)
}

/// The project's folders that go into a root, each with a name that does not depend on where the project lies.
pub fn project_dirs(profile: &Profile, project: &Path) -> Vec<(String, PathBuf)> {
    let overlays = profile.overlays.iter().chain(&profile.static_pods);
    let mut dirs: Vec<_> = overlays.map(|dir| (dir.clone(), project.join(dir))).collect();
    dirs.extend(profile.addons.iter().map(|name| (format!("{ADDONS}/{name}"), addon_dir(project, name))));
    dirs
}
