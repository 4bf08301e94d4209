//! A machine with the address and the peer certificate of a listed control plane, which answers what it likes.

use crate::claims::{READY, THREE, fault_says, good, nothing_formed};
use crate::support::{Seeds, lab_of_roles};
use nodeimg_contract::fault::Code;
use nodeimg_contract::peer::PORT;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What cp3 would say of itself, blank.
fn hello(name: &str, role: &str) -> String {
    let incarnation = "a".repeat(32);
    format!(
        r#"{{"protocol":1,"name":"{name}","address":"10.77.0.13","role":"{role}","cluster":"lab",
"standing":{{"standing":"blank","incarnation":"{incarnation}"}},"kubernetes":"1.36.3","nodeinit":"0.1.0"}}"#
    )
}

pub fn lies_and_versions() {
    let seeds = Seeds::new("lab", &THREE);
    // What stands in cp3's place has its address by a worker's seed: a worker answers no peers.
    let other = Seeds::with("other", &[("cp1", "10.77.0.11")], &["--worker", "cp3=10.77.0.13"]);
    let lab = lab_of_roles(&seeds, &["cp1", "cp2"], &[("cp3", "worker")]);
    lab.node("cp3").set_seed(Some(other.of("cp3")));
    good(lab.power_on(&["cp3"]));
    let at = format!("10.77.0.13:{PORT}").parse().expect("an address");
    let mut listener = None;
    good(lab.until("cp3 to have its address", READY, || {
        listener = lab.node("cp3").listen(at).ok();
        listener.is_some()
    }));
    let says = Arc::new(Mutex::new(String::new()));
    answers(listener.expect("a listener"), &seeds, says.clone());
    let version = ["cp3", "version 2 of the peer protocol", "this node version 1"];
    let cases: [(String, &[&str]); 3] = [
        (r#"{"protocol":2,"name":7}"#.to_owned(), &version),
        (
            hello("cp1", "control-plane"),
            &["cp3 (control-plane) by its certificate", "cp1 (control-plane) by its answer"],
        ),
        (hello("cp3", "etcd"), &["cp3 (control-plane) by its certificate", "cp3 (etcd) by its answer"]),
    ];
    for (n, (answer, words)) in cases.iter().enumerate() {
        says.lock().expect("nobody failed").clone_from(answer);
        if n == 0 {
            good(lab.power_on(&["cp1", "cp2"]));
        }
        good(lab.until(&format!("both to name what cp3 does: {words:?}"), READY, || {
            ["cp1", "cp2"].iter().all(|node| fault_says(&lab, node, Code::PeerUntrusted, words))
        }));
        nothing_formed(&lab);
    }
}

/// Answers every question under cp3's certificate, until the test ends.
fn answers(listener: TcpListener, seeds: &Seeds, says: Arc<Mutex<String>>) {
    let seed = std::fs::read_to_string(seeds.of("cp3").join("user-data")).expect("user-data");
    // Below nodeimg.peer: the CA, then the node's certificate and its key.
    let peer = seed.split("\n  peer:").nth(1).expect("a peer identity");
    let text: String = peer.lines().map(|line| format!("{}\n", line.trim())).collect();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .skip(1)
        .take(1)
        .collect::<Result<_, _>>()
        .expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a server");
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let tls = ServerConnection::new(config.clone()).expect("a server");
            let mut stream = StreamOwned::new(tls, stream);
            let _ = stream.read(&mut [0; 4096]);
            let body = says.lock().expect("nobody failed").clone();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
}
