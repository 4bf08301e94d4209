//! Packages merged into one tree, the merged-`/usr` way.
//!
//! Takes unpacked packages in order, gives a tree in which `/bin`, `/sbin`, `/lib`, `/lib64` are links and everything
//! that packages put there lies below `/usr`. Pure. Never lets an entry go through a link, and never lets two packages
//! hold different things at one path.

use crate::model::{Content, Entry, Kind, Part, RootTree, TreePath};
use crate::unpack::UnpackedDeb;
use std::collections::HashMap;

/// Folders of the root that are links into `usr/`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Packages that do not fit together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MergeError {
    /// Two packages, one path, different things.
    #[error(
        "packages \"{first}\" and \"{second}\" both hold \"{path}\"\n\
         help: leave one of them out of the profile"
    )]
    Conflict {
        /// Who came first.
        first: String,
        /// Who came second.
        second: String,
        /// Where.
        path: TreePath,
    },
    /// An entry would go through a link or a file.
    #[error("\"{path}\" of \"{owner}\" goes through something that is no folder")]
    Through {
        /// Which package or overlay.
        owner: String,
        /// Which entry.
        path: TreePath,
    },
}

/// Merges packages; entries for which `keep` says no are left out.
pub(crate) fn packages(
    debs: &[UnpackedDeb],
    keep: &dyn Fn(&TreePath) -> bool,
) -> Result<RootTree, MergeError> {
    let mut tree = RootTree::new();
    for name in MERGED {
        tree.insert(merged_root(name), Entry::symlink(format!("usr/{name}"), Part::Debian));
        tree.insert(below_usr(name), Entry::dir(0o755, Part::Debian));
    }
    let mut owners: HashMap<TreePath, usize> = HashMap::new();
    for (index, deb) in debs.iter().enumerate() {
        for from in &deb.entries {
            let path = merged(&from.path);
            if path.as_str().is_empty() || MERGED.contains(&path.as_str()) || !keep(&path) {
                continue;
            }
            let kind = match &from.kind {
                // The first name may have been left out: then this one stands for itself.
                Kind::Hardlink(to) => match merged(to) {
                    to if tree.get(&to).is_some() => Kind::Hardlink(to),
                    _ => content_of(deb, to),
                },
                other => other.clone(),
            };
            let entry = Entry { kind, mode: from.mode, uid: from.uid, gid: from.gid, part: part(&path) };
            if let Some(there) = tree.get(&path) {
                if matches!((&there.kind, &entry.kind), (Kind::Dir, Kind::Dir)) || there.kind == entry.kind {
                    continue;
                }
                if same_content(&there.kind, &entry.kind) {
                    continue;
                }
                let first = owners.get(&path).and_then(|i| debs.get(*i)).map(|d| d.name.clone());
                return Err(MergeError::Conflict {
                    first: first.unwrap_or_else(|| "(merged /usr)".into()),
                    second: deb.name.clone(),
                    path,
                });
            }
            owners.insert(path.clone(), index);
            place(&mut tree, path, entry, &deb.name)?;
        }
    }
    Ok(tree)
}

/// Inserts an entry whose parents are folders or not there yet.
pub(crate) fn place(
    tree: &mut RootTree,
    path: TreePath,
    entry: Entry,
    owner: &str,
) -> Result<(), MergeError> {
    let mut up = path.parent();
    while let Some(dir) = up {
        match tree.get(&dir) {
            None => up = dir.parent(),
            Some(e) if e.kind == Kind::Dir => break,
            Some(_) => return Err(MergeError::Through { owner: owner.to_owned(), path }),
        }
    }
    tree.insert(path, entry);
    Ok(())
}

/// Where a path lies once `/bin` and friends are links: `bin/x` is `usr/bin/x`.
pub(crate) fn merged(path: &TreePath) -> TreePath {
    match path.as_str().split_once('/') {
        Some((first, _)) if MERGED.contains(&first) => below_usr(path.as_str()),
        _ => path.clone(),
    }
}

fn below_usr(rest: &str) -> TreePath {
    TreePath::usr().child(rest)
}

fn merged_root(name: &str) -> TreePath {
    TreePath::root().child(name)
}

fn part(path: &TreePath) -> Part {
    let path = path.as_str();
    if path.starts_with("usr/lib/modules/")
        || path.starts_with("usr/lib/firmware/")
        || path.starts_with("boot/")
    {
        Part::Modules
    } else {
        Part::Debian
    }
}

/// What the first name of a hard link holds.
fn content_of(deb: &UnpackedDeb, first: &TreePath) -> Kind {
    let found = deb.entries.iter().find(|e| e.path == *first && matches!(e.kind, Kind::File(_)));
    found.map(|e| e.kind.clone()).unwrap_or_else(|| Kind::Hardlink(merged(first)))
}

/// Whether both are files whose contents have the same name, and so the same bytes.
fn same_content(a: &Kind, b: &Kind) -> bool {
    match (a, b) {
        (Kind::File(Content::Path { path: a, size: n }), Kind::File(Content::Path { path: b, size: m })) => {
            n == m && a.file_name() == b.file_name()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
