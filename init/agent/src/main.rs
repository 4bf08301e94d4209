//! nodeinit: PID 1 of a nodeimg node

#![allow(dead_code)]

mod process;
mod report;

fn main() {}
