//! Ctrl-C and SIGTERM: what is half made is taken away before the program ends.
//!
//! A process that a signal ends runs no destructors, and the folder in the making holds the CAs' keys. So the signals
//! only set a flag, and everything that writes asks it first.

use super::ClusterError;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on these signals end the work at its next step, not the process.
pub fn watch() -> std::io::Result<()> {
    let flag = SIGNAL.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        let number = usize::try_from(signal).unwrap_or_default();
        signal_hook::flag::register_usize(signal, Arc::clone(flag), number)?;
    }
    Ok(())
}

/// Fails once a signal has come.
pub fn check() -> Result<(), ClusterError> {
    match SIGNAL.get().map_or(0, |flag| flag.load(Ordering::Relaxed)) {
        0 => Ok(()),
        signal => Err(ClusterError::Interrupted { signal }),
    }
}
