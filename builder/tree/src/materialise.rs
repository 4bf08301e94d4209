//! A tree written out as a real folder.
//!
//! Takes a tree and a folder that does not exist yet; makes it. Regular files are hard links to the cache's contents
//! where the file system allows it, copies elsewhere. Writes nothing outside the folder: a tree's parents are folders
//! (its own), and a link's target is never followed while writing. Owners and devices are left out: this is for a
//! user without privileges to run programs from, or to read.

use crate::file_error::{FileError, failed};
use crate::model::{Content, Kind, RootTree, TreePath};
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

/// A tree that could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum MaterialiseError {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] FileError),
    /// A relative link that leaves the tree.
    #[error("link \"{path}\" -> \"{target}\" leaves the tree")]
    Escape {
        /// Where.
        path: TreePath,
        /// Its target.
        target: String,
    },
}

/// Writes `tree` to the new folder `to`. Absolute links become relative, so that they stay inside.
pub(crate) fn materialise(tree: &RootTree, to: &Path) -> Result<(), MaterialiseError> {
    fs::create_dir_all(to).map_err(failed("create", to))?;
    for (path, entry) in tree.iter() {
        let at = to.join(path.as_str());
        match &entry.kind {
            Kind::Dir => fs::create_dir(&at).map_err(failed("create", &at))?,
            Kind::File(content) => {
                file(content, entry.mode & 0o111 != 0, &at).map_err(failed("write", &at))?
            }
            Kind::Symlink(target) => {
                let target = inside(path, target)
                    .ok_or_else(|| MaterialiseError::Escape { path: path.clone(), target: target.clone() })?;
                symlink(target, &at).map_err(failed("link", &at))?;
            }
            // Its first name may come later in order of path.
            Kind::Hardlink(first) => {
                if let Some(Kind::File(content)) = tree.get(first).map(|e| &e.kind) {
                    file(content, entry.mode & 0o111 != 0, &at).map_err(failed("write", &at))?;
                }
            }
            Kind::CharDev(..) => {}
        }
    }
    Ok(())
}

fn file(content: &Content, executable: bool, at: &Path) -> io::Result<()> {
    match content {
        Content::Path { path, .. } => match fs::hard_link(path, at) {
            Ok(()) => Ok(()),
            // Another file system, or one without hard links, or more of them than it allows.
            Err(_) => fs::copy(path, at).map(|_| ()),
        },
        Content::Bytes(bytes) => {
            let mode = if executable { 0o755 } else { 0o644 };
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(at)?;
            io::Write::write_all(&mut file, bytes)
        }
    }
}

/// The link's target as seen from its own folder, without leaving the tree; none when a relative one would.
pub(crate) fn inside(path: &TreePath, target: &str) -> Option<String> {
    let depth = path.as_str().split('/').count().saturating_sub(1);
    if let Some(absolute) = target.strip_prefix('/') {
        // At the root `..` is the root itself, as in a chroot.
        let mut parts: Vec<&str> = vec![];
        for part in absolute.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                parts.pop();
            } else {
                parts.push(part);
            }
        }
        let up = "../".repeat(depth);
        let relative = format!("{up}{}", parts.join("/"));
        return Some(if relative.is_empty() { ".".into() } else { relative });
    }
    let mut level = depth as i64;
    for part in target.split('/').filter(|p| !p.is_empty() && *p != ".") {
        level += if part == ".." { -1 } else { 1 };
        if level < 0 {
            return None;
        }
    }
    Some(target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, Part};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).expect("path")
    }

    #[test]
    fn links_stay_inside() {
        let p = path("usr/lib/x");
        assert_eq!(inside(&p, "/etc/alternatives/x").as_deref(), Some("../../etc/alternatives/x"));
        assert_eq!(inside(&p, "/../../etc/passwd").as_deref(), Some("../../etc/passwd"));
        assert_eq!(inside(&p, "../bin/y").as_deref(), Some("../bin/y"));
        assert_eq!(inside(&p, "../../../etc/passwd"), None);
        assert_eq!(inside(&path("x"), "/").as_deref(), Some("."));
    }

    #[test]
    fn a_tree_becomes_a_folder() {
        let dir = tempfile::tempdir().expect("temp folder");
        let source = dir.path().join("content");
        fs::write(&source, b"program").expect("write");
        let mut tree = RootTree::new();
        let content = Content::Path { path: source, size: 7 };
        let mut program = Entry::file(*b"", 0o755, Part::Debian);
        program.kind = Kind::File(content);
        tree.insert(path("usr/bin/program"), program.clone());
        tree.insert(path("bin"), Entry::symlink("/usr/bin", Part::Debian));
        program.kind = Kind::Hardlink(path("usr/bin/program"));
        tree.insert(path("usr/bin/another"), program);
        let to = dir.path().join("out");
        materialise(&tree, &to).expect("materialise");
        assert_eq!(fs::read(to.join("bin/program")).expect("read"), b"program");
        assert_eq!(fs::read(to.join("bin/another")).expect("read"), b"program");
        tree.insert(path("evil"), Entry::symlink("../outside", Part::Debian));
        assert!(materialise(&tree, &dir.path().join("two")).is_err());
    }
}
