//! What can go wrong with a virtual machine.

use std::io;
use std::path::PathBuf;

/// A machine that could not be started or steered.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The file system said no.
    #[error("virtual machine: cannot {action} \"{}\"", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// QEMU could not be started.
    #[error("virtual machine: cannot start QEMU (\"{program}\")")]
    Start {
        /// What was started.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No firmware was given for a machine that boots by UEFI.
    #[error(
        "virtual machine: no UEFI firmware (OVMF) is known\nhelp: `nodeimg run --direct` boots without firmware"
    )]
    NoFirmware,
    /// QEMU does not listen to commands.
    #[error("virtual machine: QEMU does not take the command \"{command}\"")]
    Deaf {
        /// What it was told.
        command: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No loopback port is free.
    #[error("virtual machine: no free port on 127.0.0.1")]
    NoPort(#[source] io::Error),
}
