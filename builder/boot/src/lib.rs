//! Sealed root to kernel, initramfs, command line and UKI.
//!
//! Takes a [`Sealed`] root (its hash goes into the command line), the tree it was made from (modules), a static
//! nodeinit and systemd's stub. Gives a [`BootSet`]. May touch the cache's folder; starts no program, needs no root.
//! The same inputs give the same bytes.

mod error;
mod initrd;
mod module_index;
pub mod uki;
mod wanted;

pub use error::BootError;

use initrd::Initrd;
use module_index::ModuleIndex;
use nodeimg_cache::{Cache, Origin, digest_text, sha256_file};
use nodeimg_contract::{cmdline, paths};
use nodeimg_progress::{Outcome, Progress};
use nodeimg_seal::Sealed;
use nodeimg_tree::{Content, Kind, RootTree, TreePath};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Counts up when the way in which a boot set is made changes.
const ENTRY_VERSION: u32 = 1;
const OS_RELEASE: &str = "usr/lib/os-release";

/// What a boot set is made from, beside the sealed root.
#[derive(Debug, Clone, Copy)]
pub struct BootInputs<'a> {
    /// The tree that was sealed: modules, their index and os-release come from it.
    pub tree: &'a RootTree,
    /// Kernel release (the folder below `/usr/lib/modules`).
    pub release: &'a str,
    /// The kernel (bzImage).
    pub vmlinuz: &'a Content,
    /// Static nodeinit for x86-64.
    pub nodeinit: &'a Path,
    /// systemd's `linuxx64.efi.stub`.
    pub stub: &'a Path,
    /// Seconds since 1970.
    pub epoch: u64,
}

/// What firmware or a boot loader starts.
#[derive(Debug, Clone)]
pub struct BootSet {
    dir: PathBuf,
    cmdline: String,
    identity: String,
}

impl BootSet {
    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }
    /// The initramfs, a newc archive under zstd.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }
    /// The kernel's command line, without a line end.
    pub fn cmdline(&self) -> &str {
        &self.cmdline
    }
    /// The UKI.
    pub fn uki(&self) -> PathBuf {
        self.dir.join("uki.efi")
    }
    /// Names the inputs; two boot sets with one identity are the same bytes.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Makes the boot set of `sealed`, or finds it in the cache.
    pub fn make(
        sealed: &Sealed,
        inputs: &BootInputs<'_>,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Self, BootError> {
        let step = progress.step("boot set");
        let cmdline = cmdline::sealed(&sealed.root_hash());
        let identity = identity(sealed, inputs)?;
        let (dir, origin) = cache.entry("boot", &identity, |fresh| -> Result<(), BootError> {
            make_entry(inputs, &cmdline, fresh)
        })?;
        let set = Self { dir, cmdline, identity };
        for path in [set.kernel(), set.initrd(), set.uki()] {
            if fs::metadata(&path).map_or(0, |m| m.len()) == 0 {
                let why = format!("\"{}\" is not there", path.display());
                return Err(BootError::BrokenEntry { path: set.dir, why });
            }
        }
        step.finish(if origin == Origin::Cached { Outcome::Cached } else { Outcome::Built });
        Ok(set)
    }
}

/// The root hash stands for all that comes from the tree.
fn identity(sealed: &Sealed, inputs: &BootInputs<'_>) -> Result<String, BootError> {
    let file = |path: &Path| {
        sha256_file(path).map_err(|source| BootError::Io { action: "read", path: path.to_owned(), source })
    };
    let kernel = match inputs.vmlinuz {
        Content::Bytes(bytes) => hex::encode(Sha256::digest(bytes)),
        Content::Path { path, .. } => file(path)?,
    };
    Ok(digest_text(&format!(
        "boot {ENTRY_VERSION}\n{}\n{}\n{kernel}\n{}\n{}\n{}\n{}\n{}",
        cmdline::sealed(&sealed.root_hash()),
        inputs.release,
        file(inputs.nodeinit)?,
        file(inputs.stub)?,
        inputs.epoch,
        wanted::WANTED.join(" "),
        wanted::UNWANTED.join(" "),
    )))
}

fn make_entry(inputs: &BootInputs<'_>, cmdline: &str, fresh: &Path) -> Result<(), BootError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BootError::Io { action, path, source }
    };
    fs::create_dir(fresh).map_err(io("create", fresh))?;
    let linux = inputs.vmlinuz.read().map_err(|source| match inputs.vmlinuz {
        Content::Path { path, .. } => BootError::Io { action: "read", path: path.clone(), source },
        Content::Bytes(_) => BootError::Io { action: "read", path: "vmlinuz".into(), source },
    })?;
    let stub = fs::read(inputs.stub).map_err(io("read", inputs.stub))?;
    let initrd = initramfs(inputs)?;
    let os_release = read_tree(inputs.tree, OS_RELEASE, "the package base-files must be in the image")?;
    let uki = uki::assemble(
        &stub,
        &uki::Parts {
            os_release: &os_release,
            uname: inputs.release,
            cmdline,
            initrd: &initrd,
            linux: &linux,
        },
    )?;
    for (name, bytes) in [("vmlinuz", &linux), ("initrd", &initrd), ("uki.efi", &uki)] {
        let path = fresh.join(name);
        fs::write(&path, bytes).map_err(io("write", &path))?;
        fs::File::open(&path).and_then(|f| f.sync_data()).map_err(io("flush", &path))?;
    }
    Ok(())
}

/// The initramfs under zstd.
fn initramfs(inputs: &BootInputs<'_>) -> Result<Vec<u8>, BootError> {
    const DEPMOD: &str = "depmod must have run on the tree before it was sealed";
    let base = format!("usr/lib/modules/{}", inputs.release);
    let text = |name: &str| {
        read_tree(inputs.tree, &format!("{base}/{name}"), DEPMOD)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let index = ModuleIndex::parse(
        &text("modules.dep")?,
        &text("modules.softdep")?,
        &text("modules.alias")?,
        &text("modules.builtin")?,
    );
    for name in wanted::REQUIRED {
        if !index.provides(name) {
            return Err(BootError::NoModule { release: inputs.release.to_owned(), name });
        }
    }
    let taken = index.closure(wanted::WANTED, wanted::UNWANTED);
    let mut initrd = Initrd::skeleton();
    let nodeinit = fs::read(inputs.nodeinit).map_err(|source| BootError::Io {
        action: "read",
        path: inputs.nodeinit.into(),
        source,
    })?;
    initrd.file("init", nodeinit, 0o755);
    for path in &taken {
        let bytes = read_tree(inputs.tree, &format!("{base}/{path}"), DEPMOD)?;
        initrd.file(&format!("{base}/{path}"), bytes, 0o644);
    }
    for (name, text) in [
        ("modules.dep", index.dep_text(&taken)),
        ("modules.softdep", index.softdep_text(&taken)),
        ("modules.alias", index.alias_text(&taken)),
        ("modules.builtin", text("modules.builtin")?),
    ] {
        initrd.file(&format!("{base}/{name}"), text.into_bytes(), 0o644);
    }
    let os_release = read_tree(inputs.tree, OS_RELEASE, "the package base-files must be in the image")?;
    initrd.file("etc/initrd-release", os_release, 0o644);
    if let Ok(manifest) = read_tree(inputs.tree, paths::ROOT_MANIFEST, "") {
        initrd.file(paths::ROOT_MANIFEST.trim_start_matches('/'), manifest, 0o644);
    }
    initrd.compressed(inputs.epoch)
}

fn read_tree(tree: &RootTree, path: &str, help: &'static str) -> Result<Vec<u8>, BootError> {
    let missing = || BootError::Missing { path: path.trim_start_matches('/').to_owned(), help };
    let at = TreePath::parse(path).map_err(|_| missing())?;
    match tree.get(&at).map(|e| &e.kind) {
        Some(Kind::File(content)) => content.read().map_err(|source| match content {
            Content::Path { path, .. } => BootError::Io { action: "read", path: path.clone(), source },
            Content::Bytes(_) => BootError::Io { action: "read", path: path.into(), source },
        }),
        _ => Err(missing()),
    }
}
