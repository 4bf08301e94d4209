//! A seed's peer identity as TLS configurations. Certificates are judged by nodeinit's clock.

use nodeimg_contract::seed::PeerIdentity;
use nodeimg_init_core::node_config::NodeName;
use nodeimg_init_core::peer::{BadCertificate, Subject};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::Duration;

/// A peer identity that cannot be used. Never repeats a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// A part that is not its PEM.
    #[error("nodeimg.peer.{0} is not readable")]
    Pem(&'static str),
    /// Its own certificate is no peer certificate.
    #[error("nodeimg.peer.identity.certificate: {0}")]
    Certificate(#[from] BadCertificate),
    /// The identity of another node.
    #[error("nodeimg.peer.identity was made for \"{0}\"")]
    AnotherNode(NodeName),
    /// The TLS library refuses it.
    #[error("nodeimg.peer: {0}")]
    Tls(String),
}

/// nodeinit's clock.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(crate::clock::now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// What both ends of a connection need.
struct Material {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Material {
    fn new(identity: &PeerIdentity, name: &NodeName) -> Result<Self, BadIdentity> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&identity.ca).ok_or(BadIdentity::Pem("ca"))? {
            roots.add(root).map_err(tls)?;
        }
        let chain =
            certificates(&identity.identity.certificate).ok_or(BadIdentity::Pem("identity.certificate"))?;
        let own = Subject::of(chain.first().map(AsRef::as_ref).unwrap_or_default())?;
        if own.name != *name {
            return Err(BadIdentity::AnotherNode(own.name));
        }
        let key = PrivateKeyDer::from_pem_slice(identity.identity.key.as_bytes())
            .map_err(|_| BadIdentity::Pem("identity.key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self { provider, roots: Arc::new(roots), chain, key })
    }
}

/// For the end that answers: whoever asks must show a certificate of the peer CA. Sessions are not resumed, so that
/// certificates are looked at every time.
pub fn server(identity: &PeerIdentity, name: &NodeName) -> Result<Arc<ServerConfig>, BadIdentity> {
    let m = Material::new(identity, name)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(m.roots, m.provider.clone())
        .build()
        .map_err(|e| BadIdentity::Tls(e.to_string()))?;
    let mut config = ServerConfig::builder_with_details(m.provider, Arc::new(Clock))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(m.chain, m.key)
        .map_err(tls)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For the end that asks.
pub fn client(identity: &PeerIdentity, name: &NodeName) -> Result<Arc<ClientConfig>, BadIdentity> {
    let m = Material::new(identity, name)?;
    let mut config = ClientConfig::builder_with_details(m.provider, Arc::new(Clock))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_root_certificates(m.roots)
        .with_client_auth_cert(m.chain, m.key)
        .map_err(tls)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// All certificates of a PEM text; none at all is no chain.
fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.ok().filter(|chain| !chain.is_empty())
}

fn tls(e: rustls::Error) -> BadIdentity {
    BadIdentity::Tls(e.to_string())
}
