//! The commands that ask the cluster, against an API server of this test's own: TLS with the cluster's CA, and no word
//! for who is not its administrator.

use super::folders::{names, run};
use super::roles::large;
use super::*;
use crate::cluster::api::Api;
use crate::cluster::authority::{Authority, Purpose};
use crate::cluster::kept::Kept;
use nodeimg_contract::seed::KeyAlgorithm;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server was asked, in order: method and path.
type Asked = Arc<Mutex<Vec<String>>>;

/// A cluster whose endpoint is a server on loopback. `ready`: what its Node says.
fn served(ready: bool) -> (tempfile::TempDir, PathBuf, Asked) {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let spec = ClusterSpec {
        endpoint_name: "localhost".into(),
        endpoint_port: listener.local_addr().expect("an address").port(),
        issued_at: Timestamp::now(),
        ..large(folder.path().join("lab"), false)
    };
    let lab = new(&spec).expect("a cluster").folder;
    let config = tls(&lab.join("pki"));
    let asked = Asked::default();
    let heard = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, heard) = (config.clone(), heard.clone());
            std::thread::spawn(move || answer(stream, config, &heard, ready));
        }
    });
    (folder, lab, asked)
}

fn tls(pki: &Path) -> Arc<rustls::ServerConfig> {
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).expect("PEM");
    let now = Timestamp::now();
    let ca = Authority::bring(&pki.join("ca.crt"), &read("ca.crt"), &read("ca.key"), now).expect("a CA");
    let purpose = Purpose {
        name: "kube-apiserver",
        organisation: "",
        dns: vec!["localhost".into()],
        server: true,
        days: 1,
        algorithm: KeyAlgorithm::EcdsaP256,
    };
    let own = ca.issue(&purpose, now).expect("a certificate");
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(&read("ca.crt"))).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(vec![certificate(&own.certificate)], key)
        .expect("a certificate and its key");
    Arc::new(config)
}

/// One request a connection. Two pods run on the node until each is evicted.
fn answer(stream: TcpStream, config: Arc<rustls::ServerConfig>, asked: &Asked, ready: bool) {
    let Ok(connection) = rustls::ServerConnection::new(config) else { return };
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
    let line: Vec<&str> = head.split_whitespace().take(2).collect();
    let line = line.join(" ");
    // A handshake that failed asked for nothing.
    if line.is_empty() {
        return;
    }
    let path = line.split_once(' ').map(|(_, path)| path).unwrap_or_default();
    let evicted = asked.lock().expect("a list").iter().filter(|a| a.ends_with("/eviction")).count();
    let body = if path.starts_with("/api/v1/pods?") {
        let pod = |i| format!("{{\"metadata\":{{\"namespace\":\"a\",\"name\":\"p{i}\"}}}}");
        format!("{{\"items\":[{}]}}", (evicted..2).map(pod).collect::<Vec<_>>().join(","))
    } else {
        format!(
            "{{\"status\":{{\"conditions\":[{{\"type\":\"Ready\",\"status\":\"{}\"}}]}}}}",
            if ready { "True" } else { "Unknown" }
        )
    };
    asked.lock().expect("a list").push(line);
    let length = body.len();
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let stream = reader.get_mut();
    // A client that has gone is no matter.
    let _ = stream.write_all(text.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn heard(asked: &Asked) -> Vec<String> {
    asked.lock().expect("a list").clone()
}

#[test]
fn a_worker_is_drained_before_its_node_is_deleted() {
    let (_folder, lab, asked) = served(true);
    let said = run(&lab, "remove-node", &["w1"]).expect("removed");
    assert!(said.contains("pods were evicted, its Node object is deleted"), "{said}");
    let pods = "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dw1";
    let wanted = [
        "GET /readyz",
        "GET /api/v1/nodes/w1",
        "PATCH /api/v1/nodes/w1",
        pods,
        "POST /api/v1/namespaces/a/pods/p0/eviction",
        "POST /api/v1/namespaces/a/pods/p1/eviction",
        pods,
        "DELETE /api/v1/nodes/w1",
    ];
    assert_eq!(heard(&asked), wanted);
    assert!(!lab.join("seeds/w1").exists());
}

#[test]
fn a_node_that_is_gone_is_not_waited_for() {
    let (_folder, lab, asked) = served(false);
    let said = run(&lab, "remove-node", &["cp3"]).expect("removed");
    assert!(said.contains("was not Ready") && said.contains("nodeinit remove-member cp3"), "{said}");
    assert!(heard(&asked).iter().all(|a| !a.contains("pods")), "{:?}", heard(&asked));
}

#[test]
fn a_workers_token_is_told_through_the_api() {
    let (_folder, lab, asked) = served(true);
    let said = run(&lab, "seed", &["w3", "--role", "worker", "--register"]).expect("a seed");
    assert!(said.contains("The cluster knows its token"), "{said}");
    assert_eq!(heard(&asked), ["GET /readyz", "POST /api/v1/namespaces/kube-system/secrets"]);
    assert!(!lab.join("tokens").exists(), "no file is needed");
}

#[test]
fn a_cluster_that_cannot_be_asked_leaves_the_folder_as_it_was() {
    let (_folder, lab, asked) = served(true);
    let before = (names(&lab.join("seeds")), std::fs::read(lab.join("cluster.toml")).expect("a file"));
    for text in ["", "clusters: []\n", "{"] {
        std::fs::write(lab.join(KUBECONFIG), text).expect("written");
        for (name, words) in
            [("remove-node", &["w1"][..]), ("seed", &["w3", "--role", "worker", "--register"])]
        {
            let said = run(&lab, name, words).expect_err("refused").to_string();
            assert!(said.contains(KUBECONFIG) && said.contains("\nhelp: "), "{said}");
        }
    }
    assert_eq!((names(&lab.join("seeds")), std::fs::read(lab.join("cluster.toml")).expect("a file")), before);
    assert!(heard(&asked).is_empty() && !lab.join("replaced").exists());
}

#[test]
fn another_ca_behind_the_endpoint_is_told_nothing() {
    let (_folder, lab, asked) = served(true);
    let other = tempfile::tempdir().expect("a folder");
    let other = new(&spec(other.path().join("lab"))).expect("another cluster");
    std::fs::copy(other.kubeconfig, lab.join(KUBECONFIG)).expect("copied");
    let config = Kept::open(&lab).expect("a folder").spec;
    // One name only: this test asks nobody but loopback.
    let alone = ClusterSpec { nodes: Vec::new(), ..config };
    let said = Api::connect(&lab, &alone).err().expect("refused").to_string();
    assert!(said.contains("cannot be used") && said.contains("--offline"), "{said}");
    assert!(heard(&asked).is_empty());
}
