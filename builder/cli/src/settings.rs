//! What the command line left open, resolved once from the environment. Nothing below `commands` reads it again.

use crate::args::{Global, InputArgs};
use crate::failure::Failure;
use nodeimg_cache::Cache;
use nodeimg_progress::Progress;
use std::path::PathBuf;

/// How the lock may be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Make it when missing, renew it when the profile asks for other things.
    Write,
    /// It must be there and fit.
    Locked,
    /// Renew it in any case.
    Update,
}

impl LockMode {
    /// From the flags.
    pub fn of(args: &InputArgs) -> Self {
        match (args.locked, args.update) {
            (true, _) => LockMode::Locked,
            (_, true) => LockMode::Update,
            _ => LockMode::Write,
        }
    }
}

/// Opens the cache that the flags or the environment name.
pub fn cache(global: &Global) -> Result<Cache, Failure> {
    let root = match &global.cache {
        Some(dir) => std::path::absolute(dir)?,
        None => {
            let dir = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
            Cache::default_root(dir("XDG_CACHE_HOME"), dir("HOME"))?
        }
    };
    Ok(Cache::open(root)?)
}

/// Where progress is told.
pub fn progress(global: &Global) -> Progress {
    if global.quiet { Progress::silent() } else { Progress::stderr() }
}

/// SOURCE_DATE_EPOCH, when the environment sets one: seconds since 1970.
pub fn source_date_epoch() -> Result<Option<u64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| {
            Failure::new(
                format!("SOURCE_DATE_EPOCH is \"{text}\""),
                "set it to whole seconds since 1970, or unset it",
            )
        }),
    }
}
