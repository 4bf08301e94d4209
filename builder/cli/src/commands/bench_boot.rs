//! `nodeimg bench boot`: one boot to Ready, and when it passed which point.

use super::run::{self, End};
use crate::args::{BenchBootArgs, Global, Until};
use crate::failure::Failure;
use crate::files::write_atomically;
use std::process::ExitCode;

/// Boots once, prints the timeline, draws it where asked.
pub fn bench(global: &Global, args: &BenchBootArgs) -> Result<ExitCode, Failure> {
    let mut run = args.run.clone();
    run.vm.until = Some(Until::Ready);
    let (end, timeline) = run::boot(global, &run, false)?;
    if let End::Failed(failure) = end {
        return Err(failure);
    }
    let Some(timeline) = timeline else {
        return Err(Failure::new(
            "the node went down before it was Ready",
            "run `nodeimg run` to see its console",
        ));
    };
    println!("{}", if args.json { timeline.json() } else { timeline.text() });
    if let Some(path) = &args.svg {
        write_atomically(path, timeline.svg().as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
