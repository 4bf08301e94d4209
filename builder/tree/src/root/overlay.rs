//! Folders of the project laid over a root: overlays, add-ons, static pods.
//!
//! Takes a folder of this machine and a place in the tree, puts what it holds there: owner root, files 0755 or 0644 by
//! their owner's execute bit, links as they are. Reads the folder, copies large files into the cache. Refuses what is
//! neither file, folder nor link, links that leave the root, and places that no booted node would show.

use super::RootError;
use crate::file_error::failed;
use crate::materialise::inside;
use crate::merge::{merged, place};
use crate::model::{Content, Entry, Kind, Part, RootTree, TreePath};
use nodeimg_cache::{Cache, sha256_file};
use nodeimg_contract::paths::{NODEINIT, ROOT_MANIFEST, RUN_ETC_FILES, STORE};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Files up to this many bytes are held in memory.
const SMALL: u64 = 1 << 20;
/// Folders over which something is mounted at boot.
const HIDDEN: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "var"];

/// Lays `folder` over the tree at `at`; gives the paths of files and links that it put there.
pub(super) fn lay(
    tree: &mut RootTree,
    folder: &Path,
    at: &TreePath,
    cache: &Cache,
) -> Result<BTreeSet<TreePath>, RootError> {
    let mut laid = BTreeSet::new();
    if !folder.is_dir() {
        return Err(RootError::NoFolder { path: folder.to_owned() });
    }
    for found in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let found = found.map_err(|e| {
            let at = e.path().unwrap_or(folder).to_owned();
            failed("read", &at)(e)
        })?;
        let path = found.path();
        let refuse = |what| RootError::Overlay { path: path.to_owned(), what };
        let name = path
            .strip_prefix(folder)
            .ok()
            .and_then(Path::to_str)
            .ok_or_else(|| refuse("its name is no text"))?;
        let to = merged(&at.join(name)?);
        let kind = found.file_type();
        if kind.is_dir() {
            match tree.get(&to).map(|e| &e.kind) {
                Some(Kind::Dir) => {}
                // `bin`, `lib`: what lies in it goes where the link leads.
                Some(Kind::Symlink(_)) if merged(&to.child("x")) != to.child("x") => {}
                Some(_) => return Err(refuse("the root has no folder there")),
                None => place(tree, to, Entry::dir(0o755, Part::Config), &path.display().to_string())?,
            }
            continue;
        }
        reserved(&to).map_or(Ok(()), |what| Err(refuse(what)))?;
        if matches!(tree.get(&to).map(|e| &e.kind), Some(Kind::Dir)) {
            return Err(refuse("the root has a folder there"));
        }
        let entry = if kind.is_symlink() {
            let target = fs::read_link(path).map_err(failed("read", path))?;
            let target = target.to_str().ok_or_else(|| refuse("its target is no text"))?.to_owned();
            if inside(&to, &target).is_none() {
                return Err(refuse("the link leaves the root"));
            }
            Entry::symlink(target, Part::Config)
        } else if kind.is_file() {
            let meta = found.metadata().map_err(failed("read", path))?;
            let mode = if meta.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 };
            let content = content(path, meta.len(), cache)?;
            Entry { kind: Kind::File(content), mode, uid: 0, gid: 0, part: Part::Config }
        } else {
            return Err(refuse("it is neither a file, a folder nor a link"));
        };
        place(tree, to.clone(), entry, &path.display().to_string())?;
        laid.insert(to);
    }
    Ok(laid)
}

/// Why a project's file cannot lie there.
fn reserved(path: &TreePath) -> Option<&'static str> {
    let text = path.as_str();
    if HIDDEN.iter().any(|h| text.split('/').next() == Some(*h)) {
        return Some("a booted node mounts something else over that folder");
    }
    if RUN_ETC_FILES.iter().any(|name| text.strip_prefix("etc/") == Some(*name)) {
        return Some("nodeinit writes that file at every boot, from the seed");
    }
    let ours = [NODEINIT, ROOT_MANIFEST, STORE].map(|p| p.trim_start_matches('/'));
    if ours.iter().any(|p| text == *p || text.strip_prefix(p).is_some_and(|rest| rest.starts_with('/'))) {
        return Some("the builder writes that itself");
    }
    None
}

fn content(path: &Path, size: u64, cache: &Cache) -> Result<Content, RootError> {
    if size <= SMALL {
        return Ok(Content::Bytes(fs::read(path).map_err(failed("read", path))?.into()));
    }
    // The project's file may change while it is built from; the cache's copy does not.
    let sha256 = sha256_file(path).map_err(failed("read", path))?;
    if let Some(blob) = cache.blob(&sha256) {
        return Ok(Content::Path { path: blob, size });
    }
    let fresh = tempfile::NamedTempFile::new_in(cache.root().join("tmp")).map_err(failed("copy", path))?;
    let copied = fs::copy(path, fresh.path()).map_err(failed("copy", path))?;
    let sha256 = sha256_file(fresh.path()).map_err(failed("read", fresh.path()))?;
    Ok(Content::Path { path: cache.adopt_blob(&sha256, fresh.path())?, size: copied })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Project {
        dir: tempfile::TempDir,
        cache: Cache,
    }

    impl Project {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("temp folder");
            let cache = Cache::open(dir.path().join("cache")).expect("cache");
            Self { dir, cache }
        }
        fn file(&self, name: &str, mode: u32, content: &[u8]) {
            let path = self.dir.path().join("over").join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(&path, content).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        }
        fn lay(&self, tree: &mut RootTree) -> Result<BTreeSet<TreePath>, RootError> {
            lay(tree, &self.dir.path().join("over"), &TreePath::root(), &self.cache)
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).expect("path")
    }

    #[test]
    fn files_replace_files_and_keep_their_execute_bit() {
        let project = Project::new();
        project.file("etc/motd", 0o600, b"new");
        project.file("bin/tool", 0o700, b"#!");
        project.file("usr/share/big", 0o644, &vec![7; SMALL as usize + 1]);
        symlink("motd", project.dir.path().join("over/etc/issue")).expect("link");
        let mut tree = RootTree::new();
        tree.insert(path("etc/motd"), Entry::file(*b"old", 0o644, Part::Debian));
        tree.insert(path("bin"), Entry::symlink("usr/bin", Part::Debian));
        tree.insert(path("usr/bin"), Entry::dir(0o755, Part::Debian));
        let laid = project.lay(&mut tree).expect("laid");
        assert_eq!(laid.len(), 4);
        assert_eq!(tree.get(&path("etc/motd")), Some(&Entry::file(*b"new", 0o644, Part::Config)));
        assert_eq!(tree.get(&path("usr/bin/tool")).map(|e| e.mode), Some(0o755));
        assert_eq!(tree.get(&path("etc/issue")), Some(&Entry::symlink("motd", Part::Config)));
        let Some(Kind::File(Content::Path { path: blob, .. })) =
            tree.get(&path("usr/share/big")).map(|e| &e.kind)
        else {
            panic!("a large file lies in the cache");
        };
        assert!(blob.starts_with(project.cache.root()));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for name in ["var/lib/x", "etc/hosts", "usr/bin/nodeinit", "usr/lib/nodeimg/store/x", "run/x"] {
            let project = Project::new();
            project.file(name, 0o644, b"");
            assert!(project.lay(&mut RootTree::new()).is_err(), "{name}");
        }
        let project = Project::new();
        project.file("etc/x", 0o644, b"");
        symlink("../../../etc/passwd", project.dir.path().join("over/etc/y")).expect("link");
        assert!(project.lay(&mut RootTree::new()).is_err());
        let project = Project::new();
        project.file("etc/link/x", 0o644, b"");
        let mut tree = RootTree::new();
        tree.insert(path("etc/link"), Entry::symlink("/usr", Part::Debian));
        assert!(project.lay(&mut tree).is_err());
        let missing = lay(&mut tree, Path::new("/nonexistent/overlay"), &TreePath::root(), &project.cache);
        assert!(missing.expect_err("missing").to_string().contains("/nonexistent/overlay"));
    }
}
