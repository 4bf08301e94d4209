//! `nodeimg cluster …`: makes, and says what was made and where it is.

use crate::args::ClusterCommand;
use crate::cluster;
use crate::failure::Failure;
use std::process::ExitCode;

/// Runs one of them.
pub fn run(command: &ClusterCommand) -> Result<ExitCode, Failure> {
    let said = match command {
        ClusterCommand::New(args) => cluster::new(&args.spec()?)?.to_string(),
        ClusterCommand::Permit(args) => cluster::permit(args)?.to_string(),
        ClusterCommand::Seed(args) => cluster::add(args)?.to_string(),
        ClusterCommand::RemoveNode(args) => cluster::remove(args)?.to_string(),
    };
    println!("{said}");
    Ok(ExitCode::SUCCESS)
}
