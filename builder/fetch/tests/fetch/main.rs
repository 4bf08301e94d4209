//! Fetching, against servers on the loopback address that behave, break off, lie or have nothing.

mod download;
mod loopback;
mod mirrors;
mod release;
mod signer;
mod suite;
