mod roles;

use super::*;
use crate::seed::{Documents, parse};
use nodeimg_contract::fault::Code;

const USER_DATA: &str = include_str!("../../tests/kubeadm/full/in/user-data");

fn image() -> RootManifest {
    RootManifest {
        schema: 1,
        profile: "cplane".into(),
        role: Role::ControlPlane,
        source_date_epoch: 0,
        suite: "trixie".into(),
        kernel: "6.12".into(),
        kubernetes: "1.36.3".into(),
        image_repository: "nodeimg.invalid/k8s".into(),
        image_tags: BTreeMap::new(),
        versions: BTreeMap::new(),
        nodeinit: String::new(),
        addons: Vec::new(),
    }
}

fn try_decide(user_data: &str, facts: &NetworkFacts) -> Result<Decided, Vec<Problem>> {
    let documents = Documents {
        meta_data: Some(b"local-hostname: other\n".to_vec()),
        user_data: Some(user_data.as_bytes().to_vec()),
        ..Documents::default()
    };
    decide(&parse(&documents, "test").expect("a seed that parses").expect("a seed"), &image(), facts)
}

fn decided(user_data: &str) -> NodeConfig {
    try_decide(user_data, &NetworkFacts::default()).expect("a good seed").config
}

/// Every problem of the good seed with one text replaced.
fn problems(from: &str, to: &str) -> Vec<Problem> {
    assert!(USER_DATA.contains(from), "the fixture has {from}");
    try_decide(&USER_DATA.replace(from, to), &NetworkFacts::default()).expect_err("refused")
}

#[test]
fn every_field_has_a_source_and_secrets_are_hidden() {
    let config = decided(USER_DATA);
    assert_eq!(config.name.source, Source::UserData, "hostname stands over local-hostname");
    assert_eq!(config.method.source, Source::Default);
    let explained = config.explain();
    let text = serde_json::to_string(&explained).expect("serialisable");
    for secret in ["PRIVATE KEY", "0123456789abcdef", "4294967296"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(explained.iter().any(|e| e.field == "nodeimg.pki" && e.value == "(secret)"));
    assert!(!format!("{config:?}").contains("PRIVATE KEY"));
}

#[test]
fn dhcp_fills_only_what_the_seed_leaves_empty() {
    let facts = NetworkFacts {
        networks: vec!["192.0.2.11/24".parse().expect("a network")],
        dns_servers: vec![
            Sourced { value: "127.0.0.53".parse().expect("an address"), source: Source::Dhcp },
            Sourced { value: "192.0.2.53".parse().expect("an address"), source: Source::Dhcp },
        ],
        ntp_servers: vec!["192.0.2.123".parse().expect("an address")],
        host_name: Some("dhcp-name".into()),
    };
    let config = try_decide(USER_DATA, &facts).expect("good").config;
    assert_eq!(config.name.as_str(), "cp1");
    assert_eq!((config.ntp_servers.value.len(), &config.ntp_servers.source), (1, &Source::Dhcp));
    assert_eq!(config.dns_servers.len(), 1, "loopback is no server for pods");
    assert!(config.knows_dns());
}

#[test]
fn what_makes_no_sense_is_told_by_field() {
    for (from, to, code, field) in [
        ("name: api.lab.example", "name: 192.0.2.10", Code::SeedInvalid, "nodeimg.endpoint.name"),
        ("port: 8443", "port: 0", Code::SeedInvalid, "nodeimg.endpoint.port"),
        ("hostname: cp1", "hostname: cp7", Code::NotListed, "nodeimg.controlPlanes"),
        ("hostname: cp1", "hostname: CP1", Code::SeedInvalid, "hostname"),
        ("role: control-plane", "role: worker", Code::SeedRole, "nodeimg.role"),
        ("172.21.0.0/16", "172.20.8.0/24", Code::NetOverlap, "nodeimg.kubernetes.podSubnet"),
        ("172.20.0.0/16", "192.0.0.0/16", Code::NetOverlap, "nodeimg.kubernetes.podSubnet"),
        ("172.20.0.0/16", "172.20.0.1/16", Code::SeedInvalid, "nodeimg.kubernetes.podSubnet"),
        (
            "dnsDomain: k8s.example",
            "dnsDomain: k8s_example",
            Code::SeedInvalid,
            "nodeimg.kubernetes.dnsDomain",
        ),
        ("198.51.100.7", "\"a b\"", Code::SeedInvalid, "nodeimg.kubernetes.certSANs[1]"),
        (
            "quota-backend-bytes",
            "initial-cluster-token",
            Code::SeedInvalid,
            "nodeimg.kubernetes.etcdExtraArgs",
        ),
        ("{ profiling:", "{ --profiling:", Code::SeedInvalid, "nodeimg.kubernetes.schedulerExtraArgs"),
        ("abcdef.0123456789abcdef", "abcdef", Code::SeedInvalid, "nodeimg.bootstrapTokens[0].token"),
        ("00112233445566778899aabbccddeeff", "xx", Code::SeedInvalid, "nodeimg.formation.permit.nonce"),
        ("BEGIN PUBLIC KEY", "BEGIN SOMETHING", Code::SeedInvalid, "nodeimg.pki.serviceAccount.certificate"),
    ] {
        let found = problems(from, to);
        assert!(found.iter().any(|p| p.code == code && p.field == field), "{to}: {found:?}");
        assert!(found.iter().all(|p| !p.help.is_empty() && p.fault().code == p.code));
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = USER_DATA.replace("port: 8443", "port: 0").replace("172.20.0.0/16", "nonsense");
    assert_eq!(try_decide(&text, &NetworkFacts::default()).expect_err("refused").len(), 2);
}

#[test]
fn lists_of_other_lengths_say_why() {
    let more = |n: u8| -> String {
        (2..=n).map(|i| format!("    - name: cp{i}\n      address: 192.0.2.2{i}\n")).collect()
    };
    let with =
        |n: u8| problems("      address: 192.0.2.11\n", &format!("      address: 192.0.2.11\n{}", more(n)));
    for n in [2, 4, 6, 7] {
        assert!(with(n).iter().any(|p| p.help.contains("1, 3 or 5")), "{n}");
    }
    assert!(with(3).iter().all(|p| p.field == "nodeimg.peer"), "three are good, but must know each other");
}

#[test]
fn a_seed_without_our_key_is_told_so() {
    let found = try_decide("#cloud-config\nhostname: cp1\n", &NetworkFacts::default()).expect_err("refused");
    assert!(found.len() == 1 && found.iter().all(|p| p.field == "nodeimg"));
}

#[test]
fn what_may_not_change_is_refused_and_the_rest_may() {
    let first = decided(USER_DATA);
    let moved = decided(&USER_DATA.replace("address: 192.0.2.11", "address: 192.0.2.12"));
    let renamed = decided(&USER_DATA.replace("cluster: lab", "cluster: prod"));
    for other in [&moved, &renamed] {
        let found = other.unchanged_since(&first).expect_err("refused");
        assert!(found.len() == 1 && found.iter().all(|p| p.code == Code::SeedImmutable));
    }
    let other_san = decided(&USER_DATA.replace("198.51.100.7", "198.51.100.8"));
    assert_eq!(other_san.unchanged_since(&first), Ok(()));
}

#[test]
fn a_damaged_cache_is_told_from_a_newer_one() {
    let bytes = decided(USER_DATA).to_cache().expect("bytes");
    assert_eq!(
        NodeConfig::from_cache(bytes.get(..bytes.len() / 2).unwrap_or_default()),
        Err(BadCache::Damaged)
    );
    assert_eq!(NodeConfig::from_cache(b"{\"schema\":9,\"config\":{}}"), Err(BadCache::Newer(9)));
    let renamed = String::from_utf8(bytes).expect("text").replace("\"cp1\"", "\"../cp1\"");
    assert_eq!(NodeConfig::from_cache(renamed.as_bytes()), Err(BadCache::Damaged), "names are checked again");
}

#[test]
fn the_ports_follow_the_mode() {
    assert_eq!(decided(USER_DATA).api_port(), API_PORT);
    assert_eq!(decided(&USER_DATA.replace("mode: external", "mode: dns")).api_port(), 8443);
}
