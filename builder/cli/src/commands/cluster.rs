//! `nodeimg cluster …`: makes, and says what was made and where it is.

use crate::args::ClusterCommand;
use crate::cluster::{self, ClusterError};
use crate::failure::Failure;
use std::process::ExitCode;

/// Runs one of them. A signal ends it with 128 and the signal's number, as a shell says it.
pub fn run(command: &ClusterCommand) -> Result<ExitCode, Failure> {
    cluster::interrupt::watch()?;
    match act(command) {
        Ok(said) => {
            println!("{said}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ ClusterError::Interrupted { signal }) => {
            eprintln!("{}", Failure::from(error).render());
            Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)))
        }
        Err(error) => Err(error.into()),
    }
}

fn act(command: &ClusterCommand) -> Result<String, ClusterError> {
    Ok(match command {
        ClusterCommand::New(args) => cluster::new(&args.spec()?)?.to_string(),
        ClusterCommand::Permit(args) => cluster::permit(args)?.to_string(),
        ClusterCommand::Seed(args) => cluster::add(args)?.to_string(),
        ClusterCommand::RemoveNode(args) => cluster::remove(args)?.to_string(),
        ClusterCommand::Kubeconfig(args) => cluster::renew(args)?.to_string(),
    })
}
