//! Packages, payload and the project's folders to a root tree.

use super::{Builder, Locked};
use crate::failure::Failure;
use crate::nodeinit::Nodeinit;
use nodeimg_contract::image::RootManifest;
use nodeimg_payload::Payload;
use nodeimg_plan::lock::Set;
use nodeimg_progress::Outcome;
use nodeimg_tree::root::{Assembled, NodeProgram, RootInputs, assemble};
use nodeimg_tree::{Deb, ToolsTree, addon_dir};

/// The root tree and what goes into it.
pub struct Assembling<'a> {
    pub builder: &'a Builder<'a>,
    pub locked: &'a Locked,
    pub payload: &'a Payload,
    pub nodeinit: &'a Nodeinit,
    pub epoch: u64,
}

impl Assembling<'_> {
    /// Checks that every image that is named is baked, and assembles.
    pub fn root(&self, packages: &[Deb], tools: &ToolsTree) -> Result<Assembled, Failure> {
        let (builder, profile) = (self.builder, &self.locked.profile);
        let manifests = builder.manifests(profile)?;
        let mut named: Vec<_> = manifests.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let extra: String = profile.extra_images.iter().map(|image| format!("image: {image}\n")).collect();
        named.push(("the profile's [images] extra", &extra));
        self.payload.check_images(&named)?;
        let step = builder.progress.step("image store");
        let (store, _) = nodeimg_store::bake(&self.payload.images, self.epoch)?;
        step.finish(Outcome::Built);
        let programs: Vec<_> = self
            .payload
            .node_programs()
            .map(|(to, program)| NodeProgram { file: &program.path, to })
            .collect();
        let addons: Vec<_> = profile
            .addons
            .iter()
            .map(|name| (name.clone(), addon_dir(&builder.project.folder, name)))
            .collect();
        let folder = &builder.project.folder;
        let static_pods = profile.static_pods.as_ref().map(|dir| folder.join(dir));
        let overlays: Vec<_> = profile.overlays.iter().map(|dir| folder.join(dir)).collect();
        Ok(assemble(RootInputs {
            cache: builder.cache,
            tools,
            packages,
            exclude: &profile.os.exclude,
            programs: &programs,
            nodeinit: &self.nodeinit.path,
            store: &store,
            addons: &addons,
            static_pods: static_pods.as_deref(),
            overlays: &overlays,
            manifest: &self.manifest(),
            progress: builder.progress,
        })?)
    }

    fn manifest(&self) -> RootManifest {
        let payload = self.payload;
        let tag = |name: &str| Some((name.to_owned(), payload.image_tag(name)?.to_owned()));
        let mut versions = payload.versions();
        for package in self.locked.lock.set(Set::Image) {
            if ["crun", "udev", "nftables"].contains(&package.name.as_str()) {
                versions.insert(package.name.clone(), package.version.clone());
            }
        }
        RootManifest {
            schema: 1,
            profile: self.builder.project.name.clone(),
            role: self.locked.profile.role,
            source_date_epoch: self.epoch,
            suite: self.locked.lock.suite.clone(),
            kernel: String::new(),
            kubernetes: payload.kubernetes.clone(),
            image_repository: payload.image_repository.clone(),
            image_tags: ["coredns", "etcd", "pause"].into_iter().filter_map(tag).collect(),
            versions,
            nodeinit: self.nodeinit.sha256.clone(),
            addons: self.locked.profile.addons.clone(),
        }
    }
}
