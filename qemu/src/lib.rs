//! Virtual machines under QEMU: command line, disks, network, console, status port, power.
//!
//! Takes a [`VmSpec`] and a [`QemuProgram`], gives a running [`Vm`] and its [`Event`]s. May start QEMU (in a process
//! group of its own), write in the folder that the caller names, and listen on loopback; sends nothing elsewhere. A
//! machine that is dropped is powered off and reaped. Knows nothing of images, seeds or clusters.

mod accel;
mod bzimage;
mod command_line;
mod console;
mod disks;
mod error;
mod events;
mod program;
mod qmp;
mod spec;
mod vm;

pub use accel::{Accel, AccelChoice, choose_accel};
pub use command_line::{Sockets, command_line};
pub use disks::{create_esp, create_state_disk};
pub use error::VmError;
pub use events::{Event, Exit};
pub use program::QemuProgram;
pub use spec::{Boot, Cable, Forward, LAB_ARGUMENTS_TCG, Network, VmSpec, free_port};
pub use vm::Vm;
