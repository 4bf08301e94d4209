//! Profile, lock and Debian resolution. Pure: text in, types out.

pub mod lock;
