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
