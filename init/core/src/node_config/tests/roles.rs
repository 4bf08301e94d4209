//! Seeds of every role: what each must hold, and must not hold.

use super::*;
use nodeimg_contract::peer;
use nodeimg_contract::seed::{NodeSeed, PeerIdentity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair as Key};

const CERT: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A peer CA, and the identity that it gives a node.
fn identity(node: &str, role: Role) -> PeerIdentity {
    let ca_key = Key::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, peer::ca_name("lab"));
    let key = Key::generate().expect("a key");
    let mut own = CertificateParams::new([peer::server_name(node)]).expect("parameters");
    own.distinguished_name = rcgen::DistinguishedName::new();
    own.distinguished_name.push(DnType::CommonName, node);
    own.distinguished_name.push(DnType::OrganizationName, peer::organisation(role));
    let certificate = own.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).expect("a certificate");
    PeerIdentity {
        ca: ca.self_signed(&ca_key).expect("a CA").pem(),
        identity: nodeimg_contract::seed::KeyPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        },
    }
}

/// The good seed, as contract's type.
fn parsed() -> Seed {
    let documents = Documents { user_data: Some(USER_DATA.as_bytes().to_vec()), ..Documents::default() };
    parse(&documents, "test").expect("a seed that parses").expect("a seed")
}

fn decide_as(role: Role, name: &str, change: impl FnOnce(&mut NodeSeed)) -> Result<Decided, Vec<Problem>> {
    let mut seed = parsed();
    seed.user_data.hostname = Some(name.to_owned());
    let ours = seed.user_data.nodeimg.as_mut().expect("our key");
    ours.role = role;
    change(ours);
    decide(&seed, &RootManifest { role, ..image() }, &NetworkFacts::default())
}

fn nodes(prefix: &str, count: u8, first: u8) -> Vec<nodeimg_contract::seed::ControlPlane> {
    let node = |i| nodeimg_contract::seed::ControlPlane {
        name: format!("{prefix}{}", i + 1),
        address: std::net::IpAddr::from([192, 0, 2, first + i]),
    };
    (0..count).map(node).collect()
}

fn three(ours: &mut NodeSeed) {
    ours.control_planes = nodes("cp", 3, 11);
    ours.peer = Some(identity("cp1", Role::ControlPlane));
}

fn worker(ours: &mut NodeSeed) {
    ours.pki = None;
    ours.formation = None;
    let token = ours.bootstrap_tokens.pop().expect("a token");
    ours.join = Some(nodeimg_contract::seed::Join { ca: CERT.into(), token, certificate_key: None });
}

fn external(ours: &mut NodeSeed) {
    ours.etcd_nodes = nodes("etcd", 3, 21);
    let pair = ours.pki.as_mut().and_then(|p| p.etcd_ca.take()).expect("a pair");
    ours.external_etcd = Some(nodeimg_contract::seed::ExternalEtcd {
        endpoints: vec!["https://192.0.2.21:2379".into()],
        ca: CERT.into(),
        client: pair,
    });
}

fn etcd_node(ours: &mut NodeSeed) {
    ours.etcd_nodes = nodes("etcd", 3, 21);
    ours.peer = Some(identity("etcd2", Role::Etcd));
    let etcd_ca = ours.pki.take().and_then(|p| p.etcd_ca);
    ours.pki = Some(Pki { etcd_ca, ..Pki::default() });
}

fn fields(found: Result<Decided, Vec<Problem>>) -> Vec<String> {
    found.expect_err("refused").into_iter().map(|p| p.field).collect()
}

#[test]
fn every_role_has_what_it_needs() {
    let cp = decide_as(Role::ControlPlane, "cp1", three).expect("good").config;
    assert_eq!((cp.birth_list().len(), cp.address), (3, "192.0.2.11".parse().ok()));
    let cp = decide_as(Role::ControlPlane, "cp1", external).expect("good").config;
    assert!(cp.birth_list().is_empty() && cp.external_etcd.is_some());
    let etcd = decide_as(Role::Etcd, "etcd2", etcd_node).expect("good").config;
    assert_eq!((etcd.birth_list().len(), etcd.address), (3, "192.0.2.22".parse().ok()));
    let worker = decide_as(Role::Worker, "w1", worker).expect("good").config;
    assert!(worker.address.is_none() && worker.pki.is_none() && worker.join.is_some());
    let lb = decide_as(Role::Lb, "lb1", |ours| ours.pki = None).expect("good").config;
    assert!(lb.address.is_none() && lb.birth_list().is_empty());
}

#[test]
fn a_role_without_what_it_needs_is_refused_by_field() {
    let refused = |role, name, change: fn(&mut NodeSeed)| fields(decide_as(role, name, change));
    assert_eq!(
        refused(Role::ControlPlane, "cp1", |o| {
            three(o);
            o.peer = None
        }),
        ["nodeimg.peer"]
    );
    assert_eq!(
        refused(Role::Etcd, "etcd2", |o| {
            etcd_node(o);
            o.peer = None
        }),
        ["nodeimg.peer"]
    );
    assert_eq!(
        refused(Role::Etcd, "etcd2", |o| {
            etcd_node(o);
            o.pki = None
        }),
        ["nodeimg.pki.etcdCA"]
    );
    assert_eq!(
        refused(Role::Worker, "w1", |o| {
            worker(o);
            o.join = None
        }),
        ["nodeimg.join"]
    );
    assert!(refused(Role::ControlPlane, "cp1", |o| o.pki = None).contains(&"nodeimg.pki".to_owned()));
    let no_client = |o: &mut NodeSeed| {
        external(o);
        o.external_etcd = None;
    };
    assert!(refused(Role::ControlPlane, "cp1", no_client).contains(&"nodeimg.externalEtcd".to_owned()));
    assert_eq!(
        refused(Role::Etcd, "etcd9", etcd_node),
        ["nodeimg.etcdNodes", "nodeimg.peer.identity.certificate"]
    );
}

#[test]
fn a_key_where_it_must_not_be_is_refused() {
    let keys = |o: &mut NodeSeed| {
        let pki = o.pki.clone();
        worker(o);
        o.pki = pki;
    };
    assert_eq!(fields(decide_as(Role::Worker, "w1", keys)).len(), 4, "each of the four keys is named");
    let ca_key = |o: &mut NodeSeed| {
        let ca = o.pki.clone().and_then(|p| p.etcd_ca);
        external(o);
        o.pki.iter_mut().for_each(|p| p.etcd_ca = ca.clone());
    };
    assert_eq!(fields(decide_as(Role::ControlPlane, "cp1", ca_key)), ["nodeimg.pki.etcdCA"]);
    let kubernetes = |o: &mut NodeSeed| {
        let ca = o.pki.clone().and_then(|p| p.ca);
        etcd_node(o);
        o.pki.iter_mut().for_each(|p| p.ca = ca.clone());
    };
    assert_eq!(fields(decide_as(Role::Etcd, "etcd2", kubernetes)), ["nodeimg.pki.ca"]);
}

#[test]
fn a_peer_certificate_is_this_nodes_own() {
    for (name, role) in [("cp2", Role::ControlPlane), ("cp1", Role::Etcd)] {
        let found = decide_as(Role::ControlPlane, "cp1", |o| {
            three(o);
            o.peer = Some(identity(name, role));
        });
        assert_eq!(fields(found), ["nodeimg.peer.identity.certificate"], "{name} {role}");
    }
    let other_ca = decide_as(Role::ControlPlane, "cp1", |o| {
        three(o);
        o.peer.iter_mut().for_each(|p| p.ca = p.identity.certificate.clone());
    });
    assert_eq!(fields(other_ca), ["nodeimg.peer.identity.certificate"]);
}

#[test]
fn a_worker_may_know_a_list_that_has_grown() {
    for (n, good) in
        [(1, true), (3, true), (7, true), (2, true), (4, true), (15, true), (16, false), (0, false)]
    {
        let found = decide_as(Role::Worker, "w1", |o| {
            worker(o);
            o.control_planes = nodes("cp", n, 11);
        });
        assert_eq!(found.is_ok(), good, "{n}");
    }
    let claims = decide_as(Role::Worker, "cp1", worker);
    assert_eq!(fields(claims), ["nodeimg.controlPlanes"]);
}

#[test]
fn an_even_list_is_for_those_who_can_only_join() {
    let two = |permit: bool| {
        decide_as(Role::ControlPlane, "cp1", |o| {
            o.control_planes = nodes("cp", 2, 11);
            o.peer = Some(identity("cp1", Role::ControlPlane));
            o.formation = o.formation.take().filter(|_| permit);
        })
    };
    assert_eq!(fields(two(true)), ["nodeimg.controlPlanes"]);
    assert!(two(false).is_ok(), "a cluster that grows from 1 to 3");
}

#[test]
fn a_birth_without_some_leaves_a_majority_and_needs_a_permit() {
    use nodeimg_contract::birth::may_go_without;
    assert!(may_go_without(Method::Quorum, 5, 2).is_ok() && may_go_without(Method::First, 5, 1).is_ok());
    assert!(may_go_without(Method::First, 5, 2).is_err(), "two names could each be the lowest in turn");
    assert!(may_go_without(Method::Quorum, 5, 3).is_err() && may_go_without(Method::First, 1, 1).is_err());
    let without = |names: &[&str], permit: bool| {
        decide_as(Role::ControlPlane, "cp1", |o| {
            three(o);
            let formation = o.formation.as_mut().expect("formation");
            formation.without = names.iter().map(ToString::to_string).collect();
            formation.permit = formation.permit.take().filter(|_| permit);
        })
    };
    let config = without(&["cp3"], true).expect("good").config;
    assert_eq!(config.without.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["cp3"]);
    assert_eq!(fields(without(&["cp3", "cp2"], true)), ["nodeimg.formation.without"]);
    assert_eq!(fields(without(&["cp3"], false)), ["nodeimg.formation.without"]);
    assert_eq!(fields(without(&["cp9"], true)), ["nodeimg.formation.without[0]"]);
    assert_eq!(fields(without(&["cp3", "cp3"], true)), ["nodeimg.formation.without[1]"]);
}

#[test]
fn a_seed_of_a_control_plane_holds_as_many_tokens_as_a_cluster_may_have_workers() {
    use nodeimg_contract::seed::MAX_TOKENS;
    let with = |count: usize| {
        decide_as(Role::ControlPlane, "cp1", |o| {
            three(o);
            let token = o.bootstrap_tokens.first().expect("a token").clone();
            o.bootstrap_tokens = vec![token; count];
            let text = serde_json::to_string(&o.bootstrap_tokens).expect("JSON");
            assert!(text.len() < crate::seed::MAX_BYTES / 4, "there is room for the rest");
        })
    };
    assert!(with(MAX_TOKENS).is_ok());
    assert_eq!(fields(with(MAX_TOKENS + 1)), ["nodeimg.bootstrapTokens"]);
}

#[test]
fn recover_is_no_method_of_a_seed() {
    let found = decide_as(Role::ControlPlane, "cp1", |o| {
        o.formation.as_mut().expect("formation").method = Method::Recover;
    });
    assert_eq!(fields(found), ["nodeimg.formation.method"]);
}

#[test]
fn settings_of_a_node_are_checked() {
    let found = decide_as(Role::Worker, "w1", |o| {
        worker(o);
        o.node.labels = [("kubernetes.io/x", "1"), ("node-role.kubernetes.io/worker", ""), ("rack", "7")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        o.node.taints = vec!["a=b:NoSchedule".into(), "a=c:NoSchedule".into(), "x".into()];
        o.node.node_ip = "127.0.0.1".parse().ok();
        o.node.kubelet = [("maxPods", 20.into()), ("staticPodPath", "/x".into()), ("a-b", 1.into())]
            .map(|(k, v): (&str, serde_json::Value)| (k.to_owned(), v))
            .into();
    });
    let wanted = [
        "nodeimg.node.labels[kubernetes.io/x]",
        "nodeimg.node.taints[1]",
        "nodeimg.node.taints[2]",
        "nodeimg.node.nodeIP",
        "nodeimg.node.kubelet.a-b",
        "nodeimg.node.kubelet.staticPodPath",
    ];
    assert_eq!(fields(found), wanted);
}

#[test]
fn seeds_that_differ_name_the_field_and_hold_no_secret() {
    let one = decide_as(Role::ControlPlane, "cp1", three).expect("good").config;
    let mine = one.seed_fields();
    let other = |change: fn(&mut NodeSeed)| {
        let mut config = decide_as(Role::ControlPlane, "cp1", |o| {
            three(o);
            change(o);
        })
        .expect("good")
        .config;
        // A new peer CA is made for every seed of these tests.
        config.peer = one.peer.clone();
        disagreements(&mine, &config.seed_fields())
    };
    assert!(other(|_| ()).is_empty());
    assert!(other(|o| o.bootstrap_tokens.clear()).is_empty(), "tokens are no matter of agreement");
    assert!(
        other(|o| o.formation.as_mut().expect("formation").permit = None).is_empty(),
        "who has none has no say"
    );
    assert_eq!(
        other(|o| o.kubernetes.pod_subnet = Some("172.24.0.0/16".into())),
        ["nodeimg.kubernetes.podSubnet"]
    );
    assert_eq!(
        other(|o| o.formation.as_mut().expect("formation").method = Method::First),
        ["nodeimg.formation.method"]
    );
    assert_eq!(
        other(|o| o.formation.as_mut().expect("formation").without = vec!["cp3".into()]),
        ["nodeimg.formation.without"]
    );
    let sans = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    assert_eq!(other(|o| o.kubernetes.cert_sans.push("one.example".into())), ["nodeimg.kubernetes.certSANs"]);
    let orders = [sans(["a.example", "b.example"]), sans(["b.example", "a.example"])].map(|names| {
        let with = |o: &mut NodeSeed| {
            three(o);
            o.kubernetes.cert_sans = names;
        };
        let fields = decide_as(Role::ControlPlane, "cp1", with).expect("good").config.seed_fields();
        fields["nodeimg.kubernetes.certSANs"].clone()
    });
    assert_eq!(orders[0], orders[1], "their order is no matter");
    let argument = |name: &str, value: &str| {
        let with = |o: &mut NodeSeed| {
            three(o);
            o.kubernetes.etcd_extra_args.insert(name.into(), value.into());
        };
        let fields = decide_as(Role::ControlPlane, "cp1", with).expect("good").config.seed_fields();
        fields["nodeimg.kubernetes.etcdExtraArgs"].clone()
    };
    assert_ne!(argument("heartbeat-interval", "250"), mine["nodeimg.kubernetes.etcdExtraArgs"]);
    assert_eq!(argument("log-level", "info"), argument("log-level", "warn"), "a value may be a node's own");
    assert_eq!(
        other(|o| {
            let pki = o.pki.as_mut().and_then(|p| p.ca.as_mut()).expect("a CA");
            pki.certificate = pki.certificate.replace("AAAA", "AAAB");
        }),
        ["nodeimg.pki.ca"]
    );
    assert!(
        other(|o| {
            let pki = o.pki.as_mut().and_then(|p| p.ca.as_mut()).expect("a CA");
            pki.certificate = format!("# our CA\r\n{}", pki.certificate.replace('\n', "\r\n"));
        })
        .is_empty(),
        "the same certificate, written otherwise"
    );
}

#[test]
fn a_cache_of_the_first_schema_is_still_read() {
    let now = decided(USER_DATA);
    let text = String::from_utf8(now.to_cache().expect("bytes")).expect("text");
    let mut old: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    old["schema"] = 1.into();
    let config = old["config"].as_object_mut().expect("an object");
    for new in ["etcdNodes", "externalEtcd", "peer", "join", "node", "without"] {
        assert!(config.remove(new).is_some(), "{new}");
    }
    let read = NodeConfig::from_cache(old.to_string().as_bytes()).expect("a cache");
    assert_eq!(read, now);
}
