//! What each command does, once everything is settled.

pub mod bench_build;
pub mod build;
pub mod lock;
