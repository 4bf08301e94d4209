//! Whole-image tests: a real kernel boots a real image in a virtual machine, through `nodeimg run`.
//!
//! Machines run one after another: two of them on two processors would each be slower than the deadlines allow.

mod faults;
mod harness;
#[cfg(feature = "soak")]
mod soak;
mod tampered;
mod to_ready;
