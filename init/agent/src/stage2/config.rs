//! NodeConfig between boots: kept on the state partition, compared, shown.

use super::image_fault;
use super::seed_wait::{Origin, Seeded};
use crate::report::Reporter;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::RootManifest;
use nodeimg_contract::paths;
use nodeimg_init_core::node_config::NodeConfig;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The NodeConfig of the last good boot, mode 0600.
pub const KEPT: &str = "/var/lib/nodeimg/node-config.json";
/// Its network-config document.
pub const KEPT_NETWORK: &str = "/var/lib/nodeimg/network-config";
/// This boot's, for `nodeinit explain`, mode 0600.
pub const SHOWN: &str = "/run/nodeimg/node-config.json";

/// What was baked.
pub fn image() -> Result<RootManifest, Fault> {
    let bytes =
        std::fs::read(paths::ROOT_MANIFEST).map_err(|e| image_fault(paths::ROOT_MANIFEST, &e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| image_fault(paths::ROOT_MANIFEST, &e.to_string()))
}

/// A kept NodeConfig; none at the first boot.
pub fn kept() -> Result<Option<NodeConfig>, Fault> {
    let bytes = match std::fs::read(KEPT) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&e.to_string())),
    };
    NodeConfig::from_cache(&bytes).map(Some).map_err(|e| unreadable(&e.to_string()))
}

fn unreadable(cause: &str) -> Fault {
    Fault {
        code: Code::DiskFailed,
        object: KEPT.to_owned(),
        cause: cause.to_owned(),
        help: "boot the image that wrote it, or wipe the state disk with consent in the seed".to_owned(),
    }
}

/// Compares with the first boot's and keeps it. A seed that changes what cannot change is a fault, and the boot waits
/// there, until the node goes down: then the answer is `false`.
pub fn keep(
    reporter: &Reporter,
    config: &NodeConfig,
    seeded: &Seeded,
    in_memory: bool,
    give_up: impl Fn() -> bool,
) -> Result<bool, Fault> {
    if !in_memory
        && let Some(first) = kept()?
        && let Err(problems) = config.unchanged_since(&first)
    {
        for problem in &problems {
            reporter.fault(problem.fault());
        }
        crate::process::poll(Duration::MAX, Duration::from_millis(200), &give_up);
        return Ok(false);
    }
    let failed = |e: &dyn std::fmt::Display| Fault {
        code: Code::DiskFailed,
        object: KEPT.to_owned(),
        cause: e.to_string(),
        help: "check the state disk: is it full or read-only?".to_owned(),
    };
    let bytes = config.to_cache().map_err(|e| failed(&e))?;
    write_secret(SHOWN, &bytes).map_err(|e| failed(&e))?;
    if let Origin::Seed(seed) = &seeded.origin {
        write_secret(KEPT_NETWORK, seed.network_config.as_deref().unwrap_or_default().as_bytes())
            .map_err(|e| failed(&e))?;
    }
    write_secret(KEPT, &bytes).map_err(|e| failed(&e))?;
    Ok(true)
}

/// Replaces a file whole and synced; only root reads it.
fn write_secret(path: &str, bytes: &[u8]) -> std::io::Result<()> {
    let new = format!("{path}.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match Path::new(path).parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A thread could not be started.
pub fn no_thread(e: &std::io::Error) -> Fault {
    Fault {
        code: Code::BootKernel,
        object: "nodeinit".to_owned(),
        cause: format!("a thread could not be started: {e}"),
        help: "give the machine more memory".to_owned(),
    }
}

/// The thread that looks after the state disk has failed.
pub fn no_state() -> Fault {
    Fault {
        code: Code::DiskFailed,
        object: "state disk".to_owned(),
        cause: "preparing it failed by a bug in nodeinit".to_owned(),
        help: "report it with the console's lines; reboot the node to try again".to_owned(),
    }
}
