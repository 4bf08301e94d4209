//! What nodeinits say to each other: the messages of the peer protocol, version 1.
//!
//! Takes bytes of an answer, gives a [`Hello`] that keeps every bound, or [`BadMessage`]; takes what the node knows,
//! gives bytes. The transport (mutual TLS, HTTP/1.1, port [`nodeimg_contract::peer::PORT`]) is the agent's.
//!
//! `GET /nodeimg/v1/standing` is all that is asked: a promise is made by its own node and read by the others, nobody
//! orders anybody. A question carries what the asker is, if it belongs to a cluster ([`Asker`], a header): a blank node that
//! does not know of that cluster hears of it so. What is neither that nor allowed is answered with a [`Rejection`].
//!
//! Versions: the number in the path and in every answer is the major version. Another one is an error that names both
//! ([`BadMessage::Version`]). Within a version unknown fields are passed over, so new ones may be added (a header that is not
//! known is passed over, too); only what is hashed (a birth, its permit, its participants) is refused with an unknown field: it would be another birth.

mod asker;
mod certificate;
mod hello;
mod text;

pub use asker::{ASKER, Asker};
pub use certificate::{BadCertificate, Subject};
pub use hello::{Contact, Hello, Listed, Rejection};
pub use text::printable;

/// Major version of the protocol.
pub const PROTOCOL: u32 = 1;

/// What every path begins with; the version's digits follow.
pub const PATH_ROOT: &str = "/nodeimg/v";

/// Where a node answers with its [`Hello`].
pub const STANDING: &str = "/nodeimg/v1/standing";

/// The longest message, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// A message that cannot be taken, or that must not be sent. Its text is fit for a console, whatever the bytes were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Longer than [`MAX_BYTES`].
    #[error("the message is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Another major version.
    #[error("it speaks version {theirs} of the peer protocol, this node version {own}")]
    Version {
        /// [`PROTOCOL`].
        own: u32,
        /// The sender's.
        theirs: u32,
    },
    /// Not the JSON of this message.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
    /// A field beyond its bounds.
    #[error("the field \"{field}\" {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

#[cfg(test)]
mod tests;
