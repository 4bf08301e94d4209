//! Kernel modules, loaded by name or by what a device says of itself.
//!
//! Takes modaliases and names, decides by `init-core`'s index, loads files of `/usr/lib/modules/RELEASE`. May touch: the
//! kernel's list of modules. Never unloads one.

use nodeimg_init_core::modalias::{ModuleIndex, module_name};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`: the kernel decompresses the file itself.
const COMPRESSED: libc::c_int = 4;
/// Folders below `/sys/devices` are visited no deeper than this.
const MAX_DEPTH: usize = 24;

/// The index of the running kernel and what was loaded.
pub struct Modules {
    folder: PathBuf,
    index: ModuleIndex,
    seen: BTreeSet<String>,
    done: BTreeSet<String>,
}

/// A module that could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// Neither a file nor built in.
    #[error("module \"{0}\" is not part of this image")]
    Unknown(String),
    /// The kernel refused.
    #[error("module \"{name}\" could not be loaded: {source}")]
    Load {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Modules {
    /// Reads depmod's files of the running kernel. Without them nothing can be loaded, and everything must be built in.
    pub fn of_running_kernel() -> Self {
        Self::read(true)
    }

    /// As [`Modules::of_running_kernel`], for loading by name alone: the list of aliases is long, and devices are udev's
    /// by now.
    pub fn by_name() -> Self {
        Self::read(false)
    }

    fn read(with_aliases: bool) -> Self {
        let release = nix::sys::utsname::uname()
            .map(|u| u.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let folder = PathBuf::from("/usr/lib/modules").join(release);
        let read = |name: &str| {
            let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let index = ModuleIndex::parse(
            &if with_aliases { read("modules.alias") } else { String::new() },
            &read("modules.dep"),
            &read("modules.softdep"),
            &read("modules.builtin"),
        );
        Self { folder, index, seen: BTreeSet::new(), done: BTreeSet::new() }
    }

    /// Loads a module and what it needs; nothing when it is built in or loaded already.
    pub fn load(&mut self, name: &str) -> Result<(), ModuleError> {
        let name = module_name(name);
        if self.index.is_builtin(&name) || self.done.contains(&name) {
            return Ok(());
        }
        let files: Vec<(String, PathBuf)> =
            self.index.closure(&name).into_iter().map(|(n, path)| (n, self.folder.join(path))).collect();
        if files.is_empty() {
            return Err(ModuleError::Unknown(name));
        }
        let mut result = Ok(());
        for (module, path) in files {
            if self.done.contains(&module) {
                continue;
            }
            match insert(&path) {
                Ok(()) => {
                    self.done.insert(module);
                }
                // A soft dependency that fails is no reason to stop; the module itself says so below.
                Err(source) if module != name => result = Err(ModuleError::Load { name: module, source }),
                Err(source) => return Err(ModuleError::Load { name: module, source }),
            }
        }
        if self.done.contains(&name) { Ok(()) } else { result }
    }

    /// Loads the drivers of one device; true when a module came to be loaded. A driver that fails is the device's
    /// problem: whoever waits for the device says what is missing.
    pub fn load_for(&mut self, modalias: &str) -> bool {
        let modalias = modalias.trim();
        // A CPU's drivers only make things faster: udev loads them later.
        if modalias.is_empty() || modalias.starts_with("cpu:") || !self.seen.insert(modalias.to_owned()) {
            return false;
        }
        let names: Vec<String> = self.index.matching(modalias).into_iter().map(str::to_owned).collect();
        let before = self.done.len();
        for name in names {
            let _ = self.load(&name);
        }
        self.done.len() > before
    }

    /// Loads the drivers of every device that the kernel knows now, until no new device appears.
    pub fn load_for_all(&mut self) {
        for _ in 0..8 {
            let mut aliases = Vec::new();
            collect(Path::new("/sys/devices"), 0, &mut aliases);
            let mut any = false;
            for alias in aliases {
                any |= self.load_for(&alias);
            }
            if !any {
                break;
            }
        }
    }
}

fn collect(folder: &Path, depth: usize, aliases: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), depth + 1, aliases),
            Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                aliases.extend(std::fs::read_to_string(entry.path()));
            }
            _ => {}
        }
    }
}

fn insert(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let compressed = path.extension().is_some_and(|e| e == "xz" || e == "zst" || e == "gz");
    let parameters = CString::default();
    // SAFETY: both arguments are valid for the call: an open file and a string that ends in NUL.
    let done = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            parameters.as_ptr(),
            if compressed { COMPRESSED } else { 0 },
        )
    };
    match nix::errno::Errno::result(done) {
        Ok(_) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
