//! `nodeimg bench build`: time of a build by step, made and unchanged, and the image's sizes by part, in one run.

use super::build;
use crate::args::{BenchBuildArgs, Global};
use crate::failure::Failure;
use crate::pipeline::Built;
use crate::settings;
use nodeimg_progress::{Finished, Outcome, Progress};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One build of the bench.
struct Timed {
    name: &'static str,
    whole: Duration,
    steps: Vec<Finished>,
    built: Built,
}

/// Builds, builds again, and (with `--cold`) begins with nothing at all.
pub fn bench(global: &Global, args: &BenchBuildArgs) -> Result<ExitCode, Failure> {
    let scratch = tempfile::tempdir()?;
    let mut global = global.clone();
    if args.cold {
        global.cache = Some(scratch.path().join("cache"));
    }
    let mut image = args.image.clone();
    image.out.get_or_insert_with(|| scratch.path().join("out"));
    let mut runs = Vec::new();
    for name in [if args.cold { "cold" } else { "from the cache" }, "unchanged"] {
        let progress = if global.quiet { Progress::silent() } else { settings::progress(&global) };
        let start = Instant::now();
        let built = build::one(&global, &args.profile, &args.input, &image, &progress)?;
        runs.push(Timed { name, whole: start.elapsed(), steps: progress.finished(), built });
    }
    println!("{}", if args.json { json(&runs) } else { text(&runs) });
    Ok(ExitCode::SUCCESS)
}

fn text(runs: &[Timed]) -> String {
    let mut out = String::new();
    for run in runs {
        out.push_str(&format!("build, {}: {:.2} s\n", run.name, run.whole.as_secs_f64()));
        for step in &run.steps {
            let how = if step.outcome == Outcome::Cached { "  from the cache" } else { "" };
            out.push_str(&format!("  {:<22} {:>9.2} s{how}\n", step.name, step.time.as_secs_f64()));
        }
    }
    if let [first, .., last] = runs {
        let ratio = last.whole.as_secs_f64() / first.whole.as_secs_f64().max(1e-9);
        out.push_str(&format!("unchanged / {}: {ratio:.4}\n", first.name));
        out.push_str("sizes by part\n");
        for (part, size) in &last.built.manifest.sizes {
            out.push_str(&format!("  {part:<22} {:>11}\n", nodeimg_progress::bytes(*size)));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn json(runs: &[Timed]) -> String {
    let builds: Vec<_> = runs
        .iter()
        .map(|run| {
            let steps: Vec<_> = run
                .steps
                .iter()
                .map(|s| {
                    serde_json::json!({
                        "name": s.name,
                        "seconds": s.time.as_secs_f64(),
                        "cached": s.outcome == Outcome::Cached,
                    })
                })
                .collect();
            serde_json::json!({ "name": run.name, "seconds": run.whole.as_secs_f64(), "steps": steps })
        })
        .collect();
    let sizes = runs.last().map(|r| &r.built.manifest.sizes);
    serde_json::json!({ "builds": builds, "sizes": sizes }).to_string()
}
