//! nodeimg: builds node images and boots them.
//!
//! Three layers: `args` parses, `settings` resolves what was left open, `commands` act. Errors come up as one chain and
//! are rendered here, once. Exit codes: 0 done, 1 the user's input or the world, 2 usage.

mod args;
mod cluster;
mod commands;
mod failure;
mod files;
mod nodeinit;
mod pipeline;
mod project;
mod settings;
mod timeline;

use clap::{CommandFactory, Parser};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    if cli.global.verbose {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .init();
    }
    match act(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{}", failure.render());
            ExitCode::from(1)
        }
    }
}

fn act(cli: args::Cli) -> Result<ExitCode, Failure> {
    let global = cli.global;
    match cli.command {
        args::Command::Build(a) => commands::build::build(&global, &a),
        args::Command::Lock(a) => commands::lock::lock(&global, &a),
        args::Command::Run(a) => commands::run::run(&global, &a),
        args::Command::Cluster(command) => commands::cluster::run(&command),
        args::Command::Bench(args::BenchCommand::Build(a)) => commands::bench_build::bench(&global, &a),
        args::Command::Bench(args::BenchCommand::Boot(a)) => commands::bench_boot::bench(&global, &a),
        args::Command::Bench(args::BenchCommand::Formation(a)) => {
            commands::bench_formation::bench(&global, &a)
        }
        args::Command::Completions { shell } => {
            clap_complete::generate(shell, &mut args::Cli::command(), "nodeimg", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
