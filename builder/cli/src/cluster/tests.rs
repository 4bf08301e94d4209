use super::spec::{ExtraArgs, NodeWish};
use super::*;
use jiff::Timestamp;
use nodeimg_contract::seed::{MetaData, UserData};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use x509_parser::pem::parse_x509_pem;

mod folders;
mod online;
mod roles;

fn control_plane(name: &str, address: std::net::IpAddr) -> nodeimg_contract::seed::ControlPlane {
    nodeimg_contract::seed::ControlPlane { name: name.to_owned(), address }
}

fn spec(out: PathBuf) -> ClusterSpec {
    let node = control_plane("cp1", "192.0.2.11".parse().expect("an address"));
    ClusterSpec {
        issued_at: "2026-11-22T12:00:00Z".parse().expect("a time"),
        ..ClusterSpec::with_defaults("lab", out, vec![node], "api.kube.example.net")
    }
}

fn made() -> (tempfile::TempDir, Made) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = new(&spec(folder.path().join("lab"))).expect("a cluster");
    (folder, made)
}

fn user_data(made: &Made) -> UserData {
    let text = std::fs::read_to_string(made.nodes[0].seed_folder.join("user-data")).expect("user-data");
    assert!(text.starts_with("#cloud-config\n"));
    serde_saphyr::from_str(&text).expect("YAML of contract's type")
}

#[test]
fn what_was_written_reads_back() {
    let (_folder, made) = made();
    let data = user_data(&made);
    let seed = data.nodeimg.expect("our key");
    assert_eq!(
        (data.hostname.as_deref(), seed.role, seed.cluster.as_str()),
        (Some("cp1"), Role::ControlPlane, "lab")
    );
    assert_eq!(seed.endpoint.addresses, [seed.control_planes[0].address]);
    let permit = seed.formation.expect("formation").permit.expect("a permit");
    assert_eq!((permit.nonce.len(), &permit.cluster), (32, &made.uuid));
    assert_eq!(permit.not_after.to_string(), "2026-11-29T12:00:00Z");
    assert!(seed.bootstrap_tokens.is_empty(), "nobody joins this cluster");
    let meta = std::fs::read_to_string(made.nodes[0].seed_folder.join("meta-data")).expect("meta-data");
    let meta: MetaData = serde_saphyr::from_str(&meta).expect("YAML");
    assert_eq!(meta.local_hostname.as_deref(), Some("cp1"));
    let pki = seed.pki.expect("a PKI");
    let on_disk = std::fs::read_to_string(made.folder.join("pki/ca.key")).expect("a key");
    assert_eq!(pki.ca.expect("a CA").key, on_disk, "PEM survives YAML byte for byte");
}

#[test]
fn certificates_are_kubeadms() {
    let (_folder, made) = made();
    let pki = user_data(&made).nodeimg.expect("our key").pki.expect("a PKI");
    for (pair, name) in
        [(&pki.ca, "kubernetes"), (&pki.etcd_ca, "etcd-ca"), (&pki.front_proxy_ca, "front-proxy-ca")]
    {
        let pair = pair.as_ref().expect("a CA");
        let (_, pem) = parse_x509_pem(pair.certificate.as_bytes()).expect("PEM");
        let certificate = pem.parse_x509().expect("X.509");
        assert_eq!(certificate.subject().to_string(), format!("CN={name}"));
        assert!(certificate.is_ca());
        certificate.verify_signature(None).expect("signed by itself");
        let validity = certificate.validity();
        let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
        assert_eq!(days, 3650);
        let issued = "2026-11-22T12:00:00Z".parse::<Timestamp>().expect("a time").as_second();
        assert_eq!(issued - validity.not_before.timestamp(), 3600);
    }
    assert!(pki.service_account.expect("a key").certificate.starts_with("-----BEGIN PUBLIC KEY-----"));
}

#[test]
fn the_administrator_is_signed_by_the_clusters_ca() {
    use base64::Engine;
    let (_folder, made) = made();
    let text = std::fs::read_to_string(&made.kubeconfig).expect("a kubeconfig");
    let config: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(config["clusters"][0]["cluster"]["server"], "https://api.kube.example.net:6443");
    let decode = |value: &serde_json::Value| {
        let text = value.as_str().expect("base64");
        base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
    };
    let ca = decode(&config["clusters"][0]["cluster"]["certificate-authority-data"]);
    let admin = decode(&config["users"][0]["user"]["client-certificate-data"]);
    let (_, ca) = parse_x509_pem(&ca).expect("PEM");
    let (_, admin) = parse_x509_pem(&admin).expect("PEM");
    let (ca, admin) = (ca.parse_x509().expect("X.509"), admin.parse_x509().expect("X.509"));
    admin.verify_signature(Some(ca.public_key())).expect("signed by the cluster's CA");
    assert_eq!(admin.issuer(), ca.subject());
    assert_eq!(admin.subject().to_string(), "CN=kubernetes-admin, O=kubeadm:cluster-admins");
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let (_folder, made) = made();
    let mut folders = vec![made.folder.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(
            folder.metadata().expect("a folder").permissions().mode() & 0o777,
            0o700,
            "{}",
            folder.display()
        );
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let mode = path.metadata().expect("a file").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    assert_eq!(files, 16);
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let (folder, made) = made();
    let before = std::fs::read(&made.kubeconfig).expect("a kubeconfig");
    let error = new(&spec(made.folder.clone())).expect_err("refused");
    assert!(error.to_string().contains("exists already\nhelp: "), "{error}");
    assert_eq!(std::fs::read(&made.kubeconfig).expect("a kubeconfig"), before);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn the_disk_holds_the_same_documents() {
    let (_folder, made) = made();
    let bytes = std::fs::read(&made.nodes[0].seed_disk).expect("an image");
    let disk = fatfs::FileSystem::new(std::io::Cursor::new(bytes), fatfs::FsOptions::new()).expect("FAT");
    assert_eq!(disk.volume_label(), "cidata");
    for name in ["meta-data", "user-data", "network-config"] {
        let mut text = String::new();
        disk.root_dir().open_file(name).expect("a document").read_to_string(&mut text).expect("text");
        assert_eq!(text, std::fs::read_to_string(made.nodes[0].seed_folder.join(name)).expect("a document"));
    }
}

#[test]
fn what_is_printed_says_where_and_holds_no_secret() {
    let (folder, made) = made();
    let printed = made.to_string();
    let seed = user_data(&made).nodeimg.expect("our key");
    let nonce = seed.formation.expect("formation").permit.expect("a permit").nonce;
    assert!(!printed.contains(&nonce) && !printed.contains("PRIVATE"));
    let printed = printed.replace(&folder.path().display().to_string(), "").replace(&made.uuid, "UUID");
    insta::assert_snapshot!(printed);
}

#[test]
fn what_cannot_become_a_cluster_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = || spec(folder.path().join("lab"));
    let node = |name: &str, address: &str| {
        NodeWish::new(name, Role::ControlPlane, Some(address.parse().expect("an address")))
    };
    let nodes =
        |n: usize| (1..=n).map(|i| node(&format!("cp{i}"), &format!("192.0.2.{i}"))).collect::<Vec<_>>();
    let with = |more: NodeWish| [nodes(1), vec![more]].concat();
    let net = |text: &str| Some(text.to_owned());
    let fixed = |network: &str| network.parse::<NodeNetwork>().expect("a network");
    let cases = [
        ("exists", ClusterSpec { out: folder.path().to_owned(), ..good() }),
        ("even", ClusterSpec { nodes: nodes(2), ..good() }),
        ("even", ClusterSpec { nodes: nodes(4), ..good() }),
        ("too many", ClusterSpec { nodes: nodes(7), ..good() }),
        ("twice", ClusterSpec { nodes: with(NodeWish::new("cp1", Role::Worker, None)), ..good() }),
        (
            "twice",
            ClusterSpec {
                nodes: with(NodeWish::new("w1", Role::Worker, "192.0.2.1".parse().ok())),
                ..good()
            },
        ),
        ("complete", ClusterSpec { nodes: with(NodeWish::new("etcd1", Role::Etcd, None)), ..good() }),
        (
            "complete",
            ClusterSpec {
                nodes: with(NodeWish::new("w1", Role::Worker, None)),
                network: fixed("static:/24"),
                ..good()
            },
        ),
        ("a list", ClusterSpec { nodes: vec![], ..good() }),
        ("a DNS name", ClusterSpec { endpoint_name: "192.0.2.10".into(), ..good() }),
        ("a DNS name", ClusterSpec { endpoint_name: "[2001:db8::1]".into(), ..good() }),
        ("a DNS name", ClusterSpec { endpoint_name: "api..example".into(), ..good() }),
        ("a DNS name", ClusterSpec { endpoint_name: "192.0.2.300".into(), ..good() }),
        ("port 0 is none", ClusterSpec { endpoint_port: 0, ..good() }),
        ("RFC 1123", ClusterSpec { name: "Lab".into(), ..good() }),
        ("RFC 1123", ClusterSpec { nodes: vec![node("cp_1", "192.0.2.1")], ..good() }),
        ("can have", ClusterSpec { nodes: vec![node("cp1", "127.0.0.1")], ..good() }),
        ("outside", ClusterSpec { nodes: vec![node("cp1", "10.244.1.1")], ..good() }),
        ("a network", ClusterSpec { pod_subnet: net("10.244.0.1/16"), ..good() }),
        ("apart", ClusterSpec { service_subnet: net("10.244.128.0/20"), ..good() }),
        ("between", ClusterSpec { permit_lifetime: Some(jiff::SignedDuration::ZERO), ..good() }),
        ("the node's own", ClusterSpec { network: fixed("static:192.0.2.12/24"), ..good() }),
        ("in the node's", ClusterSpec { network: fixed("static:192.0.2.11/29,192.0.2.1"), ..good() }),
    ];
    // What a node's own tests refuse (NI-SEED-003, NI-NET-005).
    let words = |name: &str, label: &str, taint: &str, role: Role| {
        let mut node = NodeWish::new(name, role, None);
        if !label.is_empty() {
            node.settings.labels.insert(label.to_owned(), "x".to_owned());
        }
        node.settings.taints.extend(Some(taint.to_owned()).filter(|t| !t.is_empty()));
        ClusterSpec { nodes: with(node), ..good() }
    };
    let endpoint = |addresses: &[&str]| ClusterSpec {
        endpoint_addresses: addresses.iter().map(|a| a.parse().expect("an address")).collect(),
        ..good()
    };
    let etcd_args = |name: &str, value: &str| ClusterSpec {
        extra_args: ExtraArgs { etcd: [(name.to_owned(), value.to_owned())].into(), ..ExtraArgs::default() },
        ..good()
    };
    let at_power_on = [
        ("/8 to /24", ClusterSpec { pod_subnet: net("10.244.0.0/30"), ..good() }),
        ("/12 to /28", ClusterSpec { service_subnet: net("10.96.0.1/32"), ..good() }),
        ("/108 to /124", ClusterSpec { service_subnet: net("fd00::/64"), ..good() }),
        ("one network", ClusterSpec { pod_subnet: net("10.244.0.0/16,fd00::/56"), ..good() }),
        ("address family", ClusterSpec { pod_subnet: net("fd00:1::/56"), ..good() }),
        (
            "address family",
            ClusterSpec { nodes: [nodes(2), vec![node("cp3", "2001:db8::3")]].concat(), ..good() },
        ),
        ("machine elsewhere", endpoint(&["127.0.0.1"])),
        ("machine elsewhere", endpoint(&["0.0.0.0"])),
        ("machine elsewhere", endpoint(&["192.0.2.1", "169.254.1.1"])),
        ("outside of --pod-subnet", endpoint(&["10.244.9.9"])),
        ("outside of --service-subnet", endpoint(&["10.96.0.9"])),
        ("the name of one node", ClusterSpec { endpoint_name: "cp1".into(), ..good() }),
        ("listens on that port", ClusterSpec { endpoint_port: 2379, ..good() }),
        ("can have", ClusterSpec { nodes: vec![node("cp1", "169.254.7.7")], ..good() }),
        ("can have", ClusterSpec { nodes: vec![node("cp1", "fe80::1")], ..good() }),
        ("--taint \"nonsense\"", words("w1", "", "nonsense", Role::Worker)),
        ("--label \"a b=x\"", words("w1", "a b", "", Role::Worker)),
        ("give itself a role", words("w1", "node-role.kubernetes.io/gpu", "", Role::Worker)),
        ("sets it itself", words("w1", "kubernetes.io/hostname", "", Role::Worker)),
        ("localhost", words("localhost", "", "", Role::Worker)),
        ("--ntp \"not a server\"", ClusterSpec { ntp: vec!["not a server".into()], ..good() }),
        ("cert-sans \"a_b\"", ClusterSpec { cert_sans: vec!["a_b".into()], ..good() }),
        (
            "\"cert-sans\" cannot be used: it has 65 names",
            ClusterSpec { cert_sans: vec!["a.example".into(); 65], ..good() },
        ),
        ("etcd-extra-args \"initial-cluster\"", etcd_args("initial-cluster", "x")),
        ("etcd-extra-args \"--v\"", etcd_args("--v", "4")),
        ("control characters", etcd_args("log-level", "debug\n- --force-new-cluster")),
        ("no balancer has an address", words("lb1", "", "", Role::Lb)),
        (
            "1024 bootstrap tokens",
            ClusterSpec {
                nodes: (0..=1024)
                    .map(|i| NodeWish::new(&format!("w{i}"), Role::Worker, None))
                    .chain(nodes(1))
                    .collect(),
                ..good()
            },
        ),
    ];
    for (wanted, spec) in cases.into_iter().chain(at_power_on) {
        let error = new(&spec).expect_err(wanted).to_string();
        assert!(error.contains(wanted) && error.contains("\nhelp: "), "{wanted}: {error}");
    }
    assert!(!folder.path().join("lab").exists());
}

#[test]
fn a_static_network_names_the_nodes_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = "static:/24,192.0.2.1,192.0.2.53".parse().expect("a network");
    let made = new(&ClusterSpec { network, ..spec(folder.path().join("lab")) }).expect("a cluster");
    let text = std::fs::read_to_string(made.nodes[0].seed_folder.join("network-config")).expect("a document");
    insta::assert_snapshot!(text);
}
