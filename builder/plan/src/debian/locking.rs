//! From a profile and indexes to a lock.

use super::assumed::{ASSUMED, Assumed};
use super::error::ResolveError;
use super::index::{Indexes, Package};
use super::resolve::{Root, resolve};
use super::sets::{NFT, TOOLS};
use crate::lock::{GoLock, Lock, LockedModule, LockedPackage, SCHEMA, Set};
use crate::nearest::question;
use crate::profile::Profile;
use crate::source::Problem;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The lock of a profile: its packages, the tools and what container images need, resolved from `indexes`.
///
/// `modules` and `go` are the payload's inputs and go into the lock as they are.
pub fn resolve_lock(
    profile: &Profile,
    indexes: &Indexes,
    modules: Vec<LockedModule>,
    go: Option<GoLock>,
) -> Result<Lock, ResolveError> {
    let wishes: Vec<Root> = profile.os.packages.iter().map(|wish| wish.root.clone()).collect();
    let fixed = |names: &[&str]| names.iter().map(|name| Root::newest(name)).collect::<Vec<_>>();
    let mut locked: BTreeMap<(String, String), LockedPackage> = BTreeMap::new();
    for (set, roots) in [(Set::Image, wishes), (Set::Tools, fixed(TOOLS)), (Set::Nft, fixed(NFT))] {
        let packages = resolve(indexes, &roots, &Assumed::without_scripts());
        let packages = packages.map_err(|e| if set == Set::Image { point_into(profile, e) } else { e })?;
        for package in packages {
            let key = (package.name.clone(), package.version.to_string());
            locked.entry(key).or_insert_with(|| locked_package(package)).sets.push(set);
        }
    }
    Ok(Lock {
        schema: SCHEMA,
        inputs: lock_inputs(profile, &modules, go.as_ref()),
        source_date_epoch: indexes.newest_date(),
        suite: indexes.suite().to_owned(),
        go,
        modules,
        packages: locked.into_values().collect(),
    })
}

fn locked_package(package: &Package) -> LockedPackage {
    LockedPackage {
        name: package.name.clone(),
        version: package.version.to_string(),
        archive: package.archive,
        path: package.path.clone(),
        size: package.size,
        sha256: package.sha256.clone(),
        sets: Vec::new(),
    }
}

/// An unknown name or version is told at its place in the profile.
fn point_into(profile: &Profile, error: ResolveError) -> ResolveError {
    let (name, title, label, help) = match &error {
        ResolveError::UnknownPackage { name, suite, nearest } => {
            let help =
                question(nearest).unwrap_or_else(|| "names are those of Debian's binary packages".into());
            (name, format!("unknown package \"{name}\""), format!("not in suite \"{suite}\""), help)
        }
        ResolveError::UnknownVersion { name, version, suite, known } => {
            let help = format!("there is {}", known.join(", "));
            (
                name,
                format!("package \"{name}\" has no version \"{version}\""),
                format!("not in suite \"{suite}\""),
                help,
            )
        }
        _ => return error,
    };
    match profile.os.packages.iter().find(|wish| wish.root.name == *name) {
        Some(wish) => profile.error(&[Problem::at(wish.span.clone(), title).label(label).help(help)]).into(),
        None => error,
    }
}

/// SHA-256 (hexadecimal) of what decides a lock beside the mirror's content: when it differs from [`Lock::inputs`], the
/// lock must be renewed. Overlays, exclusions, formats and add-ons do not decide it.
pub fn lock_inputs(profile: &Profile, modules: &[LockedModule], go: Option<&GoLock>) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    field("nodeimg lock inputs 1");
    field(profile.os.suite.as_str());
    profile.os.components.iter().for_each(|component| field(component.as_str()));
    let mut wishes: Vec<&Root> = profile.os.packages.iter().map(|wish| &wish.root).collect();
    wishes.sort();
    for wish in wishes {
        field(&wish.name);
        field(wish.version.as_deref().unwrap_or(""));
    }
    for list in [TOOLS, NFT] {
        field("set");
        list.iter().for_each(|name| field(name));
    }
    field("assumed");
    ASSUMED.iter().for_each(|assumed| field(assumed.name));
    field(&profile.kubernetes.version);
    field(profile.kubernetes.origin.as_str());
    field(go.map_or("", |go| &go.version));
    field(go.map_or("", |go| &go.sum));
    for module in modules {
        field(&module.name);
        field(&module.version);
        field(&module.sha256);
    }
    hex::encode(hash.finalize())
}
