//! What the client believes.

use super::*;
use crate::peer::http::{self, Status};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

/// Answers one connection with these bytes, as the node of `identity`, whatever is asked.
fn answers(identity: &PeerIdentity, node: &str, bytes: Vec<u8>) -> SocketAddr {
    let config = crate::peer::identity::server(identity, &name(node)).expect("an identity");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let tls = rustls::ServerConnection::new(config).expect("a server");
        let mut stream = rustls::StreamOwned::new(tls, stream);
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(&bytes);
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    address
}

/// Answers one connection with these bytes, without TLS.
fn answers_plainly(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.write_all(bytes);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

fn asked(ca: &Ca, json: &str) -> Result<Hello, PeerError> {
    let bytes = http::answer(Status::Ok, json.as_bytes());
    let address = answers(&ca.identity("cp1", Role::ControlPlane), "cp1", bytes);
    ca.client("cp2").ask_at(address, &name("cp1"))
}

#[test]
fn a_server_of_another_ca_is_not_believed() {
    let (ca, other) = (Ca::new(), Ca::new());
    let stranger = start(&other.identity("cp1", Role::ControlPlane), "cp1", hello("cp1", Role::ControlPlane));
    let asked = ca.client("cp2").ask_at(stranger.server.address(), &name("cp1"));
    assert!(matches!(asked, Err(PeerError::Untrusted(Mistrust::Certificate(_)))), "{asked:?}");
}

#[test]
fn a_server_whose_certificate_is_over_is_not_believed() {
    let ca = Ca::new();
    let over = ca.signed("cp1", &organisation(Role::ControlPlane), |p| {
        p.not_before = rcgen::date_time_ymd(2001, 1, 1);
        p.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let cp1 = start(&over, "cp1", hello("cp1", Role::ControlPlane));
    match ca.client("cp2").ask_at(cp1.server.address(), &name("cp1")) {
        Err(PeerError::Untrusted(Mistrust::Certificate(why))) => assert!(why.contains("expired"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clone_is_named() {
    let ca = Ca::new();
    // At cp2's address somebody answers with cp1's disk and seed.
    let clone = start(&ca.identity("cp1", Role::ControlPlane), "cp1", hello("cp1", Role::ControlPlane));
    let asked = ca.client("cp1").ask_at(clone.server.address(), &name("cp2"));
    let other = Mistrust::OtherName { asked: name("cp2"), found: Some(name("cp1")) };
    assert_eq!(asked, Err(PeerError::Untrusted(other.clone())));
    assert_eq!(other.to_string(), "cp1 answers there instead of cp2");
}

#[test]
fn a_certificate_with_two_names_is_not_believed() {
    let ca = Ca::new();
    let both = ca.signed("cp1", &organisation(Role::ControlPlane), |p| {
        let dns = server_name("cp2").try_into().expect("a name");
        p.subject_alt_names.push(rcgen::SanType::DnsName(dns));
    });
    let cp1 = start(&both, "cp1", hello("cp2", Role::ControlPlane));
    let asked = ca.client("cp3").ask_at(cp1.server.address(), &name("cp2"));
    let other = Mistrust::OtherName { asked: name("cp2"), found: Some(name("cp1")) };
    assert_eq!(asked, Err(PeerError::Untrusted(other)));
}

#[test]
fn a_server_that_lies_about_its_name_or_role_is_not_believed() {
    let ca = Ca::new();
    for says in [hello("cp3", Role::ControlPlane), hello("cp1", Role::Etcd)] {
        let cp1 = start(&ca.identity("cp1", Role::ControlPlane), "cp1", says);
        let asked = ca.client("cp2").ask_at(cp1.server.address(), &name("cp1"));
        assert!(matches!(asked, Err(PeerError::Untrusted(Mistrust::Lies(_)))), "{asked:?}");
    }
}

#[test]
fn another_version_is_named() {
    let ca = Ca::new();
    let two = Err(PeerError::Version { own: 1, theirs: 2 });
    assert_eq!(asked(&ca, r#"{"protocol":2,"hello":"there"}"#), two);
    let bytes = http::answer(Status::NotFound, br#"{"protocol":2,"why":7}"#);
    let address = answers(&ca.identity("cp1", Role::ControlPlane), "cp1", bytes);
    assert_eq!(ca.client("cp2").ask_at(address, &name("cp1")), two);
}

#[test]
fn what_breaks_the_protocol_is_told_from_silence() {
    let ca = Ca::new();
    let protocol = |asked: Result<Hello, PeerError>| match asked {
        Err(PeerError::Protocol(why)) => why,
        other => panic!("{other:?}"),
    };
    protocol(asked(&ca, "{}"));
    protocol(asked(&ca, "[1,2"));
    let why = protocol(asked(&ca, &" ".repeat((64 << 10) + 1)));
    assert!(why.contains("longer than 65536 bytes"), "{why}");
    let answer = http::answer(Status::NotFound, b"<html>");
    let address = answers(&ca.identity("cp1", Role::ControlPlane), "cp1", answer);
    assert_eq!(protocol(ca.client("cp2").ask_at(address, &name("cp1"))), "status 404");

    let address = answers_plainly(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    protocol(ca.client("cp2").ask_at(address, &name("cp1")));
}

#[test]
fn refusal_silence_and_a_broken_connection_are_told_apart() {
    let ca = Ca::new();
    let client = Client { whole: Duration::from_millis(300), ..ca.client("cp2") };
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    assert_eq!(client.ask_at(closed, &name("cp1")), Err(PeerError::Refused));

    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    assert_eq!(client.ask_at(address, &name("cp1")), Err(PeerError::Timeout));

    let asked = std::thread::scope(|s| {
        s.spawn(|| {
            // The first is what was left from above.
            for _ in 0..2 {
                drop(silent.accept());
            }
        });
        ca.client("cp2").ask_at(address, &name("cp1"))
    });
    assert!(matches!(asked, Err(PeerError::Network(_))), "{asked:?}");
}
