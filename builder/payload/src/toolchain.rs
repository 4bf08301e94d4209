//! The pinned Go toolchain, fetched by Debian's Go.
//!
//! Takes the tools tree (Debian's `golang-go`) and the pin. Gives the path of a `go` program that says the pinned
//! version and whose module has the pinned checksum. Go itself checks the checksum database; the pin is checked before
//! anything of the toolchain is run. Downloads into [`Go`]'s folder, nowhere else.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::PayloadError;
use crate::description::ToolchainPin;
use crate::go::{Go, Network};
use crate::run;

/// A Go that only fetches: Debian's, out of the tools tree, or any other that knows GOTOOLCHAIN (1.21 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The `go` program.
    pub go: PathBuf,
    /// Its GOROOT.
    pub goroot: PathBuf,
}

/// A toolchain whose version and checksum were compared with the pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    go: PathBuf,
    pin: ToolchainPin,
}

impl Toolchain {
    /// Fetches it where it is missing. With it in the cache, no network is used.
    pub fn get(go: &Go, bootstrap: &Bootstrap, pin: &ToolchainPin) -> Result<Self, PayloadError> {
        let folder = go.module_cache().join(format!("golang.org/toolchain@{}", pin.module_version()));
        let toolchain = Self { go: folder.join("bin/go"), pin: pin.clone() };
        let download = go.module_cache().join("cache/download/golang.org/toolchain/@v");
        let recorded = fs::read_to_string(download.join(format!("{}.ziphash", pin.module_version())));
        let sum = match recorded {
            Ok(sum) if toolchain.go.is_file() => sum.trim().to_owned(),
            _ => download_module(go, bootstrap, pin)?,
        };
        if sum != pin.sum {
            return Err(PayloadError::Toolchain {
                what: "its checksum",
                expected: pin.sum.clone(),
                got: sum,
                folder,
            });
        }
        let expected = format!("go version go{} linux/amd64", pin.version);
        let got = version_through_gotoolchain(go, bootstrap, pin)?;
        if got != expected {
            return Err(PayloadError::Toolchain { what: "its version", expected, got, folder });
        }
        Ok(toolchain)
    }

    /// A command of the pinned toolchain.
    pub fn command(&self, go: &Go, network: Network) -> std::process::Command {
        go.command(&self.go, None, network)
    }

    /// What of the toolchain decides a program's bytes.
    pub fn facts(pin: &ToolchainPin) -> String {
        format!("toolchain {} {}\n", pin.version, pin.sum)
    }
}

/// Fetches the toolchain's module without running anything of it; the answer is its checksum.
fn download_module(go: &Go, bootstrap: &Bootstrap, pin: &ToolchainPin) -> Result<String, PayloadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Download {
        #[serde(default)]
        sum: String,
        #[serde(default)]
        error: String,
    }
    let what = format!("Go {}", pin.version);
    let mut command = go.command(&bootstrap.go, Some(&bootstrap.goroot), Network::Allowed);
    let module = format!("golang.org/toolchain@{}", pin.module_version());
    command.args(["mod", "download", "-modcacherw", "-json", &module]).current_dir(go.ready()?);
    let output = run::captured(&mut command)?;
    let answer: Option<Download> = serde_json::from_str(&output.stdout).ok();
    match answer {
        Some(download) if output.success && !download.sum.is_empty() => Ok(download.sum),
        Some(download) => Err(run::go_failure(&format!("{}\n{}", download.error, output.stderr), |reason| {
            PayloadError::Fetch { what, reason }
        })),
        None => Err(run::go_failure(&output.stderr, |reason| PayloadError::Fetch { what, reason })),
    }
}

/// Lets Go's own mechanism take the toolchain into use (it makes the programs executable) and say its version.
fn version_through_gotoolchain(
    go: &Go,
    bootstrap: &Bootstrap,
    pin: &ToolchainPin,
) -> Result<String, PayloadError> {
    let mut command = go.command(&bootstrap.go, Some(&bootstrap.goroot), Network::Allowed);
    // Without a PATH no other `go1.26.8` of the machine can step in.
    command.env("GOTOOLCHAIN", format!("go{}", pin.version)).env_remove("PATH");
    command.arg("version").current_dir(go.ready()?);
    let output = run::captured(&mut command)?;
    if !output.success {
        let what = format!("Go {}", pin.version);
        return Err(run::go_failure(&output.stderr, |reason| PayloadError::Fetch { what, reason }));
    }
    Ok(output.stdout.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::FetchSettings;

    const PIN: &str = "h1:pinned=";

    /// Looks at a cache that holds a toolchain of this checksum, with a bootstrap that says this version. The bootstrap
    /// is the shell, for which `version` is a script in its working folder; the script writes down that it ran.
    fn get(sum: &str, says: &str) -> (Result<Toolchain, PayloadError>, bool) {
        let folder = tempfile::tempdir().expect("temp folder");
        let file = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, text).expect("file");
        };
        let pin = ToolchainPin { version: "1.2.3".into(), sum: PIN.into() };
        let go = Go::new(&folder.path().join("go"), FetchSettings::default());
        let (modules, module) = (go.module_cache(), pin.module_version());
        file(modules.join(format!("golang.org/toolchain@{module}/bin/go")), "");
        file(modules.join(format!("cache/download/golang.org/toolchain/@v/{module}.ziphash")), sum);
        let ran = folder.path().join("ran");
        let script = go.ready().expect("folder").join("version");
        file(script, &format!("echo > '{}'\necho '{says}'\n", ran.display()));
        let bootstrap = Bootstrap { go: "/bin/sh".into(), goroot: folder.path().into() };
        let got = Toolchain::get(&go, &bootstrap, &pin);
        (got, ran.exists())
    }

    #[test]
    fn a_toolchain_with_another_checksum_is_not_run() {
        let (got, ran) = get("h1:other=", "go version go1.2.3 linux/amd64");
        let error = got.expect_err("refused").to_string();
        for part in ["its checksum", "expected \"h1:pinned=\"", "got \"h1:other=\"", "nothing was compiled"] {
            assert!(error.contains(part), "{part:?} is missing in\n{error}");
        }
        assert!(!ran);
    }

    #[test]
    fn a_toolchain_that_says_another_version_is_refused() {
        let (got, ran) = get(PIN, "go version go1.2.4 linux/amd64");
        let error = got.expect_err("refused").to_string();
        assert!(error.contains("its version") && error.contains("go1.2.4"), "{error}");
        assert!(ran);
        assert!(get(PIN, "go version go1.2.3 linux/amd64").0.is_ok());
    }
}
