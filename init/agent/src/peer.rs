//! How nodeinits talk to each other: HTTP/1.1 over mutual TLS 1.3 on port [`nodeimg_contract::peer::PORT`].
//!
//! Takes a seed's [`nodeimg_contract::seed::PeerIdentity`] and what to answer; gives a [`Server`] (one `GET`, see
//! [`nodeimg_init_core::peer`]) and a [`Client`]. May touch: that TCP port, its own threads. Never does: resolve a
//! name, use a proxy, follow a redirect, reuse a connection or a TLS session, wait without a deadline.
//!
//! The peer CA is the only root. Both ends show a certificate of it with name and role; the client asks for one node by
//! name and takes no other's answer. Certificates are checked against the clock: `nodeimg cluster new` dates them back,
//! and nodeinit's clock is never before the seed's `issuedAt`, so that a clock that is behind stops nobody.

mod client;
mod complaints;
mod deadline;
mod http;
mod identity;
mod server;

pub use client::{Client, Mistrust, PeerError};
pub use complaints::Complaints;
pub use deadline::Deadlined;
pub use identity::BadIdentity;
pub use server::{Answer, Question, Server, StartError};

use std::time::Duration;

/// Patience with a connection that is being made.
const CONNECT: Duration = Duration::from_secs(2);
/// Patience with one exchange, from connect (or accept) to the last byte.
const WHOLE: Duration = Duration::from_secs(5);
/// Patience with the other end's last words, after ours.
const LINGER: Duration = Duration::from_secs(1);
/// The longest head of a request or an answer, in bytes.
const MAX_HEAD: usize = 8 << 10;

#[cfg(test)]
mod tests;
