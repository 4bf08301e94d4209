//! Kubernetes from source, and the container images made of it.
//!
//! Takes: a lock, the tools tree with Debian's Go, the tree of Debian packages for images, the user's settings for
//! fetching Go modules. Gives: a [`Payload`], compiled programs and finished images; nothing in it tells which origin it
//! came from. May touch: the cache; the network only through Go, to fetch what go.sum and the checksum database pin.
//! Never compiles with another toolchain than the pinned one, never writes into `payload/`.
//!
//! The order of the modules: [`description`] (payload.toml) · [`data`] (the embedded folder) · [`toolchain`] ·
//! [`compile`] · [`images`] (with [`elf`], [`layer`], [`oci`]) · [`required`].

mod compile;
mod data;
mod description;
mod elf;
mod error;
mod go;
mod images;
mod layer;
mod oci;
mod required;
mod run;
mod toolchain;

use std::collections::{BTreeMap, BTreeSet};

use nodeimg_cache::{Cache, Origin};
use nodeimg_contract::image::Role;
use nodeimg_plan::lock::Lock;
use nodeimg_progress::{Outcome, Progress};
use nodeimg_tree::RootTree;

pub use compile::Program;
pub use data::Data;
pub use description::{
    Description, DescriptionError, ImageSpec, ModuleSpec, ProgramSpec, ToolchainPin, WantedBy,
};
pub use elf::ElfError;
pub use error::PayloadError;
pub use go::FetchSettings;
pub use images::Image;
pub use layer::write_tar;
pub use required::{Required, by_manifest};
pub use toolchain::Bootstrap;

/// The repository of every image that kubeadm names; it goes into kubeadm's `imageRepository`.
pub const IMAGE_REPOSITORY: &str = "nodeimg.invalid/k8s";

/// The Kubernetes side of an image. Whatever its origin, it looks like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Version of Kubernetes, without `v`.
    pub kubernetes: String,
    /// kubeadm's `imageRepository`.
    pub image_repository: String,
    /// Sorted by name. Those with a place on the node go into its root; the others are in images.
    pub programs: Vec<Program>,
    /// Sorted by name.
    pub images: Vec<Image>,
    /// Repository and tag of images that nodes of other roles run: kubeadm names them, this node does not.
    pub left_out: Vec<String>,
}

impl Payload {
    /// The programs of the node's root, with their places.
    pub fn node_programs(&self) -> impl Iterator<Item = (&str, &Program)> {
        self.programs.iter().filter_map(|program| Some((program.node.as_deref()?, program)))
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The tag of kubeadm's image `name` (`coredns`, `etcd`, `pause`).
    pub fn image_tag(&self, name: &str) -> Option<&str> {
        let prefix = format!("{}/{name}:", self.image_repository);
        self.images.iter().find_map(|image| image.name.strip_prefix(&prefix))
    }

    /// Name -> version, without `v`, of everything but Kubernetes itself (containerd, etcd, …), for `image.json`.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let version = |program: &Program| program.version.trim_start_matches('v').to_owned();
        let others = self.programs.iter().filter(|program| version(program) != self.kubernetes);
        others.map(|program| (program.name.clone(), version(program))).collect()
    }

    /// Fails when kubeadm's own list or one of `manifests` (name, text) names an image that is not here.
    pub fn check_images(&self, manifests: &[(&str, &str)]) -> Result<(), PayloadError> {
        let version = format!("v{}", self.kubernetes);
        let mut required = match self.program("kubeadm") {
            Some(kubeadm) => required::by_kubeadm(&kubeadm.path, &version, &self.image_repository)?,
            None => Vec::new(),
        };
        required.retain(|image| !self.left_out.contains(&image.reference));
        required.extend(manifests.iter().flat_map(|(name, text)| by_manifest(name, text)));
        let baked: Vec<&str> = self.images.iter().map(|image| image.name.as_str()).collect();
        required::check(&required, &baked)
    }
}

/// A program of the embedded payload, when it has been compiled and the cache still has it.
pub fn cached_program(cache: &Cache, name: &str) -> Option<std::path::PathBuf> {
    let data = Data::embedded().ok()?;
    let (module, program) = data.description.program(name)?;
    let folder = compile::entry_folder(cache, &data.program_key(module, program));
    Some(folder.join(name)).filter(|path| path.is_file())
}

/// What the origin `source` needs.
pub struct Source<'a> {
    /// Where everything is kept.
    pub cache: &'a Cache,
    /// Who is told.
    pub progress: &'a Progress,
    /// Names the toolchain and the modules; must agree with the embedded data.
    pub lock: &'a Lock,
    /// Seconds since 1970 that every file of an image is dated with.
    pub source_date_epoch: u64,
    /// Debian's Go of the tools tree.
    pub bootstrap: &'a Bootstrap,
    /// Unpacked Debian packages of the set `nft`.
    pub nft: &'a RootTree,
    /// How Go fetches modules.
    pub settings: FetchSettings,
    /// Whose images are wanted; the programs of the node always are.
    pub images: &'a BTreeSet<WantedBy>,
    /// Of the node: what other roles run is not made.
    pub role: Role,
}

impl Source<'_> {
    /// Compiles what is not in the cache, and makes the images.
    pub fn payload(self) -> Result<Payload, PayloadError> {
        let data = Data::embedded()?;
        data.check_lock(self.lock)?;
        let description = &data.description;
        let wanted = description.images.iter().filter(|image| self.images.contains(&image.wanted_by));
        let (specs, others): (Vec<&ImageSpec>, Vec<_>) = wanted.partition(|image| image.is_for(self.role));
        let all_programs = description.modules.iter().flat_map(|module| &module.programs);
        let on_node = all_programs
            .filter(|program| program.node_of(self.role).is_some())
            .map(|program| program.name.as_str());
        let in_images = specs.iter().flat_map(|image| image.programs.keys().map(String::as_str));
        let names: BTreeSet<&str> = on_node.chain(in_images).collect();

        let (cache, progress) = (self.cache, self.progress);
        let go = go::Go::new(&cache.root().join("go"), self.settings);
        let programs =
            compile::Compiler { cache, progress, go, bootstrap: self.bootstrap }.programs(&data, &names)?;
        let step = progress.step("container images");
        let mut outcome = Outcome::Cached;
        let mut images = Vec::with_capacity(specs.len());
        for spec in specs {
            let (image, origin) = images::image(spec, &programs, self.nft, self.source_date_epoch, cache)?;
            if origin == Origin::Made {
                outcome = Outcome::Built;
            }
            step.add(image.layer_size);
            images.push(image);
        }
        step.finish(outcome);
        images.sort_by(|a, b| a.name.cmp(&b.name));

        let kubernetes = description.modules.iter().find(|module| module.path == "k8s.io/kubernetes");
        let kubernetes =
            kubernetes.map(|module| module.version.trim_start_matches('v').to_owned()).unwrap_or_default();
        let on_this_node = |program: &Program| {
            description
                .program(&program.name)
                .and_then(|(_, spec)| spec.node_of(self.role))
                .map(str::to_owned)
        };
        let programs = programs
            .into_values()
            .map(|program| Program { node: on_this_node(&program), ..program })
            .collect();
        Ok(Payload {
            kubernetes,
            image_repository: IMAGE_REPOSITORY.to_owned(),
            programs,
            images,
            left_out: others.into_iter().map(ImageSpec::reference).collect(),
        })
    }
}
