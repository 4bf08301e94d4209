//! kubeadm's configuration from whole seeds: `kubeadm/CASE/in/user-data` gives `kubeadm/CASE/expected/*.yaml`.
//! `UPDATE_GOLDEN=1 cargo test -p nodeimg-init-core --test golden_kubeadm` writes them anew, for a person to read.

use nodeimg_contract::birth::{Birth, Incarnation, Participant};
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_init_core::kubeadm::{self, Variant};
use nodeimg_init_core::node_config::{NetworkFacts, NodeConfig, Source, Sourced, decide};
use nodeimg_init_core::seed::{Documents, parse};
use std::path::{Path, PathBuf};

fn image() -> RootManifest {
    RootManifest {
        schema: 1,
        profile: "cplane".into(),
        role: Role::ControlPlane,
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

fn case(name: &str) -> (PathBuf, NodeConfig) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubeadm").join(name);
    let user_data = std::fs::read(folder.join("in/user-data")).expect("in/user-data");
    let documents = Documents { user_data: Some(user_data), ..Documents::default() };
    let seed = parse(&documents, "test").expect("a seed that parses").expect("a seed");
    let dns = Sourced { value: "192.0.2.53".parse().expect("address"), source: Source::Dhcp };
    let facts = NetworkFacts { dns_servers: vec![dns], ..NetworkFacts::default() };
    (folder, decide(&seed, &image(), &facts).expect("a seed that makes sense").config)
}

fn golden(file: PathBuf, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
        std::fs::write(&file, text).expect("write");
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 writes it anew", file.display());
}

#[test]
fn configurations_are_as_expected() {
    for name in ["one", "full"] {
        let (folder, config) = case(name);
        let me = Participant {
            name: config.name.value.to_string(),
            address: config.address,
            incarnation: Incarnation("a".repeat(32)),
        };
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let birth = Birth::new(config.permit.clone().expect("a permit"), config.method.value, vec![me]);
        let cluster = kubeadm::configuration(&config, &image(), Variant::Cluster { now }).expect("rendered");
        let etcd = kubeadm::configuration(&config, &image(), Variant::StaticEtcd(&birth)).expect("rendered");
        assert!(!cluster.contains("initial-cluster"), "a birth's flags are never uploaded");
        assert!(etcd.contains(&birth.id().0));
        golden(folder.join("expected/cluster.yaml"), &cluster);
        golden(folder.join("expected/static-etcd.yaml"), &etcd);
        golden(folder.join("expected/hosts"), &config.hosts_file());
        golden(
            folder.join("expected/kubelet-arguments"),
            &(kubeadm::kubelet_arguments(&config).join("\n") + "\n"),
        );
    }
}

#[test]
fn the_cache_gives_the_same_node() {
    let (_, config) = case("full");
    let cached = NodeConfig::from_cache(&config.to_cache().expect("bytes")).expect("a cache");
    assert_eq!(cached, config);
    assert_eq!(config.unchanged_since(&cached), Ok(()));
}
