//! `nodeimg cluster …`: what it says, and what it refuses.

use crate::project::{Project, assert_said};

/// Runs it for one control plane with this endpoint and these more words.
fn new(project: &Project, endpoint: &str, more: &[&str]) -> String {
    let args = ["cluster", "new", "lab", "--control-plane", "cp1=192.0.2.11", "--endpoint", endpoint];
    project.nodeimg(&[&args, more].concat())
}

const ENDPOINT: &str = "api.kube.example.net";

#[test]
fn it_says_where_everything_is() {
    let project = Project::new();
    assert_said("cluster_new", &new(&project, ENDPOINT, &[]));
    assert!(project.has("lab/seeds/cp1/user-data") && project.has("lab/admin.kubeconfig"));
}

#[test]
fn an_endpoint_is_a_dns_name() {
    let project = Project::new();
    for (name, endpoint) in [
        ("cluster_endpoint_ipv4", "192.0.2.10"),
        ("cluster_endpoint_ipv4_port", "192.0.2.10:6443"),
        ("cluster_endpoint_ipv6", "2001:db8::10"),
        ("cluster_endpoint_ipv6_port", "[2001:db8::10]:6443"),
        ("cluster_endpoint_upper_case", "API.example.net"),
        ("cluster_endpoint_bad_port", "api.example.net:https"),
    ] {
        assert_said(name, &new(&project, endpoint, &[]));
    }
    assert!(!project.has("lab"));
}

#[test]
fn three_control_planes_and_workers() {
    let project = Project::new();
    let more = ["--control-plane", "cp2=192.0.2.12", "--control-plane", "cp3=192.0.2.13", "--worker", "w1"];
    assert_said("cluster_three", &new(&project, ENDPOINT, &more));
    assert!(project.has("lab/seeds/cp3/user-data") && project.has("lab/seeds/w1.img"));
    assert_said("cluster_seed", &project.nodeimg(&["cluster", "seed", "lab", "w2", "--role", "worker"]));
    assert_said("cluster_permit", &project.nodeimg(&["cluster", "permit", "lab", "--without", "cp3"]));
    assert_said("cluster_remove", &project.nodeimg(&["cluster", "remove-node", "lab", "cp3", "--offline"]));
    assert_said("cluster_permit_even", &project.nodeimg(&["cluster", "permit", "lab"]));
    assert_said("cluster_seed_unknown", &project.nodeimg(&["cluster", "seed", "lab", "w9"]));
    assert_said("cluster_no_folder", &project.nodeimg(&["cluster", "permit", "nowhere"]));
}

#[test]
fn a_whole_cluster_in_one_file() {
    let project = Project::new();
    project.write("cluster.toml", include_str!("../../../../docs/cluster.toml"));
    assert_said("cluster_from", &project.nodeimg(&["cluster", "new", "--from", "cluster.toml"]));
    assert!(project.has("prod/seeds/w2/user-data"));
    project.write("bad.toml", "schema = 1\nname = \"lab\"\nendpiont = \"api.example.net\"\n");
    assert_said("cluster_from_unknown_key", &project.nodeimg(&["cluster", "new", "--from", "bad.toml"]));
    assert_said(
        "cluster_from_and_words",
        &project.nodeimg(&["cluster", "new", "lab", "--from", "cluster.toml"]),
    );
}

#[test]
fn numbers_of_nodes_that_no_cluster_should_have() {
    let project = Project::new();
    let two = ["--control-plane", "cp2=192.0.2.12"];
    assert_said("cluster_even", &new(&project, ENDPOINT, &two));
    let args = ["cluster", "new", "lab", "--endpoint", ENDPOINT];
    assert_said("cluster_no_control_plane", &project.nodeimg(&args));
    let args = ["cluster", "new", "lab", "--control-plane", "cp1", "--endpoint", ENDPOINT];
    assert_said("cluster_control_plane_without_address", &project.nodeimg(&args));
    let twice = ["--worker", "cp1"];
    assert_said("cluster_name_twice", &new(&project, ENDPOINT, &twice));
    assert_said("cluster_ca_dir_missing", &new(&project, ENDPOINT, &["--ca-dir", "nowhere"]));
    assert!(!project.has("lab"));
}

#[test]
fn what_is_there_stays() {
    let project = Project::new();
    std::fs::create_dir(project.path().join("lab")).expect("folder");
    project.write("lab/precious", "keys");
    assert_said("cluster_exists", &new(&project, ENDPOINT, &[]));
    assert!(project.has("lab/precious") && !project.has("lab/pki"));
    project.write("file", "");
    assert_said("cluster_out_below_a_file", &new(&project, ENDPOINT, &["--out", "file/lab"]));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let project = Project::new();
    let cases: &[(&str, &[&str])] = &[
        ("cluster_pod_subnet", &["--pod-subnet", "10.244.0.0"]),
        ("cluster_subnets_overlap", &["--pod-subnet", "10.96.0.0/16"]),
        ("cluster_node_in_pod_subnet", &["--pod-subnet", "192.0.2.0/24"]),
        ("cluster_permit_lifetime", &["--permit-ttl", "500d"]),
        ("cluster_permit_lifetime_no_time", &["--permit-ttl", "forever"]),
        ("cluster_network", &["--network", "slaac"]),
        ("cluster_static_of_another", &["--network", "static:192.0.2.99/24"]),
        ("cluster_gateway_outside", &["--network", "static:192.0.2.11/24,198.51.100.1"]),
    ];
    for (name, more) in cases {
        assert_said(name, &new(&project, ENDPOINT, more));
    }
    let args = ["cluster", "new", "My Lab", "--control-plane", "cp1=192.0.2.11", "--endpoint", ENDPOINT];
    assert_said("cluster_name", &project.nodeimg(&args));
    assert!(!project.has("lab"));
}
