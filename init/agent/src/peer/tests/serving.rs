//! What the server takes from whom.

use super::*;
use crate::peer::http;
use nodeimg_init_core::peer::{Asker, Rejection, STANDING};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A client's configuration that checks nothing of its own certificate.
fn careless(identity: &PeerIdentity) -> Arc<ClientConfig> {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(der(&identity.ca)).expect("a root");
    let key = PrivateKeyDer::from_pem_slice(identity.identity.key.as_bytes()).expect("a key");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![der(&identity.identity.certificate)], key)
        .expect("a client");
    Arc::new(config)
}

fn careless_client(identity: &PeerIdentity) -> Client {
    Client { config: careless(identity), whole: WHOLE, asker: None }
}

/// Sends bytes of HTTP as a peer; status and what the server says of it.
fn say(identity: &PeerIdentity, to: SocketAddr, node: &str, bytes: &[u8]) -> (u16, String) {
    let host = ServerName::try_from(server_name(node)).expect("a name");
    let tls = ClientConnection::new(careless(identity), host).expect("a client");
    let mut stream = StreamOwned::new(tls, TcpStream::connect(to).expect("connected"));
    stream.write_all(bytes).expect("sent");
    let response = http::read_response(&mut stream, 1 << 16).expect("an answer");
    (response.status, Rejection::parse(&response.body).map(|r| r.error).unwrap_or_default())
}

#[test]
fn a_good_exchange() {
    let ca = Ca::new();
    let says = hello("cp1", Role::ControlPlane);
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", says.clone());
    let client = ca.client("cp2");
    for _ in 0..3 {
        assert_eq!(client.ask_at(cp1.server.address(), &name("cp1")), Ok(says.clone()));
    }
    let worker = Client::new(&ca.identity("w1", Role::Worker), &name("w1")).expect("an identity");
    assert_eq!(worker.ask_at(cp1.server.address(), &name("cp1")), Ok(says));
}

#[test]
fn what_an_asker_says_of_itself_is_heard_under_the_name_of_its_certificate() {
    let ca = Ca::new();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let folder = tempfile::tempdir().expect("a folder");
    let hears = heard.clone();
    let answer: Answer = Arc::new(move |question: &Question| {
        hears.lock().expect("heard").push(question.clone());
        hello("cp1", Role::ControlPlane)
    });
    let bind = "127.0.0.1:0".parse().expect("an address");
    let identity = ca.identity("cp1", Role::ControlPlane);
    let reporter = Reporter::quiet(folder.path().into());
    let server = Server::start(&identity, &name("cp1"), answer, bind, &reporter).expect("started");
    let asker = Asker {
        incarnation: Incarnation("1".repeat(32)),
        birth: nodeimg_contract::birth::BirthId("2".repeat(64)),
        holds: true,
    };
    let client = ca.client("cp4");
    for says in [None, Some(asker.clone())] {
        client.saying(says).ask_at(server.address(), &name("cp1")).expect("an answer");
    }
    let heard = heard.lock().expect("heard");
    let [blank, member] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((blank.caller.name.as_str(), &blank.asker), ("cp4", &None));
    assert_eq!((member.caller.role, &member.asker), (Role::ControlPlane, &Some(asker)));
    assert_eq!(member.from, "127.0.0.1".parse::<std::net::IpAddr>().expect("an address"));
}

#[test]
fn a_client_of_another_ca_is_refused() {
    let (ca, other) = (Ca::new(), Ca::new());
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", hello("cp1", Role::ControlPlane));
    let mut identity = other.identity("cp2", Role::ControlPlane);
    identity.ca = ca.pem.clone();
    let asked = careless_client(&identity).ask_at(cp1.server.address(), &name("cp1"));
    assert!(matches!(asked, Err(PeerError::Untrusted(Mistrust::RefusesUs(_)))), "{asked:?}");

    let anonymous = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates({
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("PEM")).expect("a root");
            roots
        })
        .with_no_client_auth();
    let client = Client { config: Arc::new(anonymous), whole: WHOLE, asker: None };
    let asked = client.ask_at(cp1.server.address(), &name("cp1"));
    assert!(matches!(asked, Err(PeerError::Untrusted(Mistrust::RefusesUs(_)))), "{asked:?}");
}

#[test]
fn a_client_whose_certificate_says_no_role_or_is_over_is_refused() {
    let ca = Ca::new();
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", hello("cp1", Role::ControlPlane));
    let ask = |identity: &PeerIdentity| match careless_client(identity)
        .ask_at(cp1.server.address(), &name("cp1"))
    {
        Err(PeerError::Untrusted(Mistrust::RefusesUs(why))) => why,
        other => panic!("{other:?}"),
    };
    let masters = ca.signed("cp2", "system:masters", |_| ());
    assert!(ask(&masters).contains("system:masters"));
    assert!(Client::new(&masters, &name("cp2")).is_err(), "not even asked with");

    let over = ca.signed("cp2", &organisation(Role::ControlPlane), |p| {
        p.not_before = rcgen::date_time_ymd(2001, 1, 1);
        p.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    assert_eq!(ask(&over), "CertificateExpired");

    let server_only = ca.signed("cp2", &organisation(Role::ControlPlane), |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert!(!ask(&server_only).is_empty());
}

#[test]
fn what_is_not_the_one_request_is_rejected() {
    let ca = Ca::new();
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", hello("cp1", Role::ControlPlane));
    let identity = ca.identity("cp2", Role::ControlPlane);
    let say = |text: &str| say(&identity, cp1.server.address(), "cp1", text.as_bytes());
    let head = "HTTP/1.1\r\nHost: x\r\n";

    assert_eq!(say(&format!("GET {STANDING} {head}\r\n")).0, 200);
    assert_eq!(say(&format!("GET {STANDING} {head}x: {}\r\n\r\n", "y".repeat(9000))).0, 431);
    assert_eq!(say(&format!("POST {STANDING} {head}\r\n")).0, 405);
    assert_eq!(say(&format!("GET {STANDING} {head}Content-Length: 2\r\n\r\n{{}}")).0, 400);
    assert_eq!(say("HELO there\r\n\r\n").0, 400);
    assert_eq!(say(&format!("GET / {head}\r\n")).0, 404);
    let (status, why) = say(&format!("GET /nodeimg/v2/standing {head}\r\n"));
    let version = "this node speaks version 1 of the peer protocol, you version 2";
    assert_eq!((status, why.as_str()), (404, version));
}

#[test]
fn who_holds_connections_open_holds_up_nobody() {
    let ca = Ca::new();
    let says = hello("cp1", Role::ControlPlane);
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", says.clone());
    let address = cp1.server.address();
    let client = ca.client("cp2");
    // Half a TLS record each; the eighth place of this address is the client's.
    let mut idle: Vec<TcpStream> = (0..7).map(|_| TcpStream::connect(address).expect("connected")).collect();
    for stream in &mut idle {
        stream.write_all(&[22, 3, 1]).expect("sent");
    }
    assert_eq!(client.ask_at(address, &name("cp1")), Ok(says.clone()));

    // Beyond the places of an address a connection is closed at once, not kept waiting.
    let limit = std::time::Instant::now() + WHOLE;
    let closed = std::iter::repeat_with(|| TcpStream::connect(address).expect("connected"))
        .take(20)
        .filter_map(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            let closed = matches!(stream.read(&mut [0]), Ok(0)) || stream.peek(&mut [0]).is_err_and(is_reset);
            idle.push(stream);
            closed.then_some(())
        })
        .next();
    assert!(closed.is_some() && std::time::Instant::now() < limit, "nobody was turned away");

    // The places are free again when their holders are gone.
    drop(idle);
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while client.ask_at(address, &name("cp1")).is_err() {
        assert!(std::time::Instant::now() < limit, "the places are never free again");
    }
}

fn is_reset(e: std::io::Error) -> bool {
    e.kind() == std::io::ErrorKind::ConnectionReset
}

#[test]
fn an_identity_is_replaced_and_a_bad_one_changes_nothing() {
    let (ca, next) = (Ca::new(), Ca::new());
    let says = hello("cp1", Role::ControlPlane);
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", says.clone());
    let address = cp1.server.address();
    let (before, after) = (ca.client("cp2"), next.client("cp2"));

    let bad = cp1.server.replace(&next.identity("cp3", Role::ControlPlane));
    assert_eq!(bad, Err(BadIdentity::AnotherNode(name("cp3"))));
    assert_eq!(before.ask_at(address, &name("cp1")), Ok(says.clone()));

    cp1.server.replace(&next.identity("cp1", Role::ControlPlane)).expect("good");
    assert_eq!(after.ask_at(address, &name("cp1")), Ok(says));
    let old = before.ask_at(address, &name("cp1"));
    assert!(matches!(old, Err(PeerError::Untrusted(Mistrust::Certificate(_)))), "{old:?}");
}

#[test]
fn a_dropped_server_gives_its_port_back() {
    let ca = Ca::new();
    let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", hello("cp1", Role::ControlPlane));
    let address = cp1.server.address();
    assert!(ca.client("cp2").ask_at(address, &name("cp1")).is_ok());
    drop(cp1);
    assert_eq!(ca.client("cp2").ask_at(address, &name("cp1")), Err(PeerError::Refused));
    std::net::TcpListener::bind(address).expect("the port is free");
}

#[test]
fn an_identity_that_does_not_fit_is_refused() {
    let ca = Ca::new();
    let good = ca.identity("cp1", Role::ControlPlane);
    let mut mixed = good.clone();
    mixed.identity.key = ca.identity("cp1", Role::ControlPlane).identity.key;
    assert!(matches!(Client::new(&mixed, &name("cp1")), Err(BadIdentity::Tls(_))));
    for (part, change) in [
        ("ca", (|i| i.ca = "none".into()) as fn(&mut PeerIdentity)),
        ("identity.certificate", |i| i.identity.certificate = String::new()),
        ("identity.key", |i| i.identity.key = "-----BEGIN PRIVATE KEY-----".into()),
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        let refused = Client::new(&bad, &name("cp1")).map(|_| ());
        assert_eq!(refused, Err(BadIdentity::Pem(part)));
    }
}
