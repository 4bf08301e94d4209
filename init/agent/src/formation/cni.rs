//! CNI configuration of add-ons: a conflist is rendered whenever the env file that an add-on names appears or changes.

use super::files;
use crate::report::Reporter;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::{addon, template};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MAX_BYTES: u64 = 1 << 20;
/// A look is one `stat`.
const LOOK: Duration = Duration::from_millis(500);

/// One conflist to keep.
struct Conflist {
    template: PathBuf,
    env: PathBuf,
    conflist: PathBuf,
}

/// Watches, for the rest of the boot, for every add-on that brings a conflist.
pub fn watch(reporter: &Reporter, addons: &[String]) {
    for name in addons {
        match conflist(Path::new(paths::ADDONS), Path::new(paths::CNI_CONF), name) {
            Ok(None) => {}
            Ok(Some(conflist)) => {
                let told = reporter.clone();
                let thread = std::thread::Builder::new().name("cni".into());
                if let Err(e) = thread.spawn(move || conflist.keep(&told)) {
                    reporter.fault(failed(name, e.to_string()));
                }
            }
            Err(fault) => reporter.fault(fault),
        }
    }
}

fn conflist(addons: &Path, to: &Path, name: &str) -> Result<Option<Conflist>, Fault> {
    let folder = addons.join(name);
    let text = files::text(folder.join("addon.toml"), MAX_BYTES)?;
    let addon = addon::parse(&text).map_err(|e| failed(name, e.to_string()))?;
    Ok(addon.cni.map(|cni| Conflist {
        template: folder.join(cni.template),
        env: cni.env.into(),
        conflist: to.join(cni.conflist),
    }))
}

impl Conflist {
    fn keep(&self, reporter: &Reporter) {
        let mut seen = None;
        let mut shown: Option<Fault> = None;
        loop {
            let stamp = self.stamp();
            if stamp.is_some() && stamp != seen {
                match self.render() {
                    Ok(changed) => {
                        seen = stamp;
                        if let Some(f) = shown.take() {
                            reporter.clear_fault_of(f.code, &f.object);
                        }
                        if changed {
                            reporter.line(format!("CNI configuration {} written", self.conflist.display()));
                        }
                    }
                    // The file may be half written: it is read again at the next look.
                    Err(fault) => {
                        reporter.fault(fault.clone());
                        shown = Some(fault);
                    }
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let meta = std::fs::metadata(&self.env).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    }

    /// Whether the conflist was written; one that says the same already is left alone.
    fn render(&self) -> Result<bool, Fault> {
        let values = template::env_file(&files::text(&self.env, MAX_BYTES)?);
        let text = template::fill(&files::text(&self.template, MAX_BYTES)?, &values)
            .map_err(|e| failed(&self.template.display().to_string(), e.to_string()))?;
        if files::read(&self.conflist, MAX_BYTES)?.as_deref() == Some(text.as_bytes()) {
            return Ok(false);
        }
        files::write(&self.conflist, text.as_bytes(), 0o644)?;
        Ok(true)
    }
}

fn failed(object: &str, cause: String) -> Fault {
    Fault {
        code: Code::AddonFailed,
        object: object.into(),
        cause,
        help: "correct the add-on in overlays/addons and build the image again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_env_file_fills_the_conflist() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("t"), "{ \"subnet\": \"{{ SUBNET }}\" }").expect("template");
        let c = Conflist { template: at("t"), env: at("env"), conflist: at("10-x.conflist") };
        assert!(c.stamp().is_none());
        std::fs::write(at("env"), "OTHER=1\n").expect("env");
        assert_eq!(c.render().expect_err("half written").code, Code::AddonFailed);
        std::fs::write(at("env"), "SUBNET=10.244.0.1/24\n").expect("env");
        assert_eq!(c.render(), Ok(true));
        assert_eq!(c.render(), Ok(false), "what says the same is left alone");
        assert_eq!(
            std::fs::read_to_string(at("10-x.conflist")).expect("written"),
            "{ \"subnet\": \"10.244.0.1/24\" }"
        );
    }
}
