//! What keeps an image out of the store.

use crate::bolt::BoltError;

/// An image that does not hold together, or a store that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A document's bytes and digest, or one document and another, disagree.
    #[error("image \"{image}\": {what}\nhelp: remove the image from the cache and build again")]
    Image {
        /// Its reference.
        image: String,
        /// What does not fit.
        what: String,
    },
    /// Two images of one name.
    #[error("two different images are named \"{0}\"\nhelp: give one of them another tag")]
    Twice(String),
    /// A layer with a path that leaves it.
    #[error("image \"{image}\" has a bad path in its layer")]
    Path {
        /// Its reference.
        image: String,
        /// The path.
        source: nodeimg_tree::BadPath,
    },
    /// A database that cannot be written.
    #[error("{file} of the image store cannot be written")]
    Database {
        /// `meta.db` or `metadata.db`.
        file: &'static str,
        /// Why.
        source: BoltError,
    },
}
