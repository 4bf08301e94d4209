//! The tools tree: Debian packages with the programs that a build needs, as a folder in the cache.
//!
//! Takes the packages of set `tools`, gives commands that run through the tree's own `ld.so`, so that nothing is
//! installed and nothing of this machine's libraries is used. Writes the cache entry `tools/KEY` (KEY: the packages'
//! digests) and the packages' own. Runs nothing itself.

use crate::elf;
use crate::file_error::{FileError, failed};
use crate::materialise::{MaterialiseError, materialise};
use crate::merge::{self, MergeError};
use crate::sets::locked_debs;
use crate::unpack::{self, Deb, UnpackError};
use nodeimg_cache::{Cache, CacheError, Origin, digest_text};
use nodeimg_fetch::debs::FetchedDebs;
use nodeimg_plan::lock::{Lock, Set};
use nodeimg_progress::{Outcome, Progress};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version of how the folder is made; part of its key.
const LAYOUT: u32 = 1;
/// The tree's own loader.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
/// Where programs are looked for.
const PROGRAM_FOLDERS: [&str; 2] = ["usr/bin", "usr/sbin"];

/// A tools tree that cannot be made or does not hold what is asked for.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// A package.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Packages that do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Writing the folder.
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A program or file that no package of the set brought.
    #[error(
        "the tools tree has no \"{0}\"\nhelp: the lock's set `tools` lacks its package; renew the lock with --update"
    )]
    Missing(String),
    /// The file system said no.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Programs from locked packages, ready to run.
#[derive(Debug, Clone)]
pub struct ToolsTree {
    root: PathBuf,
    key: String,
    libraries: Vec<PathBuf>,
}

impl ToolsTree {
    /// The tree of the lock's set `tools`.
    pub fn prepare(
        cache: &Cache,
        lock: &Lock,
        debs: &FetchedDebs,
        progress: &Progress,
    ) -> Result<ToolsTree, ToolsError> {
        let step = progress.step("tools tree");
        let (tools, origin) = Self::from_debs(cache, &locked_debs(lock, Set::Tools, debs))?;
        step.finish(if origin == Origin::Cached { Outcome::Cached } else { Outcome::Built });
        Ok(tools)
    }

    /// The tree of these packages, made when the cache does not have it.
    pub fn from_debs(cache: &Cache, debs: &[Deb]) -> Result<(ToolsTree, Origin), ToolsError> {
        let mut digests: Vec<&str> = debs.iter().map(|d| d.sha256.as_str()).collect();
        digests.sort_unstable();
        let key = digest_text(&format!("tools {LAYOUT}\n{}", digests.join("\n")));
        let (root, origin) = cache.entry("tools", &key, |fresh| -> Result<(), ToolsError> {
            let unpacked = unpack::debs(cache, debs, &|_, _| ())?;
            Ok(materialise(&merge::packages(&unpacked, &crate::sets::of_use)?, fresh)?)
        })?;
        let libraries = library_folders(&root);
        Ok((ToolsTree { root, key, libraries }, origin))
    }

    /// What decides every byte of the tree: a part of the key of whatever its programs make.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The path of a file or folder of the tree, for example `usr/lib/systemd/boot/efi/linuxx64.efi.stub`.
    pub fn path(&self, relative: &str) -> Result<PathBuf, ToolsError> {
        let path = self.root.join(relative.trim_start_matches('/'));
        if path.exists() { Ok(path) } else { Err(ToolsError::Missing(relative.to_owned())) }
    }

    /// A command for a program of the tree, by name (`mkfs.erofs`, `depmod`, `qemu-system-x86_64`).
    ///
    /// Its environment is empty but for `LC_ALL=C`, `TZ=UTC0` and, where this process has it, `TMPDIR`; QEMU gets its
    /// firmware and module folders. A program that starts others by path does not find them: none of ours does.
    pub fn command(&self, name: &str) -> Result<Command, ToolsError> {
        let program = self.program(name)?;
        let mut command = self.through_loader(&program)?;
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC0");
        if let Some(folder) = std::env::var_os("TMPDIR") {
            command.env("TMPDIR", folder);
        }
        if name.starts_with("qemu-") {
            command.env("QEMU_MODULE_DIR", self.root.join("usr/lib/x86_64-linux-gnu/qemu"));
        }
        if name.starts_with("qemu-system-") {
            for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
                command.arg("-L").arg(self.root.join(data));
            }
        }
        Ok(command)
    }

    /// Debian's Go: the `go` program (statically linked, to be started directly) and its GOROOT.
    pub fn go(&self) -> Result<(PathBuf, PathBuf), ToolsError> {
        let lib = self.root.join("usr/lib");
        let list = fs::read_dir(&lib).map_err(failed("read", &lib))?;
        // By version: go-1.24 stands above go-1.9.
        let newest = list
            .flatten()
            .filter_map(|e| {
                let name = e.file_name().into_string().ok()?;
                let version: Vec<u32> =
                    name.strip_prefix("go-")?.split('.').map_while(|p| p.parse().ok()).collect();
                Some((version, e.path()))
            })
            .filter(|(_, path)| path.join("bin/go").is_file())
            .max();
        match newest {
            Some((_, root)) => Ok((root.join("bin/go"), root)),
            None => Err(ToolsError::Missing("usr/lib/go-*/bin/go".into())),
        }
    }

    fn program(&self, name: &str) -> Result<PathBuf, ToolsError> {
        let found = PROGRAM_FOLDERS.iter().map(|dir| self.root.join(dir).join(name)).find(|p| p.is_file());
        found.filter(|_| !name.contains('/')).ok_or_else(|| ToolsError::Missing(name.to_owned()))
    }

    fn through_loader(&self, program: &Path) -> Result<Command, ToolsError> {
        let facts = elf::facts(program).map_err(failed("read", program))?;
        let facts = match facts {
            Some(facts) if facts.interpreted => facts,
            _ => return Ok(Command::new(program)),
        };
        let mut folders = self.libraries.clone();
        // An absolute run path means a folder of the tree, not of this machine.
        folders.extend(facts.runpath.iter().filter_map(|p| Some(self.root.join(p.strip_prefix('/')?))));
        let mut library_path = OsString::new();
        for folder in &folders {
            if !library_path.is_empty() {
                library_path.push(":");
            }
            library_path.push(folder);
        }
        let mut command = Command::new(self.path(LOADER)?);
        // --inhibit-cache: a library that the tree lacks must be missed, not found on this machine.
        command.arg("--inhibit-cache").arg("--library-path").arg(library_path).arg(program);
        Ok(command)
    }
}

/// The folders where the tree's libraries lie: the usual ones, and those of `/etc/ld.so.conf.d`.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut names: Vec<String> =
        ["usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64"].map(str::to_owned).to_vec();
    let mut conf = BTreeSet::new();
    if let Ok(list) = fs::read_dir(root.join("etc/ld.so.conf.d")) {
        conf.extend(list.flatten().map(|e| e.path()));
    }
    for file in conf {
        names.extend(crate::ldcache::conf_folders(&fs::read_to_string(file).unwrap_or_default()));
    }
    let mut folders: Vec<PathBuf> = vec![];
    for name in names {
        let folder = root.join(name.trim_start_matches('/'));
        if folder.is_dir() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}
