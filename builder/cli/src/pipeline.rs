//! The flow of a build: profile, lock, fetch, root tree, seal, boot set, artifacts.
//!
//! Takes a project and settings, gives the finished image in its folder. Each stage is a value that only the stage
//! before can make; the order of this file is the order of the flow. When nothing changed since the image in the output
//! folder was made, no stage beyond the lock runs.

use crate::args::{ImageArgs, InputArgs};
use crate::failure::Failure;
use crate::files::write_atomically;
use crate::nodeinit::{self, Nodeinit};
use crate::project::Project;
use crate::settings::{self, LockMode};
use nodeimg_boot::{BootInputs, BootSet};
use nodeimg_cache::{Cache, Origin, digest_text};
use nodeimg_contract::image::ImageManifest;
use nodeimg_fetch::debs::{self, FetchedDebs};
use nodeimg_fetch::http::Client;
use nodeimg_fetch::mirror::{self, AptFolders, Mirror, Named};
use nodeimg_fetch::release::Keys;
use nodeimg_fetch::{Fetch, archive};
use nodeimg_output::Artifacts;
use nodeimg_payload::{Bootstrap, FetchSettings, Payload, Source, WantedBy};
use nodeimg_plan::debian::{lock_inputs, resolve_lock};
use nodeimg_plan::lock::{Lock, Set};
use nodeimg_plan::profile::{Format, Profile};
use nodeimg_progress::{Outcome, Progress};
use nodeimg_seal::MkfsErofs;
use nodeimg_tree::{RootTree, ToolsTree, addon_dir, locked_debs, project_dirs};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

mod assembling;
mod unchanged;

use assembling::Assembling;
use unchanged::INPUTS;

/// What every stage uses.
pub struct Builder<'a> {
    pub cache: &'a Cache,
    pub progress: &'a Progress,
    pub project: &'a Project,
    pub input: &'a InputArgs,
    client: Client,
}

/// A profile with a lock that fits it.
pub struct Locked {
    pub profile: Profile,
    pub profile_sha256: String,
    pub lock: Lock,
    pub lock_sha256: String,
}

/// An image in the output folder.
pub struct Built {
    /// `OUT/NAME`.
    pub folder: PathBuf,
    pub manifest: ImageManifest,
    /// Whether it was there already.
    pub unchanged: bool,
}

impl<'a> Builder<'a> {
    /// For one project.
    pub fn new(cache: &'a Cache, progress: &'a Progress, project: &'a Project, input: &'a InputArgs) -> Self {
        Self { cache, progress, project, input, client: Client::from_environment() }
    }

    /// Reads the profile.
    pub fn profile(&self) -> Result<(Profile, String), Failure> {
        let path = &self.project.profile;
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::because(
                format!("cannot read the profile \"{}\"", path.display()),
                e,
                "give a readable TOML file",
            )
        })?;
        let shown = path.strip_prefix(&self.project.folder).unwrap_or(path).display().to_string();
        Ok((Profile::parse(&text, &shown)?, digest_text(&text)))
    }

    /// The mirror that the flag, the environment, the profile or this machine's apt names. Asked for only when
    /// something must be fetched.
    fn mirror(&self, profile: &Profile) -> Result<Mirror, Failure> {
        let environment = std::env::var("NODEIMG_MIRROR").ok();
        let named = Named {
            flag: self.input.mirror.as_deref(),
            environment: environment.as_deref(),
            profile: profile.os.mirror.as_deref(),
        };
        Ok(mirror::discover(named, &AptFolders::of(Path::new("/")), &self.client)?)
    }

    fn fetch(&self) -> Fetch<'_> {
        Fetch { client: &self.client, cache: self.cache, progress: self.progress }
    }

    /// Where the lock is.
    pub fn lock_path(&self) -> PathBuf {
        self.input.lock_file.clone().unwrap_or_else(|| self.project.lock())
    }

    /// Profile to lock.
    pub fn locked(&self, mode: LockMode) -> Result<Locked, Failure> {
        let (profile, profile_sha256) = self.profile()?;
        let path = self.lock_path();
        let (go, modules) = nodeimg_payload::Data::embedded()?.locked();
        profile.check_payload(&modules)?;
        let inputs = lock_inputs(&profile, &modules, Some(&go));
        let present = match std::fs::read_to_string(&path) {
            Ok(text) => Some(Lock::parse(&text, &path.display().to_string())?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                let sentence = format!("cannot read the lock \"{}\"", path.display());
                return Err(Failure::because(sentence, e, "make the file readable, or remove it"));
            }
        };
        let lock = match (present, mode) {
            (Some(lock), LockMode::Write | LockMode::Locked) if lock.inputs == inputs => lock,
            (present, LockMode::Locked) => {
                let what = if present.is_some() { "does not fit the profile" } else { "is missing" };
                let elsewhere = self.input.lock_file.as_ref();
                let elsewhere =
                    elsewhere.map_or(String::new(), |file| format!("--lock-file {} ", file.display()));
                return Err(Failure::new(
                    format!("the lock \"{}\" {what}, and this run must not write it", path.display()),
                    format!("run: nodeimg lock {elsewhere}{}", self.project.profile.display()),
                ));
            }
            _ => {
                let step = self.progress.step("lock");
                let mirror = self.mirror(&profile)?;
                let indexes = archive::indexes(
                    self.fetch(),
                    &mirror,
                    profile.os.suite,
                    &profile.os.components,
                    &Keys::debian(),
                    jiff::Timestamp::now(),
                )?;
                let lock = resolve_lock(&profile, &indexes, modules, Some(go))?;
                write_atomically(&path, lock.render().as_bytes())?;
                step.finish(Outcome::Built);
                lock
            }
        };
        let lock_sha256 = digest_text(&lock.render());
        Ok(Locked { profile, profile_sha256, lock, lock_sha256 })
    }

    /// Locked .debs to files in the cache.
    pub fn fetched(&self, locked: &Locked) -> Result<FetchedDebs, Failure> {
        // With all of them in the cache no mirror need be known.
        if let Some(all) = FetchedDebs::cached(&locked.lock, self.cache) {
            self.progress.step("Debian packages").finish(Outcome::Cached);
            return Ok(all);
        }
        let mirror = self.mirror(&locked.profile)?;
        let profile = self.project.profile.display().to_string();
        Ok(debs::debs(self.fetch(), &mirror, &locked.lock, &profile)?)
    }

    /// The programs that a build and a virtual machine run.
    pub fn tools(&self, locked: &Locked, debs: &FetchedDebs) -> Result<ToolsTree, Failure> {
        let step = self.progress.step("tools");
        let (tools, origin) = ToolsTree::from_debs(self.cache, &locked_debs(&locked.lock, Set::Tools, debs))?;
        step.finish(if origin == Origin::Cached { Outcome::Cached } else { Outcome::Built });
        Ok(tools)
    }

    fn payload(
        &self,
        locked: &Locked,
        tools: &ToolsTree,
        nft: &RootTree,
        epoch: u64,
    ) -> Result<Payload, Failure> {
        let (go, goroot) = tools.go()?;
        let mut images = BTreeSet::from([WantedBy::Kubeadm, WantedBy::Tests]);
        images.extend(locked.profile.addons.iter().cloned().map(WantedBy::Addon));
        Ok(Source {
            cache: self.cache,
            progress: self.progress,
            lock: &locked.lock,
            source_date_epoch: epoch,
            bootstrap: &Bootstrap { go, goroot },
            nft,
            settings: FetchSettings::of_this_process(),
            images: &images,
            role: locked.profile.role,
        }
        .payload()?)
    }

    /// The whole flow.
    pub fn image(&self, args: &ImageArgs, mode: LockMode) -> Result<Built, Failure> {
        let epoch = settings::source_date_epoch()?;
        let locked = self.locked(mode)?;
        let epoch = epoch.unwrap_or(locked.lock.source_date_epoch);
        self.folders_are_there(&locked.profile)?;
        let nodeinit = nodeinit::find(args.nodeinit.as_deref(), &self.project.folder, self.progress)?;
        let out = match &args.out {
            Some(dir) => std::path::absolute(dir)?,
            None => self.project.dist(),
        };
        let folder = out.join(&self.project.name);
        let inputs = self.inputs(&locked, &nodeinit, epoch)?;
        if let Some(manifest) = unchanged::up_to_date(&folder, &inputs) {
            self.progress.step("image").finish(Outcome::Cached);
            return Ok(Built { folder, manifest, unchanged: true });
        }
        let debs = self.fetched(&locked)?;
        let tools = self.tools(&locked, &debs)?;
        let nft = nodeimg_tree::nft_tree(self.cache, &locked.lock, &debs)?;
        let payload = self.payload(&locked, &tools, &nft, epoch)?;
        let root =
            Assembling { builder: self, locked: &locked, payload: &payload, nodeinit: &nodeinit, epoch }
                .root(&locked_debs(&locked.lock, Set::Image, &debs), &tools)?;
        let mkfs = MkfsErofs::new(tools.command("mkfs.erofs")?, tools.key());
        let sealed = nodeimg_seal::seal(&root.tree, mkfs, epoch, self.cache, self.progress)?;
        let stub = tools.path("usr/lib/systemd/boot/efi/linuxx64.efi.stub")?;
        let boot = BootSet::make(
            &sealed,
            &BootInputs {
                tree: &root.tree,
                release: &root.kernel.release,
                vmlinuz: &root.kernel.vmlinuz,
                nodeinit: &nodeinit.path,
                stub: &stub,
                epoch,
            },
            self.cache,
            self.progress,
        )?;
        let artifacts = Artifacts {
            sealed: &sealed,
            boot: &boot,
            root: root.manifest,
            lock: locked.lock_sha256.clone(),
            formats: &locked.profile.formats.iter().map(format).collect::<Vec<_>>(),
        };
        std::fs::create_dir_all(&out)
            .map_err(|e| Failure::from(e).help(format!("--out: \"{}\" must be a folder", out.display())))?;
        let manifest = nodeimg_output::write(&out, &artifacts, self.progress)?;
        write_atomically(&folder.join(INPUTS), inputs.as_bytes())?;
        Ok(Built { folder, manifest, unchanged: false })
    }

    /// Refuses a profile that names folders that are not there, before anything is compiled for it.
    fn folders_are_there(&self, profile: &Profile) -> Result<(), Failure> {
        match project_dirs(profile, &self.project.folder).into_iter().find(|(_, dir)| !dir.is_dir()) {
            Some((_, dir)) => Err(Failure::new(
                format!("the profile names the folder \"{}\", which is not there", dir.display()),
                "make it, or take it out of the profile",
            )),
            None => Ok(()),
        }
    }

    /// Manifests that name images: those of add-ons and static pods, by path.
    fn manifests(&self, profile: &Profile) -> Result<Vec<(String, String)>, Failure> {
        let mut found = Vec::new();
        let pods = profile.static_pods.iter().map(|dir| self.project.folder.join(dir));
        for dir in profile.addons.iter().map(|name| addon_dir(&self.project.folder, name)).chain(pods) {
            let unreadable = |path: &Path, e| {
                let sentence = format!("cannot read \"{}\", which the profile names", path.display());
                Failure::because(sentence, e, "make it readable, as UTF-8 text")
            };
            for entry in std::fs::read_dir(&dir).map_err(|e| unreadable(&dir, e))? {
                let path = entry?.path();
                let name = path.display().to_string();
                if name.ends_with(".yaml") || name.ends_with(".yaml.tmpl") {
                    let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
                    found.push((name, text));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// One digest over everything that decides the image.
    fn inputs(&self, locked: &Locked, nodeinit: &Nodeinit, epoch: u64) -> Result<String, Failure> {
        let mut text = format!(
            "1\n{}\n{}\n{}\n{epoch}\n{}\n",
            locked.profile_sha256, locked.lock_sha256, nodeinit.sha256, self.project.name
        );
        // Another nodeimg may build other bytes from the same inputs.
        text.push_str(&unchanged::program_identity()?);
        for (name, dir) in project_dirs(&locked.profile, &self.project.folder) {
            text.push_str(&format!("{name} {}\n", unchanged::folder_digest(&dir)?));
        }
        Ok(digest_text(&text))
    }
}

fn format(format: &Format) -> nodeimg_output::Format {
    match format {
        Format::Uki => nodeimg_output::Format::Uki,
        Format::Files => nodeimg_output::Format::Files,
    }
}
