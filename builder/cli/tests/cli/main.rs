//! What a person sees of `nodeimg`: exit code, standard output and standard error, word by word.
//!
//! Runs the program in temporary folders with an empty environment; talks to loopback alone.

mod cluster_new;
mod help;
mod inputs;
mod killed;
mod locks;
#[path = "../../../fetch/tests/fetch/loopback.rs"]
#[allow(dead_code)] // shared with the tests of downloads, which use all of it
mod loopback;
mod mirrors;
mod profiles;
mod project;
