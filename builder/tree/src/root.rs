//! The root tree: a node's whole file system as a value, before it is sealed.
//!
//! Takes unpacked packages of the image's set, node programs, nodeinit, the image store's tree, folders of the project.
//! Gives the tree and its kernel. Touches the cache, reads the project's folders, runs depmod. Never runs a maintainer
//! script and never needs a privilege: owners and modes are facts in the tree, not on this machine.
//!
//! Order, later on top: packages without what is excluded · module dependency files · node programs · add-ons, static
//! pods, overlays · what scripts would have made · nodeinit, the store, `root.json`.

mod accounts;
pub mod exclude;
mod generated;
mod modules;
mod overlay;

use crate::digest::DigestError;
use crate::file_error::{FileError, failed};
use crate::kernel::{self, Kernel, KernelError};
use crate::materialise::MaterialiseError;
use crate::merge::{self, MergeError};
use crate::model::{BadPath, Content, Entry, Kind, Part, RootTree, TreePath};
use crate::tools::{ToolsError, ToolsTree};
use crate::unpack::{self, Deb, UnpackError};
use exclude::{BadGlob, Excludes};
use nodeimg_cache::{Cache, CacheError, Origin};
use nodeimg_contract::image::RootManifest;
use nodeimg_contract::paths::{ADDONS, NODEINIT, ROOT_MANIFEST, STATIC_PODS};
use nodeimg_progress::{Outcome, Progress};
use std::io;
use std::path::{Path, PathBuf};

pub use accounts::BadDeclaration;

/// Everything that a root is made of.
#[derive(Clone, Copy)]
pub struct RootInputs<'a> {
    /// Where unpacked packages lie.
    pub cache: &'a Cache,
    /// Brings depmod.
    pub tools: &'a ToolsTree,
    /// The packages of the image, in the lock's order.
    pub packages: &'a [Deb],
    /// The profile's globs on top of [`exclude::DEFAULT`].
    pub exclude: &'a [String],
    /// The payload's programs.
    pub programs: &'a [NodeProgram<'a>],
    /// The static nodeinit binary.
    pub nodeinit: &'a Path,
    /// Entries below [`nodeimg_contract::paths::STORE`], with full paths.
    pub store: &'a RootTree,
    /// Add-ons by name, each with its folder.
    pub addons: &'a [(String, PathBuf)],
    /// Folder of static-pod manifests.
    pub static_pods: Option<&'a Path>,
    /// Folders laid over, the last one on top.
    pub overlays: &'a [PathBuf],
    /// What becomes `root.json`; `kernel` is filled in here.
    pub manifest: &'a RootManifest,
    /// Hears about the step `root tree`.
    pub progress: &'a Progress,
}

/// A program of the payload and its place on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeProgram<'a> {
    /// The file, which does not change.
    pub file: &'a Path,
    /// Where it goes, for example `/usr/bin/kubelet` or `/opt/cni/bin/bridge`.
    pub to: &'a str,
}

/// A finished root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The root.
    pub tree: RootTree,
    /// Its kernel, which goes into the boot set; the sealed root does not carry it.
    pub kernel: Kernel,
    /// What was baked as `root.json`.
    pub manifest: RootManifest,
}

/// A root that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A package.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Packages, programs, folders that do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// No kernel, or several.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// depmod is missing.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// Writing the modules for depmod.
    #[error(transparent)]
    Materialise(#[from] MaterialiseError),
    /// Reading contents.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A path that leaves the tree.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// The profile's globs.
    #[error(transparent)]
    Glob(#[from] BadGlob),
    /// A sysusers.d file.
    #[error(transparent)]
    Declaration(#[from] BadDeclaration),
    /// depmod failed.
    #[error("depmod failed ({status}): {said}")]
    Depmod {
        /// How it ended.
        status: String,
        /// The beginning of what it said.
        said: String,
    },
    /// A folder that the profile names is not there.
    #[error("there is no folder \"{}\"\nhelp: make it, or take it out of the profile", path.display())]
    NoFolder {
        /// Which.
        path: PathBuf,
    },
    /// A file of an overlay.
    #[error("\"{}\" cannot be laid over the root: {what}\nhelp: move or remove that file", path.display())]
    Overlay {
        /// Which.
        path: PathBuf,
        /// Why not.
        what: &'static str,
    },
    /// Shared libraries.
    #[error("cannot read the root's shared libraries")]
    Libraries {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file system said no.
    #[error(transparent)]
    File(#[from] FileError),
}

impl RootError {
    fn content(content: &Content, source: io::Error) -> Self {
        let path = match content {
            Content::Path { path, .. } => path.clone(),
            Content::Bytes(_) => PathBuf::from("(memory)"),
        };
        FileError { action: "read", path, source }.into()
    }
}

/// Makes the root.
pub fn assemble(inputs: RootInputs<'_>) -> Result<Assembled, RootError> {
    let step = inputs.progress.step("root tree");
    let (mut tree, unpacked) = packages(&inputs)?;
    let kernel = kernel::find(&tree)?;
    // /boot, /var and friends are mounted over; what packages put there would only take room.
    tree.retain(|path, _| !["boot/", "var/", "run/", "tmp/"].iter().any(|p| path.as_str().starts_with(p)));
    without_set_id(&mut tree);
    let indexed = modules::index(&mut tree, &kernel.release, inputs.tools, inputs.cache)?;
    for program in inputs.programs {
        program_at(&mut tree, program.file, program.to)?;
    }
    for (name, folder) in inputs.addons {
        overlay::lay(&mut tree, folder, &TreePath::parse(ADDONS)?.join(name)?, inputs.cache)?;
    }
    if let Some(folder) = inputs.static_pods {
        overlay::lay(&mut tree, folder, &TreePath::parse(STATIC_PODS)?, inputs.cache)?;
    }
    for folder in inputs.overlays {
        overlay::lay(&mut tree, folder, &TreePath::root(), inputs.cache)?;
    }
    program_at(&mut tree, inputs.nodeinit, NODEINIT)?;
    let manifest = RootManifest { kernel: kernel.release.clone(), ..inputs.manifest.clone() };
    generated::add(&mut tree, &manifest)?;
    for (path, entry) in inputs.store.iter().filter(|(p, _)| !p.as_str().is_empty()) {
        let known_folder = entry.kind == Kind::Dir && tree.get(path).is_some_and(|e| e.kind == Kind::Dir);
        if !known_folder {
            merge::place(&mut tree, path.clone(), entry.clone(), "the image store")?;
        }
    }
    let json = serde_json::to_vec_pretty(&manifest).map_err(failed("write", Path::new(ROOT_MANIFEST)))?;
    tree.insert(TreePath::parse(ROOT_MANIFEST)?, Entry::file(json, 0o644, Part::Config));
    let cached = unpacked == Origin::Cached && indexed == Origin::Cached;
    step.finish(if cached { Outcome::Cached } else { Outcome::Built });
    Ok(Assembled { tree, kernel, manifest })
}

fn packages(inputs: &RootInputs<'_>) -> Result<(RootTree, Origin), RootError> {
    let excludes = Excludes::new(inputs.exclude)?;
    let made = std::sync::atomic::AtomicBool::new(false);
    let unpacked = unpack::debs(inputs.cache, inputs.packages, &|_, origin| {
        if origin == Origin::Made {
            made.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    })?;
    let tree = merge::packages(&unpacked, &|path| excludes.keeps(path))?;
    Ok((tree, if made.into_inner() { Origin::Made } else { Origin::Cached }))
}

/// Everybody on a node is root already; a set-id program would only help somebody who should not be.
fn without_set_id(tree: &mut RootTree) {
    let with: Vec<TreePath> = tree
        .iter()
        .filter(|(_, e)| e.mode & 0o6000 != 0 && !matches!(e.kind, Kind::Dir))
        .map(|(p, _)| p.clone())
        .collect();
    for path in with {
        if let Some(entry) = tree.get_mut(&path) {
            entry.mode &= !0o6000;
        }
    }
}

fn program_at(tree: &mut RootTree, file: &Path, to: &str) -> Result<(), RootError> {
    let meta = std::fs::metadata(file).map_err(failed("read", file))?;
    let kind = Kind::File(Content::Path { path: file.to_owned(), size: meta.len() });
    let entry = Entry { kind, mode: 0o755, uid: 0, gid: 0, part: Part::Programs };
    merge::place(tree, TreePath::parse(to)?, entry, to)?;
    Ok(())
}
