//! What each command does, once everything is settled.

pub mod bench_boot;
pub mod bench_build;
pub mod bench_formation;
pub mod build;
pub mod cluster;
pub mod lock;
pub mod run;
