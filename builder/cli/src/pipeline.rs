//! The flow of a build: profile, lock, fetch, root tree, seal, boot set, artifacts.
//!
//! Takes a project and settings, gives the finished image in its folder. Each stage is a value that only the stage
//! before can make; the order of this file is the order of the flow. When nothing changed since the image in the output
//! folder was made, no stage beyond the lock runs.

use crate::args::{ImageArgs, InputArgs};
use crate::failure::Failure;
use crate::nodeinit::{self, Nodeinit};
use crate::project::Project;
use crate::settings::{self, LockMode};
use nodeimg_cache::{Cache, Origin, digest_text, sha256_file};
use nodeimg_contract::image::{ImageManifest, RootManifest};
use nodeimg_fetch::debs::{self, FetchedDebs};
use nodeimg_fetch::http::Client;
use nodeimg_fetch::mirror::{self, AptFolders, Mirror, Named};
use nodeimg_fetch::release::Keys;
use nodeimg_fetch::{Fetch, archive};
use nodeimg_payload::{Bootstrap, FetchSettings, Payload, Source, WantedBy};
use nodeimg_plan::debian::{lock_inputs, resolve_lock};
use nodeimg_plan::lock::{Lock, Set};
use nodeimg_plan::profile::Profile;
use nodeimg_progress::{Outcome, Progress};
use nodeimg_tree::{Deb, RootTree, ToolsTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

/// Name of the file that says which inputs the image beside it was made of.
const INPUTS: &str = ".inputs";

impl<'a> Builder<'a> {
    /// For one project.
    pub fn new(cache: &'a Cache, progress: &'a Progress, project: &'a Project, input: &'a InputArgs) -> Self {
        Self { cache, progress, project, input, client: Client::from_environment() }
    }

    /// Reads the profile.
    pub fn profile(&self) -> Result<(Profile, String), Failure> {
        let path = &self.project.profile;
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::from(e).help(format!("\"{}\" must be a readable TOML file", path.display())))?;
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
        let inputs = lock_inputs(&profile, &modules, Some(&go));
        let present = match std::fs::read_to_string(&path) {
            Ok(text) => Some(Lock::parse(&text, &path.display().to_string())?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Failure::from(e).help(format!("\"{}\" must be readable", path.display()))),
        };
        let lock = match (present, mode) {
            (Some(lock), LockMode::Write | LockMode::Locked) if lock.inputs == inputs => lock,
            (present, LockMode::Locked) => {
                let what = if present.is_some() { "does not fit the profile" } else { "is missing" };
                return Err(Failure::new(
                    format!("the lock \"{}\" {what}, and --locked forbids to write it", path.display()),
                    format!("run: nodeimg lock {}", self.project.profile.display()),
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
        let (tools, origin) = ToolsTree::from_debs(self.cache, &set(locked, debs, Set::Tools))?;
        step.finish(if origin == Origin::Cached { Outcome::Cached } else { Outcome::Built });
        Ok(tools)
    }

    fn payload(&self, locked: &Locked, tools: &ToolsTree, nft: &RootTree, epoch: u64) -> Result<Payload, Failure> {
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
        }
        .payload()?)
    }

    /// The whole flow.
    pub fn image(&self, args: &ImageArgs, mode: LockMode) -> Result<Built, Failure> {
        let locked = self.locked(mode)?;
        let epoch = settings::source_date_epoch()?.unwrap_or(locked.lock.source_date_epoch);
        let nodeinit = nodeinit::find(args.nodeinit.as_deref(), &self.project.folder, self.progress)?;
        let out = match &args.out {
            Some(dir) => std::path::absolute(dir)?,
            None => self.project.dist(),
        };
        let folder = out.join(&self.project.name);
        let inputs = self.inputs(&locked, &nodeinit, epoch)?;
        if let Some(manifest) = up_to_date(&folder, &inputs) {
            self.progress.step("image").finish(Outcome::Cached);
            return Ok(Built { folder, manifest, unchanged: true });
        }
        let debs = self.fetched(&locked)?;
        let tools = self.tools(&locked, &debs)?;
        let payload = self.payload(&locked, &debs, &tools, epoch)?;
        let manifest = self.finish(&locked, &debs, &tools, &payload, &nodeinit, epoch, &folder, &inputs)?;
        Ok(Built { folder, manifest, unchanged: false })
    }

    /// One digest over everything that decides the image.
    fn inputs(&self, locked: &Locked, nodeinit: &Nodeinit, epoch: u64) -> Result<String, Failure> {
        let mut text = format!(
            "1\n{}\n{}\n{}\n{epoch}\n{}\n",
            locked.profile_sha256, locked.lock_sha256, nodeinit.sha256, self.project.name
        );
        // Another nodeimg may build other bytes from the same inputs.
        text.push_str(&program_identity()?);
        for (name, dir) in nodeimg_tree::project_dirs(&locked.profile, &self.project.folder) {
            text.push_str(&format!("{name} {}\n", folder_digest(&dir)?));
        }
        Ok(digest_text(&text))
    }
}

/// The .debs of one set.
fn set(locked: &Locked, debs: &FetchedDebs, set: Set) -> Vec<Deb> {
    let deb = |p: &nodeimg_plan::lock::LockedPackage| Deb {
        name: p.name.clone(),
        sha256: p.sha256.clone(),
        path: debs.path(p).to_owned(),
    };
    locked.lock.set(set).map(deb).collect()
}

/// The running nodeimg by size and time of change of its file: cheap, and never the same for two builds of it.
fn program_identity() -> Result<String, Failure> {
    let exe = std::env::current_exe()?;
    let meta = std::fs::metadata(&exe)?;
    let changed = meta.modified()?.duration_since(std::time::UNIX_EPOCH).map(|d| d.as_nanos()).unwrap_or(0);
    Ok(format!("{} {changed}\n", meta.len()))
}

/// Names, modes and contents below a folder of the project.
fn folder_digest(dir: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mut text = String::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        let list = match std::fs::read_dir(&next) {
            Ok(list) => list,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Failure::from(e).help(format!("\"{}\" must be readable", next.display()))),
        };
        let mut entries = list.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(|e| e.file_name());
        for entry in entries {
            let path = entry.path();
            let meta = entry.metadata()?;
            let what = if meta.is_dir() {
                todo.push(path.clone());
                "dir".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", std::fs::read_link(&path)?.display())
            } else {
                sha256_file(&path)?
            };
            text.push_str(&format!("{} {:o} {what}\n", path.display(), meta.permissions().mode()));
        }
    }
    Ok(digest_text(&text))
}

/// The image in `folder` when it was made of `inputs` and its files are whole by size.
fn up_to_date(folder: &Path, inputs: &str) -> Option<ImageManifest> {
    if std::fs::read_to_string(folder.join(INPUTS)).ok()? != inputs {
        return None;
    }
    let manifest: ImageManifest = serde_json::from_slice(&std::fs::read(folder.join("image.json")).ok()?).ok()?;
    let whole = manifest
        .files
        .iter()
        .all(|(name, info)| std::fs::metadata(folder.join(name)).is_ok_and(|m| m.len() == info.size));
    whole.then_some(manifest)
}

/// Writes a file beside its place and renames it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)
        .map_err(|e| Failure::from(e).help(format!("\"{}\" must be a folder that can be written", dir.display())))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|e| Failure::from(e.error))?;
    Ok(())
}
