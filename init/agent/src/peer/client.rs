//! The end that asks.

use super::deadline::Deadlined;
use super::http::{self, HttpError, Response};
use super::identity::{self, BadIdentity};
use super::{CONNECT, LINGER, MAX_HEAD, WHOLE};
use nodeimg_contract::peer::{PORT, server_name};
use nodeimg_contract::seed::PeerIdentity;
use nodeimg_init_core::node_config::NodeName;
use nodeimg_init_core::peer::{Asker, BadMessage, Hello, MAX_BYTES, Rejection, STANDING, Subject, printable};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Asks other nodeinits; cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(super) config: Arc<ClientConfig>,
    pub(super) whole: Duration,
    pub(super) asker: Option<Asker>,
}

/// Why there is no answer. The texts go after a node's name and are fit for a console.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The machine is there, nobody listens: nodeinit is not so far yet, or the address is another machine's.
    #[error("it refuses connections: nodeinit does not listen there yet")]
    Refused,
    /// No connection in 2 s, or no answer in 5 s: it is off, or something between drops packets.
    #[error("it does not answer")]
    Timeout,
    /// No way there, or a connection that broke.
    #[error("the connection failed: {0}")]
    Network(String),
    /// It cannot be believed to be the node that was asked, or it does not believe this one.
    #[error(transparent)]
    Untrusted(Mistrust),
    /// Another version of the protocol.
    #[error("it speaks version {theirs} of the peer protocol, this node version {own}")]
    Version {
        /// This node's.
        own: u32,
        /// The peer's.
        theirs: u32,
    },
    /// Something else listens there, or it breaks the protocol.
    #[error("it does not keep to the peer protocol: {0}")]
    Protocol(String),
}

/// Why a peer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistrust {
    /// Another CA, expired, not valid yet, …
    #[error("its certificate is not to be trusted: {0}")]
    Certificate(String),
    /// Another node of this cluster answers at the address. With this node's own name it is a clone.
    #[error("{} answers there instead of {asked}", found.as_ref().map_or("another node", NodeName::as_str))]
    OtherName {
        /// Who was asked.
        asked: NodeName,
        /// Who answered.
        found: Option<NodeName>,
    },
    /// Its answer says another name or role than its certificate.
    #[error("it lies: {0}")]
    Lies(String),
    /// It does not believe this node's certificate.
    #[error("it does not trust this node's certificate: {0}")]
    RefusesUs(String),
}

impl Client {
    /// With this node's identity; `name` must be the one in it.
    pub fn new(identity: &PeerIdentity, name: &NodeName) -> Result<Self, BadIdentity> {
        identity::client(identity, name).map(|config| Self { config, whole: WHOLE, asker: None })
    }

    /// The same client, which says this of its own node.
    pub fn saying(&self, asker: Option<Asker>) -> Self {
        Self { asker, ..self.clone() }
    }

    /// Asks one node what it is. Takes at most 5 s; the answer is `node`'s own, or it is an error.
    pub fn ask(&self, address: IpAddr, node: &NodeName) -> Result<Hello, PeerError> {
        self.ask_at(SocketAddr::new(address, PORT), node)
    }

    pub(super) fn ask_at(&self, address: SocketAddr, node: &NodeName) -> Result<Hello, PeerError> {
        let until = Instant::now() + self.whole;
        let stream =
            TcpStream::connect_timeout(&address, CONNECT.min(self.whole)).map_err(|e| broken(&e, node))?;
        let mut stream = Deadlined::new(stream, until);
        let answer = self.exchange(&mut stream, node);
        stream.hang_up(LINGER.min(until.saturating_duration_since(Instant::now())), MAX_HEAD as u64);
        let (subject, response) = answer?;
        let hello = understand(&response)?;
        if hello.name != subject.name || hello.role != subject.role {
            return Err(PeerError::Untrusted(Mistrust::Lies(format!(
                "{} ({}) by its certificate, {} ({}) by its answer",
                subject.name, subject.role, hello.name, hello.role
            ))));
        }
        Ok(hello)
    }

    fn exchange(&self, stream: &mut Deadlined, node: &NodeName) -> Result<(Subject, Response), PeerError> {
        let host = server_name(node.as_str());
        let name = ServerName::try_from(host.clone())
            .map_err(|_| PeerError::Protocol(format!("\"{host}\" is no DNS name")))?;
        let mut tls = ClientConnection::new(self.config.clone(), name).map_err(|e| distrust(&e, node))?;
        while tls.is_handshaking() {
            tls.complete_io(stream).map_err(|e| broken(&e, node))?;
        }
        let certificate = tls.peer_certificates().and_then(<[_]>::first);
        let subject = Subject::of(certificate.map(AsRef::as_ref).unwrap_or_default())
            .map_err(|e| PeerError::Untrusted(Mistrust::Certificate(e.to_string())))?;
        if subject.name != *node {
            let (asked, found) = (node.clone(), Some(subject.name));
            return Err(PeerError::Untrusted(Mistrust::OtherName { asked, found }));
        }
        let mut tls = rustls::Stream::new(&mut tls, stream);
        // A server that refuses this node says so in what is read; a write that fails comes of that.
        let written = tls.write_all(&http::get(&host, STANDING, self.asker.as_ref()));
        let response = http::read_response(&mut tls, MAX_BYTES).map_err(|e| match (e, written) {
            (HttpError::Io(e), Err(w)) if e.kind() == io::ErrorKind::UnexpectedEof => broken(&w, node),
            (HttpError::Io(e), _) => broken(&e, node),
            (e, _) => PeerError::Protocol(e.to_string()),
        })?;
        tls.conn.send_close_notify();
        let _ = tls.flush();
        Ok((subject, response))
    }
}

fn understand(response: &Response) -> Result<Hello, PeerError> {
    let bad = |e: BadMessage| match e {
        BadMessage::Version { own, theirs } => PeerError::Version { own, theirs },
        e => PeerError::Protocol(e.to_string()),
    };
    if response.status == 200 {
        return Hello::parse(&response.body).map_err(bad);
    }
    match Rejection::parse(&response.body) {
        Ok(rejection) if response.status == 403 => {
            Err(PeerError::Untrusted(Mistrust::RefusesUs(rejection.error)))
        }
        Ok(rejection) => Err(PeerError::Protocol(format!("status {}: {}", response.status, rejection.error))),
        Err(e @ BadMessage::Version { .. }) => Err(bad(e)),
        Err(_) => Err(PeerError::Protocol(format!("status {}", response.status))),
    }
}

/// What an error of the connection means.
fn broken(e: &io::Error, node: &NodeName) -> PeerError {
    if let Some(tls) = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return distrust(tls, node);
    }
    match e.kind() {
        io::ErrorKind::ConnectionRefused => PeerError::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => PeerError::Timeout,
        _ => PeerError::Network(printable(&e.to_string(), 200)),
    }
}

fn distrust(e: &rustls::Error, node: &NodeName) -> PeerError {
    let text = || printable(&e.to_string(), 300);
    match e {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            let found = presented.iter().find_map(|name| presented_node(name));
            PeerError::Untrusted(Mistrust::OtherName { asked: node.clone(), found })
        }
        rustls::Error::InvalidCertificate(bad) => {
            PeerError::Untrusted(Mistrust::Certificate(printable(&bad.to_string(), 300)))
        }
        rustls::Error::NoCertificatesPresented => PeerError::Untrusted(Mistrust::Certificate(text())),
        rustls::Error::AlertReceived(alert) if is_about_certificates(*alert) => {
            PeerError::Untrusted(Mistrust::RefusesUs(format!("{alert:?}")))
        }
        _ => PeerError::Protocol(text()),
    }
}

/// The node in a name as rustls shows it, `DnsName("NODE.peer…")`. Its certificate's chain was checked before.
fn presented_node(shown: &str) -> Option<NodeName> {
    let name = shown.split('"').nth(1).unwrap_or(shown);
    name.strip_suffix(&server_name(""))?.parse().ok()
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
            | AlertDescription::DecryptError
    )
}
