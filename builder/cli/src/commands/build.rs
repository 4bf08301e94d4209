//! `nodeimg build`.

use crate::args::{BuildArgs, Global, ImageArgs, InputArgs};
use crate::failure::Failure;
use crate::pipeline::{Builder, Built};
use crate::project::Project;
use crate::settings::{self, LockMode};
use nodeimg_progress::Progress;
use std::path::Path;
use std::process::ExitCode;

/// Builds every profile named, in order.
pub fn build(global: &Global, args: &BuildArgs) -> Result<ExitCode, Failure> {
    for profile in &args.profiles {
        let progress = settings::progress(global);
        let built = one(global, profile, &args.input, &args.image, &progress)?;
        if !global.quiet {
            eprint!("\n{}", progress.summary());
        }
        println!("{}", summary(&built));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds one profile.
pub fn one(
    global: &Global,
    profile: &Path,
    input: &InputArgs,
    image: &ImageArgs,
    progress: &Progress,
) -> Result<Built, Failure> {
    let project = Project::of(profile)?;
    let cache = settings::cache(global)?;
    let builder = Builder::new(&cache, progress, &project, input);
    builder.image(image, LockMode::of(input))
}

/// What was built, where it lies and how big it is.
fn summary(built: &Built) -> String {
    let m = &built.manifest;
    let mut text = format!(
        "{} {}, Kubernetes {}, root hash {}\n",
        m.root.profile, m.root.role, m.root.kubernetes, m.root_hash
    );
    for (name, file) in &m.files {
        text.push_str(&format!(
            "  {:<60} {:>10}\n",
            built.folder.join(name).display(),
            nodeimg_progress::bytes(file.size)
        ));
    }
    if built.unchanged {
        text.push_str("nothing has changed since it was built");
    } else {
        text.truncate(text.trim_end().len());
    }
    text
}
