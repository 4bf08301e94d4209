//! Seeds of a whole cluster: each role has what it needs and no more, and every certificate is of its CA.

use super::*;
use nodeimg_contract::birth::Method;
use nodeimg_contract::peer;
use nodeimg_contract::seed::{KeyAlgorithm, NodeSeed};

pub fn wishes(role: Role, prefix: &str, count: u8, first: u8) -> Vec<NodeWish> {
    (0..count)
        .map(|i| NodeWish::new(&format!("{prefix}{}", i + 1), role, Some([192, 0, 2, first + i].into())))
        .collect()
}

#[test]
fn what_is_said_of_components_stands_in_every_control_planes_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = |name: &str| [(name.to_owned(), "1".to_owned())].into();
    let wish = ClusterSpec {
        cert_sans: vec!["kube.example.net".into()],
        extra_args: ExtraArgs {
            api_server: args("v"),
            controller_manager: args("kube-api-qps"),
            scheduler: args("profiling"),
            etcd: args("heartbeat-interval"),
        },
        ..large(folder.path().join("lab"), false)
    };
    let made = new(&wish).expect("a cluster");
    // And in that of one more, from the folder's own file.
    super::folders::run(&made.folder, "seed", &["cp4", "--role", "control-plane", "--address", "192.0.2.14"])
        .expect("a seed");
    for name in ["cp1", "cp3", "cp4"] {
        let k = seed_of(&made.folder, name).kubernetes;
        assert_eq!(k.cert_sans, wish.cert_sans, "{name}");
        assert_eq!(k.api_server_extra_args, wish.extra_args.api_server, "{name}");
        assert_eq!(k.controller_manager_extra_args, wish.extra_args.controller_manager, "{name}");
        assert_eq!(k.scheduler_extra_args, wish.extra_args.scheduler, "{name}");
        assert_eq!(k.etcd_extra_args, wish.extra_args.etcd, "{name}");
    }
}

/// Three control planes, two workers, and three etcd nodes if they are wanted.
pub fn large(out: PathBuf, external: bool) -> ClusterSpec {
    let etcd = if external { wishes(Role::Etcd, "etcd", 3, 21) } else { Vec::new() };
    let mut workers = wishes(Role::Worker, "w", 2, 31);
    workers.iter_mut().for_each(|w| w.address = None);
    ClusterSpec { nodes: [wishes(Role::ControlPlane, "cp", 3, 11), etcd, workers].concat(), ..spec(out) }
}

pub fn seed_of(folder: &Path, name: &str) -> NodeSeed {
    let text = std::fs::read_to_string(folder.join("seeds").join(name).join("user-data")).expect("user-data");
    let data: UserData = serde_saphyr::from_str(&text).expect("YAML of contract's type");
    data.nodeimg.expect("our key")
}

fn verified(certificate: &str, ca: &str) -> String {
    let (_, ca) = parse_x509_pem(ca.as_bytes()).expect("PEM");
    let (_, own) = parse_x509_pem(certificate.as_bytes()).expect("PEM");
    let (ca, own) = (ca.parse_x509().expect("X.509"), own.parse_x509().expect("X.509"));
    own.verify_signature(Some(ca.public_key())).expect("signed by its CA");
    assert_eq!(own.issuer(), ca.subject());
    assert!(own.validity().not_after <= ca.validity().not_after, "a certificate does not outlive its CA");
    own.subject().to_string()
}

#[test]
fn three_control_planes_are_alike_and_know_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = new(&large(folder.path().join("lab"), false)).expect("a cluster");
    let seeds: Vec<_> = ["cp1", "cp2", "cp3"].map(|name| seed_of(&made.folder, name)).into();
    for (seed, name) in seeds.iter().zip(["cp1", "cp2", "cp3"]) {
        let own = seed.peer.as_ref().expect("an identity");
        let subject = verified(&own.identity.certificate, &own.ca);
        assert_eq!(subject, format!("CN={name}, O={}", peer::organisation(Role::ControlPlane)));
        assert_eq!(seed.bootstrap_tokens.len(), 2, "one for each worker");
        assert_eq!(seed.formation, seeds[0].formation, "one permit");
        assert!(seed.pki == seeds[0].pki && seed.pki.as_ref().is_some_and(|p| p.etcd_ca.is_some()));
        assert!(seed.join.is_none() && seed.external_etcd.is_none() && seed.control_planes.len() == 3);
    }
    assert_ne!(seeds[0].peer, seeds[1].peer);
    let key = std::fs::read_to_string(made.folder.join("pki/peer-ca.key")).expect("a key");
    for name in ["cp1", "cp2", "cp3", "w1", "w2"] {
        let text =
            std::fs::read_to_string(made.folder.join("seeds").join(name).join("user-data")).expect("text");
        assert!(!text.contains(key.lines().nth(1).expect("a line")), "the peer CA's key is in no seed");
    }
}

#[test]
fn a_worker_has_a_token_of_its_own_and_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = new(&large(folder.path().join("lab"), false)).expect("a cluster");
    let kept = seed_of(&made.folder, "cp1").bootstrap_tokens;
    let tokens = ["w1", "w2"].map(|name| {
        let seed = seed_of(&made.folder, name);
        assert!(seed.pki.is_none() && seed.peer.is_none() && seed.formation.is_none());
        assert!(seed.bootstrap_tokens.is_empty(), "no other node's token");
        let text =
            std::fs::read_to_string(made.folder.join("seeds").join(name).join("user-data")).expect("text");
        assert!(!text.contains("PRIVATE KEY"));
        let join = seed.join.expect("a way to join");
        assert_eq!(join.ca, std::fs::read_to_string(made.folder.join("pki/ca.crt")).expect("a CA"));
        join.token.token
    });
    assert_ne!(tokens[0], tokens[1]);
    assert!(tokens.iter().all(|t| kept.iter().any(|k| k.token == *t)), "control planes keep them valid");
}

#[test]
fn etcd_nodes_hold_etcds_ca_and_control_planes_a_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = new(&large(folder.path().join("lab"), true)).expect("a cluster");
    let etcd = seed_of(&made.folder, "etcd2");
    let pki = etcd.pki.expect("a CA");
    assert!(
        pki.etcd_ca.is_some()
            && pki.ca.is_none()
            && pki.front_proxy_ca.is_none()
            && pki.service_account.is_none()
    );
    assert!(etcd.formation.expect("formation").permit.is_some());
    let own = etcd.peer.expect("an identity");
    assert!(verified(&own.identity.certificate, &own.ca).ends_with("O=nodeimg:etcd"));
    let control_plane = seed_of(&made.folder, "cp1");
    assert!(control_plane.formation.is_none(), "etcd is born, not the control planes");
    assert!(control_plane.pki.is_some_and(|p| p.etcd_ca.is_none()));
    let external = control_plane.external_etcd.expect("a client");
    assert_eq!(external.endpoints[1], "https://192.0.2.22:2379");
    assert_eq!(verified(&external.client.certificate, &external.ca), "CN=kube-apiserver-etcd-client");
    assert_eq!(control_plane.etcd_nodes, etcd.etcd_nodes);
}

#[test]
fn rsa_is_for_all_of_kubernetes() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = ClusterSpec {
        keys: KeyAlgorithm::Rsa2048,
        method: Method::First,
        ..large(folder.path().join("lab"), true)
    };
    let made = new(&spec).expect("a cluster");
    let seed = seed_of(&made.folder, "cp1");
    assert_eq!(seed.kubernetes.encryption_algorithm, Some(KeyAlgorithm::Rsa2048));
    let pki = seed.pki.expect("a PKI");
    let (_, pem) = parse_x509_pem(pki.ca.expect("a CA").certificate.as_bytes()).expect("PEM");
    let certificate = pem.parse_x509().expect("X.509");
    certificate.verify_signature(None).expect("signed by itself");
    assert_eq!(certificate.public_key().parsed().expect("a key").key_size(), 2048);
    let external = seed.external_etcd.expect("a client");
    verified(&external.client.certificate, &external.ca);
    assert!(pki.service_account.expect("a key").certificate.starts_with("-----BEGIN PUBLIC KEY-----"));
    assert_eq!(seed_of(&made.folder, "etcd1").formation.expect("formation").method, Method::First);
}

/// A root and an intermediate in kubeadm's files, and the root's certificate.
fn company(folder: &Path) -> String {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().expect("a key"))
    };
    let (root, root_key) = ca("Company Root");
    let (intermediate, key) = ca("Company Kubernetes");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let issuer = Issuer::from_params(&root, &root_key);
    let pem = intermediate.signed_by(&key, &issuer).expect("an intermediate").pem();
    std::fs::write(folder.join("ca.crt"), format!("{pem}{root_pem}")).expect("written");
    std::fs::write(folder.join("ca.key"), key.serialize_pem()).expect("written");
    root_pem
}

#[test]
fn an_intermediate_is_brought_along_with_its_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let brought = tempfile::tempdir().expect("a folder");
    let root = company(brought.path());
    let now = Timestamp::now();
    let spec = |out: &str| ClusterSpec {
        ca_dir: Some(brought.path().to_owned()),
        issued_at: now,
        ..large(folder.path().join(out), false)
    };
    let made = new(&spec("lab")).expect("a cluster");
    let seed = seed_of(&made.folder, "w1");
    let ca = seed.join.expect("a way to join").ca;
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 2, "its chain is with it");
    let (_, last) = parse_x509_pem(&ca.as_bytes()[ca.rfind("-----BEGIN").expect("a block")..]).expect("PEM");
    assert_eq!(last.contents, parse_x509_pem(root.as_bytes()).expect("PEM").1.contents);
    let config = std::fs::read_to_string(&made.kubeconfig).expect("a kubeconfig");
    let config: serde_json::Value = serde_saphyr::from_str(&config).expect("YAML");
    use base64::Engine;
    let admin = config["users"][0]["user"]["client-certificate-data"].as_str().expect("base64");
    let admin = base64::engine::general_purpose::STANDARD.decode(admin).expect("base64");
    verified(&String::from_utf8(admin).expect("PEM"), &ca);

    let refused = |what: &str, change: &dyn Fn()| {
        company(brought.path());
        change();
        let said = new(&spec("bad")).expect_err(what).to_string();
        assert!(said.contains(what) && said.contains("\nhelp: "), "{what}: {said}");
        assert!(!folder.path().join("bad").exists());
    };
    let crt = brought.path().join("ca.crt");
    let key = brought.path().join("ca.key");
    refused("it is missing", &|| std::fs::remove_file(&key).expect("removed"));
    refused("belongs to another certificate", &|| {
        let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        std::fs::write(&key, other).expect("written");
    });
    refused("no certificate", &|| std::fs::write(&crt, "nothing").expect("written"));
    refused("was not signed by", &|| {
        let own = std::fs::read_to_string(&crt).expect("PEM");
        let own = &own[..own.rfind("-----BEGIN").expect("a block")];
        std::fs::write(&crt, format!("{own}{root}")).expect("written");
    });
    refused("unencrypted", &|| std::fs::write(&key, "no key").expect("written"));
    let late = ClusterSpec { issued_at: "5000-01-01T00:00:00Z".parse().expect("a time"), ..spec("late") };
    company(brought.path());
    assert!(new(&late).expect_err("refused").to_string().contains("not valid today"));
}

#[test]
fn a_cluster_that_exists_is_joined_without_a_permit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spec = large(folder.path().join("lab"), false);
    spec.nodes.retain(|n| n.name != "cp3");
    assert!(new(&spec).expect_err("refused").to_string().contains("even"));
    spec.permit_lifetime = None;
    let made = new(&spec).expect("seeds");
    let formation = seed_of(&made.folder, "cp2").formation.expect("formation");
    assert!(formation.permit.is_none() && made.permit_ends.is_none());
    assert!(made.to_string().ends_with("can join a cluster, and form none."));
}

#[test]
fn a_nodes_pki_takes_half_a_second_of_a_cpu_at_most() {
    use nix::time::{ClockId, clock_gettime};
    // This thread's own time: other tests run beside it.
    let cpu = || std::time::Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock"));
    let folder = tempfile::tempdir().expect("a folder");
    let began = cpu();
    new(&spec(folder.path().join("lab"))).expect("a cluster");
    let took = cpu() - began;
    assert!(took.as_millis() < 500, "all of a cluster of one: {took:?}");
}

#[test]
fn uploaded_certs_leave_the_keys_in_one_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spec = large(folder.path().join("lab"), false);
    spec.upload_certs = true;
    assert!(new(&spec).is_err(), "only with method first");
    spec.method = Method::First;
    let lab = new(&spec).expect("a cluster").folder;
    let planes: Vec<_> = spec.of(Role::ControlPlane).map(|n| n.name.clone()).collect();
    let lowest = planes.iter().min().expect("one");
    let mut keys = std::collections::BTreeSet::new();
    for name in &planes {
        let seed = seed_of(&lab, name);
        assert_eq!(seed.pki.is_some(), name == lowest, "{name}");
        let join = seed.join.expect("a way to join");
        keys.insert(join.certificate_key.expect("a certificate key").0);
        assert_eq!(seed.formation.expect("a part in the birth").method, Method::First);
        // The one with the keys keeps everybody's token valid.
        let known = seed_of(&lab, lowest).bootstrap_tokens;
        assert!(known.iter().any(|t| t.token == join.token.token));
    }
    assert_eq!((keys.len(), keys.first().map(String::len)), (1, Some(64)));
    let worker = spec.of(Role::Worker).next().expect("a worker");
    assert!(seed_of(&lab, &worker.name).join.expect("a way to join").certificate_key.is_none());
}
