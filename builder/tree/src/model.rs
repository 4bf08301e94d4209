//! The root tree: a node's file system as a sorted list of entries with content, owner and mode.
//!
//! Takes entries, gives them back in order of path. Holds no file open; content is bytes or a file in the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A path inside a tree: relative, normal, UTF-8, no `.` or `..`; the root is the empty path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// A path that would leave the tree or is no text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("path \"{0}\" leaves the tree")]
pub struct BadPath(pub String);

impl TreePath {
    /// Accepts `usr/bin/x`, `./usr/bin/x`, `/usr/bin/x`, a trailing slash; refuses `..`, NUL and over 4096 bytes.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let mut out = String::with_capacity(text.len());
        for part in text.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." || part.contains('\0') {
                return Err(BadPath(text.into()));
            }
            if !out.is_empty() {
                out.push('/');
            }
            out.push_str(part);
        }
        if out.len() > 4096 { Err(BadPath(text.chars().take(80).collect())) } else { Ok(Self(out)) }
    }
    /// The root itself.
    pub fn root() -> Self {
        Self(String::new())
    }
    /// `usr`.
    pub(crate) fn usr() -> Self {
        Self("usr".into())
    }
    /// Below this one; `rest` is part of a path that was parsed before, or a name of our own.
    pub(crate) fn child(&self, rest: &str) -> Self {
        if self.0.is_empty() { Self(rest.to_owned()) } else { Self(format!("{}/{rest}", self.0)) }
    }
    /// Where a link with this target leads that lies in this folder; `..` stays at the root, as in a chroot.
    fn follow(&self, target: &str) -> Self {
        let start = if target.starts_with('/') { "" } else { self.0.as_str() };
        let mut parts: Vec<&str> = start.split('/').filter(|p| !p.is_empty()).collect();
        for part in target.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                parts.pop();
            } else {
                parts.push(part);
            }
        }
        Self(parts.join("/"))
    }
    /// The last part of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }
    /// Without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The folder that it lies in; none for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.0.is_empty() {
            return None;
        }
        Some(TreePath(self.0.rsplit_once('/').map(|(p, _)| p).unwrap_or("").to_owned()))
    }
    /// Path below this one.
    pub fn join(&self, rest: &str) -> Result<TreePath, BadPath> {
        TreePath::parse(&format!("{}/{rest}", self.0))
    }
}

impl std::fmt::Display for TreePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky (0o7777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which part it counts for in `image.json`'s sizes.
    pub part: Part,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Folder.
    Dir,
    /// Regular file.
    File(Content),
    /// Symbolic link with its target, as written.
    Symlink(String),
    /// Another name of the regular file at this path.
    Hardlink(TreePath),
    /// Character device (major, minor).
    CharDev(u32, u32),
}

/// Content of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// A file that does not change, with its size in bytes.
    Path {
        /// Where.
        path: PathBuf,
        /// Bytes.
        size: u64,
    },
}

impl Content {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Bytes(b) => b.len() as u64,
            Content::Path { size, .. } => *size,
        }
    }
    /// Reads it whole.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Content::Bytes(b) => Ok(b.to_vec()),
            Content::Path { path, .. } => std::fs::read(path),
        }
    }
}

/// Parts by which sizes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Debian packages.
    Debian,
    /// Kernel modules and firmware.
    Modules,
    /// Node programs of the payload, and nodeinit.
    Programs,
    /// The baked image store.
    Images,
    /// Overlays, manifests, what the builder generates.
    Config,
}

/// The tree. Parents come before children in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootTree {
    entries: BTreeMap<TreePath, Entry>,
}

impl RootTree {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
    /// Puts an entry in place of whatever was at `path`; missing parents become folders of root, mode 0755.
    pub fn insert(&mut self, path: TreePath, entry: Entry) {
        let mut up = path.parent();
        while let Some(p) = up.filter(|p| !p.as_str().is_empty() && !self.entries.contains_key(p)) {
            up = p.parent();
            self.entries.insert(p, Entry::dir(0o755, entry.part));
        }
        self.entries.insert(path, entry);
    }
    /// The entry at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }
    /// The entry at `path`, to change.
    pub fn get_mut(&mut self, path: &TreePath) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }
    /// The content that `path` leads to through links inside the tree; none for folders, devices, broken links.
    pub fn resolve(&self, path: &TreePath) -> Option<&Content> {
        let mut at = path.clone();
        // As many links as Linux follows (MAXSYMLINKS).
        for _ in 0..40 {
            at = self.through_folders(&at)?;
            match &self.entries.get(&at)?.kind {
                Kind::File(content) => return Some(content),
                Kind::Hardlink(to) => at = to.clone(),
                Kind::Symlink(target) => at = at.parent()?.follow(target),
                Kind::Dir | Kind::CharDev(..) => return None,
            }
        }
        None
    }
    /// The path with the first link among its folders followed, again and again.
    fn through_folders(&self, path: &TreePath) -> Option<TreePath> {
        let mut at = path.clone();
        'links: for _ in 0..40 {
            let mut end = 0;
            while let Some(slash) = at.0.get(end..)?.find('/') {
                let folder = TreePath(at.0.get(..end + slash)?.to_owned());
                if let Some(Kind::Symlink(target)) = self.entries.get(&folder).map(|e| &e.kind) {
                    let rest = at.0.get(end + slash + 1..)?.to_owned();
                    at = folder.parent()?.follow(target).child(&rest);
                    continue 'links;
                }
                end += slash + 1;
            }
            return Some(at);
        }
        None
    }
    /// Takes an entry out (not what lies below it).
    pub fn remove(&mut self, path: &TreePath) -> Option<Entry> {
        self.entries.remove(path)
    }
    /// In order of path.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }
    /// Keeps the entries that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&TreePath, &Entry) -> bool) {
        self.entries.retain(|p, e| keep(p, e));
    }
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    /// A folder of root.
    pub fn dir(mode: u32, part: Part) -> Self {
        Self { kind: Kind::Dir, mode, uid: 0, gid: 0, part }
    }
    /// A file of root with these bytes.
    pub fn file(bytes: impl Into<Arc<[u8]>>, mode: u32, part: Part) -> Self {
        Self { kind: Kind::File(Content::Bytes(bytes.into())), mode, uid: 0, gid: 0, part }
    }
    /// A symbolic link of root.
    pub fn symlink(target: impl Into<String>, part: Part) -> Self {
        Self { kind: Kind::Symlink(target.into()), mode: 0o777, uid: 0, gid: 0, part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_tree() {
        assert_eq!(TreePath::parse("./usr//bin/").expect("path").as_str(), "usr/bin");
        for bad in ["../x", "a/../../x", "a/..", "a\0b"] {
            assert!(TreePath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_lead_to_content_inside_the_tree() {
        let path = |text| TreePath::parse(text).expect("path");
        let mut t = RootTree::new();
        t.insert(path("usr/lib/x/file"), Entry::file(*b"x", 0o644, Part::Config));
        t.insert(path("lib"), Entry::symlink("usr/lib", Part::Config));
        t.insert(path("usr/lib/y"), Entry::symlink("/lib/x", Part::Config));
        t.insert(path("etc/a"), Entry::symlink("../../../lib/y/file", Part::Config));
        t.insert(path("etc/loop"), Entry::symlink("loop", Part::Config));
        assert_eq!(t.resolve(&path("etc/a")).map(Content::size), Some(1));
        assert_eq!(t.resolve(&path("etc/loop")), None);
        assert_eq!(t.resolve(&path("lib/nothing")), None);
    }

    #[test]
    fn parents_appear_and_come_first() {
        let mut t = RootTree::new();
        t.insert(TreePath::parse("a/b/c").expect("path"), Entry::file(*b"x", 0o644, Part::Config));
        let order: Vec<_> = t.iter().map(|(p, _)| p.as_str()).collect();
        assert_eq!(order, ["a", "a/b", "a/b/c"]);
    }
}
