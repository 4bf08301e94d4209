//! `nodeimg cluster`.

use crate::cluster::{self, ClusterNewArgs};
use crate::failure::Failure;
use std::process::ExitCode;

/// Makes a cluster's PKI, permit, seeds and kubeconfig, and says where they are.
pub fn new(args: &ClusterNewArgs) -> Result<ExitCode, Failure> {
    let made = cluster::new(&args.spec()?)?;
    println!("{made}");
    Ok(ExitCode::SUCCESS)
}
