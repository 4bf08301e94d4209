//! Real programs for tests: those of the control plane's tools tree and payload, as far as the cache has them.
//!
//! Takes the committed lock of the control plane (or the copy that CI renewed: `NODEIMG_TEST_LOCKS`) and the user's cache.
//! Gives commands and paths, or nothing: then [`skipped`] has said which test goes without, past libtest's capture and
//! into the file that `NODEIMG_TEST_SKIPS` names. Unpacks cached packages into the tools tree where that is not made yet.
//! Never fetches, never compiles: an image build does that, and the whole-image tests run first.

use nodeimg_cache::Cache;
use nodeimg_fetch::debs::FetchedDebs;
use nodeimg_plan::lock::{Lock, Set};
use nodeimg_tree::{Deb, ToolsTree, locked_debs};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of crun's own closure; the image has them, the tools tree does not.
const CRUN: [&str; 8] =
    ["crun", "libc6", "libcap2", "libgcc-s1", "libseccomp2", "libsystemd0", "libyajl2", "libzstd1"];

/// Says that a test is passed over, or what it leaves out.
pub fn skipped(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    // Not eprint!: libtest would keep it to itself, as the test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("NODEIMG_TEST_SKIPS") {
        let file = fs::File::options().append(true).create(true).open(path);
        let _ = file.and_then(|mut f| f.write_all(line.as_bytes()));
    }
}

/// A command for a program of the tools tree.
pub fn tool(test: &str, name: &str) -> Option<Command> {
    said(test, tools().and_then(|tools| tools.command(name).map_err(|e| e.to_string())))
}

/// A file of the tools tree.
pub fn tools_file(test: &str, path: &str) -> Option<PathBuf> {
    said(test, tools().and_then(|tools| tools.path(path).map_err(|e| e.to_string())))
}

/// Compiled programs of the payload, as links side by side in `folder`.
pub fn payload(test: &str, names: &[&str], folder: &Path) -> Option<()> {
    let place = || {
        let cache = cache()?;
        for name in names {
            let program = nodeimg_payload::cached_program(&cache, name)
                .ok_or_else(|| format!("\"{name}\" is not compiled yet (nodeimg build does that)"))?;
            symlink(program, folder.join(name)).map_err(|e| e.to_string())?;
        }
        Ok(())
    };
    said(test, place())
}

/// The locked crun, behind a script in `folder` that runs it through its own loader.
pub fn crun(test: &str, folder: &Path) -> Option<PathBuf> {
    let make = || {
        let (lock, cache) = (lock()?, cache()?);
        let mut debs = debs(&lock, &cache, Set::Image)?;
        debs.retain(|deb| CRUN.contains(&deb.name.as_str()));
        let (tree, _) = ToolsTree::from_debs(&cache, &debs).map_err(|e| e.to_string())?;
        let command = tree.command("crun").map_err(|e| e.to_string())?;
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
        let words: Vec<String> =
            std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let script = folder.join("crun");
        fs::write(&script, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))
            .map_err(|e| e.to_string())?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        Ok(script)
    };
    said(test, make())
}

fn said<T>(test: &str, found: Result<T, String>) -> Option<T> {
    found.map_err(|why| skipped(test, why.lines().next().unwrap_or_default())).ok()
}

fn tools() -> Result<ToolsTree, String> {
    let (lock, cache) = (lock()?, cache()?);
    let (tools, _) =
        ToolsTree::from_debs(&cache, &debs(&lock, &cache, Set::Tools)?).map_err(|e| e.to_string())?;
    Ok(tools)
}

fn debs(lock: &Lock, cache: &Cache, set: Set) -> Result<Vec<Deb>, String> {
    let fetched = FetchedDebs::cached(lock, cache)
        .ok_or("the cache lacks packages of the control plane's lock (nodeimg build fetches them)")?;
    Ok(locked_debs(lock, set, &fetched))
}

fn lock() -> Result<Lock, String> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/cplane.lock");
    let path = match std::env::var_os("NODEIMG_TEST_LOCKS").map(|dir| PathBuf::from(dir).join("cplane.lock"))
    {
        Some(renewed) if renewed.is_file() => renewed,
        _ => committed,
    };
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Lock::parse(&text, &path.display().to_string()).map_err(|e| e.to_string())
}

fn cache() -> Result<Cache, String> {
    let folder = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let root = match folder("NODEIMG_CACHE") {
        Some(root) => root,
        None => Cache::default_root(folder("XDG_CACHE_HOME"), folder("HOME")).map_err(|e| e.to_string())?,
    };
    Cache::open(root).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crun_runs_from_its_own_closure() {
        let folder = tempfile::tempdir().expect("temp folder");
        let Some(crun) = crun("crun_runs_from_its_own_closure", folder.path()) else { return };
        let said = Command::new(crun).arg("--version").output().expect("a script");
        assert!(
            String::from_utf8_lossy(&said.stdout).starts_with("crun version"),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }

    #[test]
    fn every_tool_that_a_test_takes_starts() {
        for name in ["mkfs.erofs", "dump.erofs", "veritysetup", "qemu-system-x86_64"] {
            let Some(mut tool) = tool(&format!("every_tool_that_a_test_takes_starts ({name})"), name) else {
                continue;
            };
            let said = tool.arg("--version").output().expect("the tree's loader");
            assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        }
    }
}
