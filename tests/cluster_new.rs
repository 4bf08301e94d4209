//! What `nodeimg cluster new` writes is what a node accepts: the real program on one side, nodeinit's own parsers and
//! decisions on the other. Neither room sees the other; this test sees both.

use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_init_core::kubeadm;
use nodeimg_init_core::network::{self, LinkMatch};
use nodeimg_init_core::nocloud::volume;
use nodeimg_init_core::node_config::{NetworkFacts, NodeConfig, Source, Sourced, decide, disagreements};
use nodeimg_init_core::seed::{self, Documents};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn image(role: Role) -> RootManifest {
    RootManifest {
        schema: 1,
        profile: "test".into(),
        role,
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

fn cluster_new(out: &Path, more: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_nodeimg"))
        .args([
            "cluster",
            "new",
            "lab",
            "--control-plane",
            "cp1=192.0.2.11",
            "--endpoint",
            "api.kube.example.net",
        ])
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .expect("nodeimg runs")
}

/// A node of this role reads its seed folder and decides.
fn decided(out: &Path, name: &str, role: Role) -> NodeConfig {
    let read = |file: &str| Some(std::fs::read(out.join("seeds").join(name).join(file)).expect("a document"));
    let documents = Documents {
        meta_data: read("meta-data"),
        user_data: read("user-data"),
        vendor_data: None,
        network_config: read("network-config"),
    };
    let seed = seed::parse(&documents, "folder").expect("parses").expect("a seed");
    let server = Sourced { value: "192.0.2.53".parse().expect("an address"), source: Source::NetworkConfig };
    let facts = NetworkFacts { dns_servers: vec![server], ..NetworkFacts::default() };
    let decided =
        decide(&seed, &image(role), &facts).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    assert_eq!(decided.warnings, Vec::<String>::new(), "{name}");
    decided.config
}

fn nodeimg(words: &[&str]) {
    let made = Command::new(env!("CARGO_BIN_EXE_nodeimg")).args(words).output().expect("nodeimg runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

const THREE: [&str; 8] = [
    "--control-plane",
    "cp2=192.0.2.12",
    "--control-plane",
    "cp3=192.0.2.13",
    "--worker",
    "w1",
    "--lb",
    "lb1=192.0.2.10",
];

#[test]
fn nodes_of_every_role_accept_their_seeds_and_agree() {
    for etcd in
        [&[][..], &["--etcd", "etcd1=192.0.2.21", "--etcd", "etcd2=192.0.2.22", "--etcd", "etcd3=192.0.2.23"]]
    {
        for keys in ["ecdsa-p256", "rsa-2048"] {
            let folder = tempfile::tempdir().expect("temp folder");
            let out = folder.path().join("lab");
            let made = cluster_new(&out, &[&THREE, etcd, &["--keys", keys]].concat());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let mut nodes: Vec<_> =
                ["cp1", "cp2", "cp3"].map(|name| decided(&out, name, Role::ControlPlane)).into();
            nodes.push(decided(&out, "w1", Role::Worker));
            nodes.push(decided(&out, "lb1", Role::Lb));
            if !etcd.is_empty() {
                nodes.extend(["etcd1", "etcd2", "etcd3"].map(|name| decided(&out, name, Role::Etcd)));
            }
            let mine = nodes.first().expect("a node").seed_fields();
            for node in &nodes {
                assert_eq!(
                    disagreements(&mine, &node.seed_fields()),
                    Vec::<&str>::new(),
                    "{}",
                    node.name.value
                );
                let born = !node.birth_list().is_empty();
                assert_eq!(born, node.permit.is_some(), "who takes part has leave, and nobody else");
            }
            // What a worker is told is what kubeadm's join takes.
            let worker = nodes.iter().find(|n| n.role.value == Role::Worker).expect("a worker");
            let join =
                kubeadm::join_configuration(worker, kubeadm::Discovery::Token, None).expect("rendered");
            assert!(join.contains("api.kube.example.net:6443") && join.contains("sha256:"));
        }
    }
}

#[test]
fn nodes_accept_what_the_later_commands_write() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    assert!(cluster_new(&out, &THREE).status.success());
    let first = decided(&out, "cp1", Role::ControlPlane);
    let lab = out.to_str().expect("text");
    nodeimg(&["cluster", "permit", lab, "--without", "cp2"]);
    let born = ["cp1", "cp2", "cp3"].map(|name| decided(&out, name, Role::ControlPlane));
    assert!(born.iter().all(|n| n.without.iter().map(|w| w.as_str()).eq(["cp2"])));
    assert_eq!(disagreements(&born[0].seed_fields(), &born[2].seed_fields()), Vec::<&str>::new());
    assert_eq!(
        disagreements(&first.seed_fields(), &born[0].seed_fields()),
        ["nodeimg.formation.permit", "nodeimg.formation.without"],
        "a node with its old seed is told from the others"
    );
    assert_eq!(born[0].unchanged_since(&first), Ok(()));
    nodeimg(&["cluster", "seed", lab, "cp4", "--role", "control-plane", "--address", "192.0.2.14"]);
    let added = decided(&out, "cp4", Role::ControlPlane);
    assert!(added.permit.is_none() && added.control_planes.len() == 4);
    nodeimg(&["cluster", "remove-node", lab, "cp2", "--offline"]);
    nodeimg(&["cluster", "seed", lab, "w1"]);
    assert_eq!(decided(&out, "w1", Role::Worker).control_planes.len(), 3);
}

#[test]
fn a_node_accepts_what_cluster_new_writes() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    let more = ["--network", "static:192.0.2.11/24,192.0.2.1,192.0.2.53", "--ntp", "ntp.example.net"];
    let made = cluster_new(&out, &more);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let read = |name: &str| Some(std::fs::read(out.join("seeds/cp1").join(name)).expect("a document"));
    let config = decided(&out, "cp1", Role::ControlPlane);
    assert_eq!(config.name.value.as_str(), "cp1");
    assert_eq!(config.endpoint_text(), "api.kube.example.net:6443");
    assert_eq!(config.ntp_servers.value, ["ntp.example.net"]);

    let spec = network::parse(&read("network-config").expect("read")).expect("parses");
    assert_eq!(spec.warnings, Vec::<String>::new());
    let link = spec.links.first().expect("a link");
    assert!(link.matches.fits("enp0s2", None) && link.matches.fits("eth0", None));
    assert!(matches!(link.matches, LinkMatch::Link { .. }) && !link.matches.fits("cni0", None));
    assert_eq!(link.addresses, ["192.0.2.11/24".parse().expect("a network")]);
}

#[test]
fn a_node_knows_the_disk_by_its_label() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    assert!(cluster_new(&out, &[]).status.success());
    let disk = std::fs::read(out.join("seeds/cp1.img")).expect("an image");
    let volume = volume::probe(|offset, len| {
        let from = usize::try_from(offset).ok()?;
        disk.get(from..disk.len().min(from + len)).map(<[u8]>::to_vec)
    });
    assert_eq!(volume.map(|v| (v.kind.name(), v.label)), Some(("vfat", "cidata".to_owned())));
}

#[test]
fn a_folder_that_exists_is_left_alone() {
    let folder = tempfile::tempdir().expect("temp folder");
    let refused = cluster_new(folder.path(), &[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("exists already\nhelp: "), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
