use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use std::io::Read;
use std::net::TcpListener;

struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self { params, key, pem }
    }

    /// An API server of this CA, for one connection, under another name than the endpoint's.
    fn serves(&self) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["kubernetes.default".to_owned()]).expect("a name");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("signed").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut tls = ServerConnection::new(Arc::new(config)).expect("a connection");
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
            let _ = rustls::Stream::new(&mut tls, &mut stream).read(&mut [0; 1]);
        });
        (at, serving)
    }
}

fn find(ca: &Ca, all: Vec<SocketAddr>) -> Vec<Found> {
    let tls = by_chain(ca.pem.as_bytes()).expect("a CA");
    let name = ServerName::try_from("api.lab.example").expect("a name");
    try_all(&tls, &name, all).into_iter().map(|(_, found)| found).collect()
}

/// A port of loopback at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

#[test]
fn a_server_of_this_ca_is_found_whatever_its_name_and_one_of_another_is_not_ours() {
    let (ca, other) = (Ca::new("kubernetes"), Ca::new("kubernetes"));
    let ((ours, one), (elsewhere, two)) = (ca.serves(), other.serves());
    let found = find(&ca, vec![nobody(), elsewhere, ours]);
    assert_eq!(found, [Found::Nothing, Found::Elsewhere, Found::Ours]);
    for serving in [one, two] {
        serving.join().expect("served");
    }
}

#[test]
fn what_speaks_no_tls_or_refuses_is_nothing_at_once() {
    let ca = Ca::new("kubernetes");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let balancer = listener.local_addr().expect("an address");
    let closes = std::thread::spawn(move || drop(listener.accept()));
    let begun = Instant::now();
    assert_eq!(find(&ca, vec![balancer, nobody()]), [Found::Nothing, Found::Nothing]);
    assert!(begun.elapsed() < CONNECT, "{:?}", begun.elapsed());
    closes.join().expect("closed");
}
