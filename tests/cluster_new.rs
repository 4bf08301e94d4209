//! What `nodeimg cluster new` writes is what a node accepts: the real program on one side, nodeinit's own parsers and
//! decisions on the other. Neither room sees the other; this test sees both.

use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_init_core::network::{self, LinkMatch};
use nodeimg_init_core::nocloud::volume;
use nodeimg_init_core::node_config::{NetworkFacts, Source, Sourced, decide};
use nodeimg_init_core::seed::{self, Documents};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

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

#[test]
fn a_node_accepts_what_cluster_new_writes() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("lab");
    let more = ["--network", "static:192.0.2.11/24,192.0.2.1,192.0.2.53", "--ntp", "ntp.example.net"];
    let made = cluster_new(&out, &more);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let read = |name: &str| Some(std::fs::read(out.join("seeds/cp1").join(name)).expect("a document"));
    let documents = Documents {
        meta_data: read("meta-data"),
        user_data: read("user-data"),
        vendor_data: None,
        network_config: read("network-config"),
    };
    let seed = seed::parse(&documents, "folder").expect("parses").expect("a seed");
    let server = Sourced { value: "192.0.2.53".parse().expect("an address"), source: Source::NetworkConfig };
    let facts = NetworkFacts { dns_servers: vec![server], ..NetworkFacts::default() };
    let decided = decide(&seed, &image(), &facts).expect("makes sense");
    assert_eq!(decided.config.name.value.as_str(), "cp1");
    assert_eq!(decided.config.endpoint_text(), "api.kube.example.net:6443");
    assert_eq!(decided.config.ntp_servers.value, ["ntp.example.net"]);
    assert_eq!(decided.warnings, Vec::<String>::new());

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
