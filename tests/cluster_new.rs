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
    // While the cluster grows its list is even, and workers join all the same.
    nodeimg(&["cluster", "seed", lab, "w2", "--role", "worker", "--wipe-disk", "S1"]);
    let worker = decided(&out, "w2", Role::Worker);
    assert_eq!(
        (worker.control_planes.value.len(), worker.disk.map(|d| d.serial)),
        (4, Some("S1".to_owned()))
    );
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

/// What a node refuses at power-on is refused here already, by the option's name and with a next step.
#[test]
fn what_a_node_refuses_is_refused_when_seeds_are_made() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    for (option, value) in [
        ("--pod-subnet", "10.244.0.0/30"),
        ("--pod-subnet", "fd00:1::/56"),
        ("--service-subnet", "10.96.0.1/32"),
        ("--service-subnet", "fd00::/64"),
        ("--endpoint-address", "127.0.0.1"),
        ("--endpoint-address", "0.0.0.0"),
        ("--endpoint-address", "10.244.3.3"),
        ("--control-plane", "cp2=2001:db8::2"),
        ("--control-plane", "cp2=169.254.0.2"),
        ("--ntp", "not a server"),
        ("--worker", "localhost"),
        ("--lb", "lb1"),
        ("--from", "nothere.toml"),
        ("--ca-dir", "nothere"),
    ] {
        let refused = cluster_new(&out, &[option, value]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && !out.exists(), "{option} {value}: {said}");
    }
    for endpoint in ["localhost", "api.localhost", "cp1", "api.kube.example.net:2379", "192.0.2.10"] {
        let made = Command::new(env!("CARGO_BIN_EXE_nodeimg"))
            .args(["cluster", "new", "lab", "--control-plane", "cp1=192.0.2.11", "--endpoint", endpoint])
            .arg("--out")
            .arg(&out)
            .output()
            .expect("nodeimg runs");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(said.contains("--endpoint \"") && said.contains("\nhelp: "), "{endpoint}: {said}");
        assert!(!made.status.success() && !out.exists(), "{endpoint}");
    }
    assert!(cluster_new(&out, &[]).status.success());
    for (option, value) in [
        ("--taint", "nonsense"),
        ("--label", "a b=1"),
        ("--label", "node-role.kubernetes.io/gpu="),
        ("--label", "kubernetes.io/hostname=x"),
    ] {
        let made = Command::new(env!("CARGO_BIN_EXE_nodeimg"))
            .args(["cluster", "seed"])
            .arg(&out)
            .args(["w1", "--role", "worker", option, value])
            .output()
            .expect("nodeimg runs");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(!made.status.success(), "{option} {value}");
        assert!(said.contains(&format!("{option} \"{value}\"")) && said.contains("\nhelp: "), "{said}");
    }
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    assert!(cluster_new(&out, &[]).status.success());
    let names: Vec<String> = (1..=6).map(|i| format!("w{i}")).collect();
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            Command::new(env!("CARGO_BIN_EXE_nodeimg"))
                .args(["cluster", "seed"])
                .arg(&out)
                .args([name, "--role", "worker"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("nodeimg runs")
        })
        .collect();
    for child in running {
        let ended = child.wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let listed = std::fs::read_to_string(out.join("cluster.toml")).expect("a file");
    for name in &names {
        assert!(listed.contains(&format!("name = \"{name}\"")), "{name} is lost:\n{listed}");
        assert_eq!(decided(&out, name, Role::Worker).name.value.as_str(), name);
    }
}

/// Starts `cluster new` with many nodes, and waits until the CA's key lies in the folder in the making.
fn half_made(folder: &Path) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodeimg"));
    command.args(["cluster", "new", "lab", "--endpoint", "api.kube.example.net"]);
    command.args(["--control-plane", "cp1=192.0.2.11"]).arg("--out").arg(folder.join("lab"));
    command.args((1..=66).flat_map(|i| ["--worker".to_owned(), format!("w{i}")]));
    let quiet = std::process::Stdio::null;
    let mut child = command.stdout(quiet()).stderr(quiet()).spawn().expect("nodeimg runs");
    let begun = (0..6000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let entries = std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
        let mut paths = entries.map(|e| e.path());
        paths.any(|p| p.join("pki/ca.key").exists() && p.join("seeds/cp1.img").exists())
    });
    if !begun {
        child.kill().expect("SIGKILL");
        child.wait().expect("it ends");
    }
    assert!(begun, "nothing was made");
    child
}

#[test]
fn an_interrupted_command_leaves_no_key_behind_and_a_killed_ones_is_removed() {
    use nix::sys::signal::{Signal, kill};
    let folder = tempfile::tempdir().expect("temp folder");
    let entries = || std::fs::read_dir(folder.path()).expect("a folder").count();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut child = half_made(folder.path());
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, signal).expect("a signal");
        assert_eq!(child.wait().expect("it ends").code(), Some(code));
        assert_eq!(entries(), 0, "after {signal}");
    }
    let mut child = half_made(folder.path());
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    assert_eq!(entries(), 1, "nothing can be done against that");
    let out = folder.path().join("lab");
    assert!(cluster_new(&out, &[]).status.success());
    assert_eq!(entries(), 1, "the cluster alone");
    assert!(out.join("cluster.toml").is_file());
}

#[test]
fn a_control_plane_takes_the_tokens_of_more_than_sixty_four_workers() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    let workers: Vec<String> = (1..=65).flat_map(|i| ["--worker".to_owned(), format!("w{i}")]).collect();
    let workers: Vec<&str> = workers.iter().map(String::as_str).collect();
    assert!(cluster_new(&out, &workers).status.success());
    assert_eq!(decided(&out, "cp1", Role::ControlPlane).bootstrap_tokens.len(), 65);
}
