//! nodeinit: PID 1 of a nodeimg node

fn main() {}
