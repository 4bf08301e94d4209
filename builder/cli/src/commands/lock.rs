//! `nodeimg lock`.

use crate::args::{Global, InputArgs, LockArgs};
use crate::failure::Failure;
use crate::pipeline::Builder;
use crate::project::Project;
use crate::settings::{self, LockMode};
use std::process::ExitCode;

/// Makes, renews or checks the lock of every profile named.
pub fn lock(global: &Global, args: &LockArgs) -> Result<ExitCode, Failure> {
    let input = InputArgs {
        mirror: args.mirror.clone(),
        locked: args.check,
        update: args.update,
        lock_file: args.lock_file.clone(),
    };
    for profile in &args.profiles {
        let progress = settings::progress(global);
        let project = Project::of(profile)?;
        let cache = settings::cache(global)?;
        let builder = Builder::new(&cache, &progress, &project, &input);
        let locked = builder.locked(LockMode::of(&input))?;
        if args.check {
            builder.fetched(&locked)?;
        }
        println!(
            "{}: {} packages, {}",
            builder.lock_path().display(),
            locked.lock.packages.len(),
            nodeimg_progress::bytes(locked.lock.packages.iter().map(|p| p.size).sum())
        );
    }
    Ok(ExitCode::SUCCESS)
}
