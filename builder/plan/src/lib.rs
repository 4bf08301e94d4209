//! Profile, lock and Debian resolution: text in, types out.
//!
//! Takes the text of a profile, of a lock, of Debian's package indexes. Gives a checked [`profile::Profile`], a
//! [`lock::Lock`] and the packages that a profile needs. Pure: no files, no network, no clock, no environment; what
//! comes over the network is the room `fetch`.

pub mod debian;
pub mod lock;
pub mod nearest;
pub mod profile;
pub mod source;
