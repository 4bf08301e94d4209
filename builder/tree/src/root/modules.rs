//! Module dependency files, which a kernel package's script would have made.
//!
//! Takes a tree with modules, runs depmod from the tools tree over a folder with those modules alone, puts its files
//! into the tree. Writes the cache entry `depmod/KEY` (KEY: the modules by content, and the tools tree). Loads nothing.

use super::RootError;
use crate::file_error::failed;
use crate::materialise::materialise;
use crate::model::{Content, Entry, Kind, Part, RootTree, TreePath};
use crate::tools::ToolsTree;
use nodeimg_cache::{Cache, Origin};
use std::fs;
use std::path::Path;

/// What depmod writes and neither udev's nor our own loader of modules reads.
const UNREAD: [&str; 2] = ["modules.symbols", "modules.symbols.bin"];

/// Adds `modules.dep` and its companions for this kernel release.
pub(super) fn index(
    tree: &mut RootTree,
    release: &str,
    tools: &ToolsTree,
    cache: &Cache,
) -> Result<Origin, RootError> {
    let folder = TreePath::parse(&format!("usr/lib/modules/{release}"))?;
    let prefix = format!("{}/", folder.as_str());
    let mut modules = RootTree::new();
    for (path, entry) in tree.iter().filter(|(p, _)| p.as_str().starts_with(&prefix)) {
        modules.insert(path.clone(), entry.clone());
    }
    modules.insert(TreePath::parse("lib")?, Entry::symlink("usr/lib", Part::Modules));
    let key = nodeimg_cache::digest_text(&format!("depmod 1\n{}\n{}", tools.key(), modules.digest(cache)?));
    let (made, origin) = cache.entry("depmod", &key, |fresh| run(&modules, release, tools, fresh))?;
    for file in fs::read_dir(&made).map_err(failed("read", &made))? {
        let file = file.map_err(failed("read", &made))?;
        let name = file.file_name();
        let Some(name) = name.to_str() else { continue };
        let size = file.metadata().map_err(failed("read", &file.path()))?.len();
        let kind = Kind::File(Content::Path { path: file.path(), size });
        tree.insert(folder.child(name), Entry { kind, mode: 0o644, uid: 0, gid: 0, part: Part::Modules });
    }
    Ok(origin)
}

fn run(modules: &RootTree, release: &str, tools: &ToolsTree, fresh: &Path) -> Result<(), RootError> {
    // Beside the entry being made: the same file system, so that contents are linked, and swept like it.
    let base = fresh.with_extension("base");
    materialise(modules, &base)?;
    let mut command = tools.command("depmod")?;
    command.arg("-b").arg(&base).arg(release);
    let done = command.output().map_err(failed("run", Path::new("depmod")))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).chars().take(2000).collect();
        return Err(RootError::Depmod { status: done.status.to_string(), said });
    }
    fs::create_dir(fresh).map_err(failed("create", fresh))?;
    let folder = base.join("usr/lib/modules").join(release);
    for file in fs::read_dir(&folder).map_err(failed("read", &folder))? {
        let file = file.map_err(failed("read", &folder))?;
        let name = file.file_name();
        let text = name.to_str().unwrap_or("");
        // The package brought modules.order and modules.builtin*; what is new is depmod's.
        let brought = modules.get(&TreePath::parse(&format!("usr/lib/modules/{release}/{text}"))?).is_some();
        if text.starts_with("modules.") && !brought && !UNREAD.contains(&text) {
            let to = fresh.join(&name);
            fs::rename(file.path(), &to).map_err(failed("move", &to))?;
        }
    }
    Ok(())
}
