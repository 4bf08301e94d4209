//! nodeinit: PID 1 of a nodeimg node, and the command by which one asks it.
//!
//! As PID 1 of the initramfs it is stage 1, as PID 1 of the root stage 2; as any other process it is a command.

// What a node is handed must never end it: nothing that panics on a value stands outside tests.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod block;
mod cli;
mod clock;
mod datasource;
mod device_mapper;
mod formation;
mod machine;
mod modules;
mod mounts;
mod net;
#[allow(dead_code, unused_imports, reason = "formation starts it")]
mod peer;
mod process;
mod report;
mod root_watch;
mod shutdown;
mod stage1;
mod stage2;
mod storage;
mod store;

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    if let Err(e) = machine::read() {
        eprintln!("nodeinit: what kind of machine this is cannot be read: {e}");
        return ExitCode::FAILURE;
    }
    if std::process::id() != 1 {
        return cli::run();
    }
    report::catch_panics();
    // What panics has said so as a fault; PID 1 stays, or the kernel would panic.
    let _ = std::panic::catch_unwind(|| if is_initramfs() { stage1::run() } else { stage2::run() });
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// The initramfs is the kernel's own ramfs or tmpfs; a root never is one.
fn is_initramfs() -> bool {
    use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
    const RAMFS: FsType = FsType(0x8584_58f6);
    statfs("/").is_ok_and(|s| s.filesystem_type() == TMPFS_MAGIC || s.filesystem_type() == RAMFS)
}
