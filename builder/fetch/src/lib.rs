//! Everything that comes over the network, checked.
//!
//! Takes a profile's or a lock's wishes. Gives Debian's package indexes (signed, within their dates, by digest) and
//! .debs (by digest) in the cache. The only room of the builder that opens connections. What was not checked is never
//! given on, and never lies in the cache under a name that says that it was.

pub mod apt_sources;
pub mod archive;
pub mod debs;
pub mod download;
pub mod http;
pub mod mirror;
pub mod release;

use nodeimg_cache::Cache;
use nodeimg_progress::Progress;

/// What every fetch needs: a way out, a place to put things, somebody to tell.
#[derive(Clone, Copy)]
pub struct Fetch<'a> {
    /// HTTP.
    pub client: &'a http::Client,
    /// Where blobs go.
    pub cache: &'a Cache,
    /// Who is told.
    pub progress: &'a Progress,
}
