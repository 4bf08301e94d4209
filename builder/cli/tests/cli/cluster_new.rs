//! `nodeimg cluster new`: what it says, and what it refuses.

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
fn one_control_plane_until_more_can_form() {
    let project = Project::new();
    let two = ["--control-plane", "cp2=192.0.2.12"];
    assert_said("cluster_even", &new(&project, ENDPOINT, &two));
    let three = [two, ["--control-plane", "cp3=192.0.2.13"]].concat();
    assert_said("cluster_three", &new(&project, ENDPOINT, &three));
    let args = ["cluster", "new", "lab", "--endpoint", ENDPOINT];
    assert_said("cluster_no_control_plane", &project.nodeimg(&args));
    let args = ["cluster", "new", "lab", "--control-plane", "cp1", "--endpoint", ENDPOINT];
    assert_said("cluster_control_plane_without_address", &project.nodeimg(&args));
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
        ("cluster_permit_lifetime", &["--permit-lifetime", "500d"]),
        ("cluster_permit_lifetime_no_time", &["--permit-lifetime", "forever"]),
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
