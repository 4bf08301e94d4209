//! The folder `payload/`, as it was when nodeimg was compiled: so that the program works outside a checkout.
//!
//! Gives the [`Description`], each module's files, and what of them stands in a lock. Never reads the file system.

use std::path::Path;

use include_dir::{Dir, include_dir};
use nodeimg_cache::digest_text;
use nodeimg_plan::lock::{GoLock, Lock, LockedModule};
use sha2::{Digest as _, Sha256};

use crate::PayloadError;
use crate::description::{Description, DescriptionError, ImageSpec, ModuleSpec, ProgramSpec};
use crate::go;
use crate::toolchain::Toolchain;

static FOLDER: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../payload");

/// The lock's name for how images are made of programs; no folder of `payload/` may have it.
const IMAGES: &str = "images";
/// Changes when the same description makes other images.
const IMAGES_FORMAT: &str = "1";

/// The payload data: a description, and the files of the modules that it names.
#[derive(Debug, Clone)]
pub struct Data {
    /// `payload.toml`.
    pub description: Description,
}

/// One file of a module: its name below the module's folder, and its bytes.
pub type ModuleFile = (&'static str, &'static [u8]);

impl Data {
    /// The data that this program was compiled with.
    pub fn embedded() -> Result<Self, PayloadError> {
        let text = FOLDER.get_file("payload.toml").and_then(|file| file.contents_utf8()).unwrap_or_default();
        let data = Self { description: Description::parse(text)? };
        for module in &data.description.modules {
            if module.name == IMAGES || !data.files(module).iter().any(|(name, _)| *name == "go.mod") {
                return Err(DescriptionError::NoGoMod(module.name.clone()).into());
            }
        }
        Ok(data)
    }

    /// The module's files, sorted by name.
    pub fn files(&self, module: &ModuleSpec) -> Vec<ModuleFile> {
        let folder = Path::new(&module.name);
        let all = FOLDER.get_dir(folder).into_iter().flat_map(|dir| dir.files());
        let named = |file: &'static include_dir::File<'static>| {
            Some((file.path().file_name()?.to_str()?, file.contents()))
        };
        let mut files: Vec<ModuleFile> = all.filter_map(named).collect();
        files.sort_unstable();
        files
    }

    /// What decides the bytes of all programs of a module, one fact a line.
    fn facts(&self, module: &ModuleSpec) -> String {
        facts(module, &self.files(module))
    }

    /// The key of a program in the cache.
    pub fn program_key(&self, module: &ModuleSpec, program: &ProgramSpec) -> String {
        let toolchain = Toolchain::facts(&self.description.toolchain);
        digest_text(&format!("{toolchain}{}package {}\n", self.facts(module), program.package))
    }

    /// The lock's lines about the payload: the toolchain, each module, and how images are made of the programs.
    pub fn locked(&self) -> (GoLock, Vec<LockedModule>) {
        let pin = &self.description.toolchain;
        let go = GoLock { version: pin.version.clone(), sum: pin.sum.clone() };
        let modules = self.description.modules.iter().map(|module| LockedModule {
            name: module.name.clone(),
            version: module.version.clone(),
            sha256: digest_text(&self.facts(module)),
        });
        let images = LockedModule {
            name: IMAGES.to_owned(),
            version: IMAGES_FORMAT.to_owned(),
            sha256: digest_text(&self.description.images.iter().map(ImageSpec::facts).collect::<String>()),
        };
        (go, modules.chain([images]).collect())
    }

    /// Fails when `lock` was written for other payload data than these.
    pub fn check_lock(&self, lock: &Lock) -> Result<(), PayloadError> {
        let (go, modules) = self.locked();
        let differs =
            |what: String, locked: String, ours: String| Err(PayloadError::Lock { what, locked, ours });
        let go_text = |go: &GoLock| format!("{} {}", go.version, go.sum);
        if lock.go.as_ref() != Some(&go) {
            let locked = lock.go.as_ref().map_or("nothing".to_owned(), go_text);
            return differs("the Go toolchain".to_owned(), locked, go_text(&go));
        }
        let module_text = |module: &LockedModule| format!("{} {}", module.version, module.sha256);
        for module in &modules {
            let locked = lock.modules.iter().find(|locked| locked.name == module.name);
            if locked != Some(module) {
                let locked = locked.map_or("nothing".to_owned(), module_text);
                return differs(format!("the payload module {}", module.name), locked, module_text(module));
            }
        }
        Ok(())
    }
}

fn facts(module: &ModuleSpec, files: &[(&str, &[u8])]) -> String {
    let files =
        files.iter().map(|(name, bytes)| format!("file {name} {}\n", hex::encode(Sha256::digest(bytes))));
    format!("module {}\n{}{}", module.name, go::fixed_facts(module), files.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_pins_its_graph() {
        let data = Data::embedded().unwrap();
        for module in &data.description.modules {
            let files = data.files(module);
            let text = |name: &str| {
                files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| String::from_utf8_lossy(bytes))
            };
            let go_mod = text("go.mod").unwrap();
            let pin = &data.description.toolchain.version;
            let named = [format!("toolchain go{pin}\n"), format!("\ngo {pin}\n")];
            assert!(named.iter().any(|line| go_mod.contains(line)), "{}", module.name);
            let own = module.path.starts_with("nodeimg.invalid/");
            assert!(
                own || go_mod.contains(&format!("{} {}", module.path, module.version)),
                "{}",
                module.name
            );
            assert_eq!(own, text("go.sum").is_none(), "{}", module.name);
        }
    }

    #[test]
    fn a_key_changes_with_everything_that_decides_a_program() {
        let data = Data::embedded().unwrap();
        let (module, kubelet) = data.description.program("kubelet").unwrap();
        let (_, kubectl) = data.description.program("kubectl").unwrap();
        let key = data.program_key(module, kubelet);
        assert_eq!(key, data.program_key(module, kubelet));
        assert_ne!(key, data.program_key(module, kubectl));

        let mut tagged = module.clone();
        tagged.tags.push("x".to_owned());
        assert_ne!(key, data.program_key(&tagged, kubelet));
        let mut dated = module.clone();
        *dated.variables.values_mut().next().unwrap() = "other".to_owned();
        assert_ne!(key, data.program_key(&dated, kubelet));
        let mut newer = data.clone();
        newer.description.toolchain.version = "1.26.9".to_owned();
        assert_ne!(key, newer.program_key(module, kubelet));
        assert_ne!(facts(module, &[("go.sum", b"a")]), facts(module, &[("go.sum", b"b")]));
        assert_ne!(facts(module, &[("go.sum", b"a")]), facts(module, &[("go.mod", b"a")]));
    }

    #[test]
    fn a_lock_of_other_data_is_refused() {
        let data = Data::embedded().unwrap();
        let (go, modules) = data.locked();
        let suite = "trixie".to_owned();
        let mut lock = Lock {
            schema: 1,
            inputs: String::new(),
            source_date_epoch: 0,
            suite,
            go: Some(go),
            modules,
            packages: Vec::new(),
        };
        data.check_lock(&lock).unwrap();
        lock.modules[0].version = "v1.36.2".to_owned();
        let error = data.check_lock(&lock).unwrap_err().to_string();
        assert!(
            error.contains("the payload module kubernetes as \"v1.36.2") && error.contains("--update"),
            "{error}"
        );
        lock.go = None;
        assert!(data.check_lock(&lock).unwrap_err().to_string().contains("the Go toolchain as \"nothing\""));
    }
}
