//! What the builder writes and the init reads: names, formats, types.
//!
//! Takes bytes and text, gives typed values, and back. Pure: no files, no network, no clock, no environment.
//! A name that both sides must spell the same way stands here and nowhere else.

pub mod birth;
pub mod bootstrap;
pub mod cmdline;
pub mod components;
pub mod fault;
pub mod image;
pub mod machine;
pub mod names;
pub mod networks;
pub mod node;
pub mod partition;
pub mod paths;
pub mod peer;
pub mod seed;
pub mod status;
pub mod store;
pub mod verity;
