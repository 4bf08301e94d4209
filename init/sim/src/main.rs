//! `formation-sim`: many schedules, or one again.

use clap::Parser;
use clap::builder::TypedValueParser;
use nodeimg_formation_sim::diagram::{self, Ways};
use nodeimg_formation_sim::{Mutant, NODES, Outcome, Schedule};
use std::process::ExitCode;
use std::time::Instant;

/// Runs formation's machine under an adversary and counts how it ends. Exits with 1 if a property does not hold, and shows
/// the shortest schedule found.
#[derive(Parser)]
struct Arguments {
    /// How many schedules.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// The first schedule's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes in the list: 1, 3 or 5; all in turn if it is not given.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(["1", "3", "5"]).try_map(|n| n.parse::<u8>()))]
    nodes: Option<u8>,
    /// A known mistake to build in (see `Mutant`); all are named if it is unknown.
    #[arg(long)]
    mutant: Option<String>,
    /// Shows one schedule: a seed, or a file that a violation was written to.
    #[arg(long)]
    replay: Option<String>,
    /// Makes the replayed schedule shorter first, if it violates a property.
    #[arg(long, requires = "replay")]
    shrink: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Prints the page of formation's states, drawn from the ways that the machine goes.
    #[arg(long)]
    diagram: bool,
    /// Goes on after a violation and counts them.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

/// `false`: a property does not hold.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let mutant = match &arguments.mutant {
        None => None,
        Some(name) => Some(Mutant::named(name).ok_or_else(|| {
            let names: Vec<&str> = Mutant::ALL.iter().map(|(n, _)| *n).collect();
            format!("\"{name}\" is no mutant\n  help: one of {}", names.join(", "))
        })?),
    };
    let nodes: Vec<usize> = arguments.nodes.map_or(NODES.to_vec(), |n| vec![usize::from(n)]);
    if let Some(replay) = &arguments.replay {
        let schedule = match replay.parse::<u64>() {
            Ok(seed) => Schedule::of(seed, nodes[seed as usize % nodes.len()], mutant),
            Err(_) => {
                let text = std::fs::read_to_string(replay).map_err(|e| format!("\"{replay}\": {e}"))?;
                Schedule::from_text(&text).ok_or_else(|| format!("\"{replay}\" is no schedule"))?
            }
        };
        let schedule = if arguments.shrink { schedule.shrunk() } else { schedule };
        let (outcome, trace) = schedule.run(true);
        println!("{}\n{outcome:?}", trace.join("\n"));
        return Ok(!matches!(outcome, Outcome::Violated(_)));
    }
    if arguments.diagram {
        print!("{}", Ways::of(diagram::SCHEDULES).page(diagram::SCHEDULES));
        return Ok(true);
    }
    let began = Instant::now();
    let end = arguments.seed.saturating_add(arguments.schedules);
    let threads = arguments.threads.max(1);
    let tally =
        nodeimg_formation_sim::run(arguments.seed..end, &nodes, mutant, threads, !arguments.keep_going);
    for (outcome, count) in &tally.outcomes {
        let seed = tally.seeds.get(outcome).copied().unwrap_or_default();
        println!("{count:>10}  {outcome:?}, for one seed {seed}");
    }
    println!("{:>10}  schedules in {:.1} s", tally.schedules(), began.elapsed().as_secs_f64());
    let Some(worst) = tally.worst else { return Ok(true) };
    let shrunk = worst.shrunk();
    println!(
        "\nthe shortest schedule found (of seed {}), for --replay FILE:\n{}",
        worst.seed,
        shrunk.to_text()
    );
    Ok(false)
}
