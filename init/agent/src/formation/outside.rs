//! What answers behind the endpoint, asked in every round before the gate: a cluster may live on nodes that the seed does
//! not list, and nothing may be born beside it.
//!
//! Takes the endpoint's addresses and the cluster's CA, gives an [`Endpoint`]. All addresses are tried at once; one that
//! refuses costs nothing, a dead one costs [`CONNECT`]. Sends no request, and no certificate, before the server has shown
//! a certificate of this cluster's CA.

use super::{Formation, api::Api, phases, records};
use crate::peer::Deadlined;
use nodeimg_contract::fault::Fault;
use nodeimg_init_core::formation::Endpoint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Patience with a connection that is being made. A birth takes two rounds.
const CONNECT: Duration = Duration::from_secs(1);
/// Patience with a server that took the connection, until its certificate is there.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// Addresses that are tried.
const MAX_ADDRESSES: usize = 16;
/// DNS is asked again after so long.
const KNOWN: Duration = Duration::from_secs(10);

/// What one address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A server of this cluster's CA.
    Ours,
    /// One of another CA.
    Elsewhere,
    /// Nothing that speaks TLS.
    Nothing,
}

/// Asks. A node whose gate is open, or whose seed has no CA of the API server (role etcd), asks nobody.
pub fn ask(f: &Formation<'_>) -> Endpoint {
    let ca = f.config.pki.as_ref().and_then(|pki| pki.ca.as_ref());
    let (Some(ca), None) = (ca, f.memory.opened.get()) else { return Endpoint::Nothing };
    let Some(tls) = by_chain(ca.certificate.as_bytes()) else { return Endpoint::Nothing };
    let endpoint = &f.config.endpoint;
    let Ok(name) = ServerName::try_from(endpoint.name.to_string()) else { return Endpoint::Nothing };
    let at = |address: IpAddr| SocketAddr::new(address, endpoint.port.value);
    let found = try_all(&tls, &name, addresses(f).into_iter().map(at).collect());
    let of = |what: Found| found.iter().filter(move |(_, found)| *found == what).map(|(at, _)| *at);
    if let Some(at) = of(Found::Elsewhere).next()
        && !f.memory.elsewhere.replace(true)
    {
        let text = f.config.endpoint_text();
        f.reporter.warn(format!("behind the endpoint {text}, {at} answers with a certificate of another CA"));
    }
    let mut hidden = None;
    for at in of(Found::Ours) {
        match birth(f, at) {
            Ok(id) => return Endpoint::Ours(Ok(id)),
            Err(why) => hidden = hidden.or(Some(format!("{at}: {why}"))),
        }
    }
    hidden.map_or(Endpoint::Nothing, |why| Endpoint::Ours(Err(why)))
}

/// The birth that the cluster behind an API server has recorded; its members are known from now on.
fn birth(f: &Formation<'_>, at: SocketAddr) -> Result<nodeimg_contract::birth::BirthId, String> {
    let told = |fault: Fault| fault.cause;
    phases::credentials(f).map_err(told)?;
    let api = Api::behind_endpoint(&f.config, at).map_err(told)?;
    let record = records::read_through(&api).map_err(told)?;
    let Some(record) = record else {
        let adopted = if f.config.adopt { records::adopted(&api).map_err(told)? } else { None };
        return adopted.ok_or_else(|| "its cluster has recorded no birth".into());
    };
    f.desk.watches(&record);
    Ok(record.birth().clone())
}

/// The seed's addresses, or DNS' for a while. A name that does not resolve leads nowhere: the gate waits for it.
fn addresses(f: &Formation<'_>) -> Vec<IpAddr> {
    let endpoint = &f.config.endpoint;
    if !endpoint.addresses.value.is_empty() {
        return endpoint.addresses.value.iter().copied().take(MAX_ADDRESSES).collect();
    }
    let mut known = f.memory.addresses.borrow_mut();
    match &*known {
        Some((asked, addresses)) if asked.elapsed() < KNOWN => addresses.clone(),
        _ => {
            let resolved = (f.resolve)(endpoint.name.as_str()).unwrap_or_default();
            let addresses: Vec<IpAddr> = resolved.into_iter().take(MAX_ADDRESSES).collect();
            *known = Some((Instant::now(), addresses.clone()));
            addresses
        }
    }
}

fn try_all(
    tls: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    all: Vec<SocketAddr>,
) -> Vec<(SocketAddr, Found)> {
    std::thread::scope(|scope| {
        let tried: Vec<_> = all
            .into_iter()
            .map(|at| (at, std::thread::Builder::new().spawn_scoped(scope, move || try_one(tls, name, at))))
            .collect();
        let found = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, Found>>| {
            thread.ok().and_then(|t| t.join().ok()).unwrap_or(Found::Nothing)
        };
        tried.into_iter().map(|(at, thread)| (at, found(thread))).collect()
    })
}

fn try_one(tls: &Arc<ClientConfig>, name: &ServerName<'static>, at: SocketAddr) -> Found {
    let Ok(stream) = TcpStream::connect_timeout(&at, CONNECT) else { return Found::Nothing };
    let mut stream = Deadlined::new(stream, Instant::now() + HANDSHAKE);
    let Ok(mut connection) = ClientConnection::new(tls.clone(), name.clone()) else { return Found::Nothing };
    while connection.is_handshaking() {
        if let Err(e) = connection.complete_io(&mut stream) {
            let tls = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return match tls {
                Some(rustls::Error::InvalidCertificate(_)) => Found::Elsewhere,
                _ => Found::Nothing,
            };
        }
    }
    connection.send_close_notify();
    let _ = connection.complete_io(&mut stream);
    Found::Ours
}

/// TLS that asks for a certificate of the CA, whatever name is in it.
fn by_chain(ca: &[u8]) -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(ca) {
        roots.add(root.ok()?).ok()?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok()?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByChain(verifier)))
        .with_no_client_auth();
    Some(Arc::new(config))
}

/// Checks everything but the name: an API server that was made for another endpoint is of this cluster all the same.
#[derive(Debug)]
struct ByChain(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for ByChain {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end, between, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        end: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, end, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        end: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, end, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
