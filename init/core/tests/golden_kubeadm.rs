//! kubeadm's configuration from whole seeds: `kubeadm/CASE/in/user-data` gives `kubeadm/CASE/expected/*.yaml`.
//! `UPDATE_GOLDEN=1 cargo test -p nodeimg-init-core --test golden_kubeadm` writes them anew, for a person to read.

use nodeimg_contract::birth::{Birth, Incarnation, Participant};
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_init_core::kubeadm::{self, Discovery, Variant};
use nodeimg_init_core::node_config::{NetworkFacts, NodeConfig, Source, Sourced, decide};
use nodeimg_init_core::seed::{Documents, parse};
use std::path::{Path, PathBuf};

fn image(role: Role) -> RootManifest {
    RootManifest {
        schema: 1,
        profile: "test".into(),
        role,
        source_date_epoch: 1_767_225_600,
        suite: "trixie".into(),
        kernel: "6.12.0".into(),
        kubernetes: "1.36.3".into(),
        image_repository: "nodeimg.invalid/k8s".into(),
        image_tags: [("coredns".to_owned(), "v1.14.2".to_owned()), ("etcd".to_owned(), "3.6.8-0".to_owned())]
            .into(),
        versions: Default::default(),
        nodeinit: "0".repeat(64),
        addons: vec!["flannel".into()],
    }
}

fn case(name: &str, role: Role) -> (PathBuf, NodeConfig) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubeadm").join(name);
    let user_data = std::fs::read(folder.join("in/user-data")).expect("in/user-data");
    let documents = Documents { user_data: Some(user_data), ..Documents::default() };
    let seed = parse(&documents, "test").expect("a seed that parses").expect("a seed");
    let dns = Sourced { value: "192.0.2.53".parse().expect("address"), source: Source::Dhcp };
    let facts = NetworkFacts { dns_servers: vec![dns], ..NetworkFacts::default() };
    (folder, decide(&seed, &image(role), &facts).expect("a seed that makes sense").config)
}

fn golden(file: PathBuf, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
        std::fs::write(&file, text).expect("write");
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 writes it anew", file.display());
}

fn birth(config: &NodeConfig) -> Birth {
    let me = Participant {
        name: config.name.value.to_string(),
        address: config.address.expect("a listed node"),
        incarnation: Incarnation("a".repeat(32)),
    };
    Birth::new(config.permit.clone().expect("a permit"), config.method.value, vec![me])
}

fn on_every_node(folder: &Path, config: &NodeConfig) {
    golden(folder.join("expected/hosts"), &config.hosts_file());
    golden(
        folder.join("expected/kubelet-arguments"),
        &(kubeadm::kubelet_arguments(config).join("\n") + "\n"),
    );
}

#[test]
fn configurations_are_as_expected() {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    for name in ["one", "full"] {
        let (folder, config) = case(name, Role::ControlPlane);
        let (image, birth) = (image(Role::ControlPlane), birth(&config));
        let cluster = kubeadm::configuration(&config, &image, Variant::Cluster { now }).expect("rendered");
        let etcd = kubeadm::configuration(&config, &image, Variant::StaticEtcd(&birth)).expect("rendered");
        assert!(!cluster.contains("initial-cluster"), "a birth's flags are never uploaded");
        assert!(etcd.contains(&birth.id().0));
        golden(folder.join("expected/cluster.yaml"), &cluster);
        golden(folder.join("expected/static-etcd.yaml"), &etcd);
        on_every_node(&folder, &config);
    }
}

#[test]
fn a_member_that_is_added_names_the_members_and_no_birth() {
    let (_, config) = case("one", Role::ControlPlane);
    let members = [("cp1", "https://192.0.2.11:2380"), ("cp2", "https://192.0.2.12:2380")]
        .map(|(name, url)| (name.to_owned(), url.to_owned()));
    let joining = Variant::JoiningEtcd { members: &members };
    let text = kubeadm::configuration(&config, &image(Role::ControlPlane), joining).expect("rendered");
    assert!(text.contains("cp1=https://192.0.2.11:2380,cp2=https://192.0.2.12:2380"), "{text}");
    assert!(text.contains("existing") && !text.contains("initial-cluster-token"));
}

#[test]
fn an_external_etcd_is_reached_by_the_files_of_the_seed() {
    let (folder, config) = case("external", Role::ControlPlane);
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let render =
        |variant| kubeadm::configuration(&config, &image(Role::ControlPlane), variant).expect("rendered");
    let (cluster, local) = (render(Variant::Cluster { now }), render(Variant::WithoutEtcd));
    assert!(!cluster.contains("maxPods"), "one node's settings are not uploaded for all");
    assert!(local.contains("maxPods"));
    golden(folder.join("expected/cluster.yaml"), &cluster);
    golden(folder.join("expected/local.yaml"), &local);
    on_every_node(&folder, &config);
    let paths: Vec<_> = nodeimg_init_core::pki::files(&config).into_iter().map(|f| f.path).collect();
    assert_eq!(paths.len(), 9);
    assert!(!paths.contains(&"etcd/ca.key") && paths.contains(&"apiserver-etcd-client.key"), "{paths:?}");
}

#[test]
fn an_etcd_nodes_kubelet_runs_static_pods_alone() {
    let (folder, config) = case("etcd", Role::Etcd);
    let birth = birth(&config);
    let etcd =
        kubeadm::configuration(&config, &image(Role::Etcd), Variant::StaticEtcd(&birth)).expect("rendered");
    let kubelet = kubeadm::kubelet_configuration(&config).expect("rendered");
    assert!(etcd.contains(&kubelet));
    golden(folder.join("expected/static-etcd.yaml"), &etcd);
    golden(folder.join("expected/kubelet.yaml"), &kubelet);
    on_every_node(&folder, &config);
}

#[test]
fn a_worker_joins_by_its_token_and_the_ca_of_its_seed() {
    let (folder, config) = case("worker", Role::Worker);
    let join =
        |discovery, patches| kubeadm::join_configuration(&config, discovery, patches).expect("rendered");
    let by_file = join(Discovery::File("/run/nodeimg/kubeadm/discovery.kubeconfig"), Some("/run/patches"));
    golden(folder.join("expected/join-by-file.yaml"), &by_file);
    golden(folder.join("expected/join-by-token.yaml"), &join(Discovery::Token, None));
    golden(
        folder.join("expected/discovery.kubeconfig"),
        &kubeadm::discovery_kubeconfig(&config).expect("rendered"),
    );
    let certificate = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    let own = kubeadm::kubelet_kubeconfig(&config, certificate).expect("rendered");
    golden(folder.join("expected/kubelet.conf"), &own);
    let (name, patch) = kubeadm::kubelet_patch(&config).expect("rendered").expect("settings");
    golden(folder.join("expected").join(name), &patch);
    on_every_node(&folder, &config);
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let init = kubeadm::configuration(&config, &image(Role::Worker), Variant::Cluster { now });
    assert!(init.is_err(), "a worker never runs kubeadm init");
}

#[test]
fn the_cache_gives_the_same_node() {
    let (_, config) = case("full", Role::ControlPlane);
    let cached = NodeConfig::from_cache(&config.to_cache().expect("bytes")).expect("a cache");
    assert_eq!(cached, config);
    assert_eq!(config.unchanged_since(&cached), Ok(()));
}
