//! nodeinit: PID 1 of a nodeimg node

#![allow(dead_code)]

mod datasource;
mod clock;
mod net;
mod formation;
mod process;
mod report;

fn main() {}
