//! `cluster.toml`: a cluster in one file. A person may write it for `cluster new --from`; the cluster's folder keeps it
//! for the commands that come later. It holds no secret.
//!
//! docs/cluster-file.md has every key. Unknown keys are refused, with line and column.

use super::spec::{ExtraArgs, NodeWish};
use super::{ClusterError, ClusterSpec, NodeNetwork};
use nodeimg_contract::birth::Method;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{EndpointMode, KeyAlgorithm, NodeSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Name of the file in the cluster's folder.
pub const NAME: &str = "cluster.toml";
const SCHEMA: u32 = 1;
const LARGEST: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ClusterFile {
    schema: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(default)]
    keys: KeyAlgorithm,
    #[serde(default)]
    method: Method,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adopt: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    upload_certs: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ntp: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ssh_authorized_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    endpoint: EndpointTable,
    #[serde(default)]
    kubernetes: KubernetesTable,
    #[serde(rename = "node")]
    nodes: Vec<NodeTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EndpointTable {
    name: String,
    #[serde(default = "port_6443")]
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<EndpointMode>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
}

fn port_6443() -> u16 {
    6443
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KubernetesTable {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod_subnet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_subnet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dns_domain: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    schedule_on_control_planes: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cert_sans: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    api_server_extra_args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    controller_manager_extra_args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scheduler_extra_args: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    etcd_extra_args: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct NodeTable {
    name: String,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taints: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kubelet: BTreeMap<String, serde_json::Value>,
}

/// Parses the file's text. `path` is for messages; `out` is the folder to make, or the one that it lies in.
pub fn parse(path: &Path, text: &str, out: PathBuf) -> Result<ClusterSpec, ClusterError> {
    let bad = |message: String| ClusterError::File { path: path.to_owned(), message };
    if text.len() > LARGEST {
        return Err(bad(format!("it has {} bytes, more than {LARGEST}", text.len())));
    }
    let file: ClusterFile = toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().to_owned()))?;
    if file.schema != SCHEMA {
        return Err(bad(format!("schema is {}, this nodeimg knows {SCHEMA}", file.schema)));
    }
    if file.method == Method::Recover {
        return Err(bad("method \"recover\" is a command for one node; give \"quorum\" or \"first\"".into()));
    }
    let network = |said: Option<&String>| -> Result<Option<NodeNetwork>, ClusterError> {
        said.map(|text| text.parse().map_err(|e| bad(format!("network \"{text}\": {e}")))).transpose()
    };
    let nodes: Result<Vec<_>, ClusterError> = file
        .nodes
        .into_iter()
        .map(|n| {
            Ok(NodeWish {
                network: network(n.network.as_ref())?,
                name: n.name,
                role: n.role,
                address: n.address,
                settings: NodeSettings {
                    labels: n.labels,
                    taints: n.taints,
                    node_ip: n.node_ip,
                    kubelet: n.kubelet,
                },
            })
        })
        .collect();
    Ok(ClusterSpec {
        uuid: file.uuid,
        nodes: nodes?,
        endpoint_port: file.endpoint.port,
        endpoint_mode: file.endpoint.mode,
        endpoint_addresses: file.endpoint.addresses,
        pod_subnet: file.kubernetes.pod_subnet,
        service_subnet: file.kubernetes.service_subnet,
        dns_domain: file.kubernetes.dns_domain,
        schedule_on_control_planes: file.kubernetes.schedule_on_control_planes,
        cert_sans: file.kubernetes.cert_sans,
        extra_args: ExtraArgs {
            api_server: file.kubernetes.api_server_extra_args,
            controller_manager: file.kubernetes.controller_manager_extra_args,
            scheduler: file.kubernetes.scheduler_extra_args,
            etcd: file.kubernetes.etcd_extra_args,
        },
        ntp: file.ntp,
        ssh_authorized_keys: file.ssh_authorized_keys,
        method: file.method,
        adopt: file.adopt,
        upload_certs: file.upload_certs,
        keys: file.keys,
        network: network(file.network.as_ref())?.unwrap_or(NodeNetwork::Dhcp),
        ..ClusterSpec::with_defaults(&file.name, out, Vec::new(), &file.endpoint.name)
    })
}

/// The text that [`parse`] reads back.
pub fn render(spec: &ClusterSpec) -> Result<String, ClusterError> {
    let file = ClusterFile {
        schema: SCHEMA,
        name: spec.name.clone(),
        uuid: spec.uuid.clone(),
        keys: spec.keys,
        method: spec.method,
        adopt: spec.adopt,
        upload_certs: spec.upload_certs,
        ntp: spec.ntp.clone(),
        ssh_authorized_keys: spec.ssh_authorized_keys.clone(),
        network: Some(&spec.network).filter(|n| **n != NodeNetwork::Dhcp).map(ToString::to_string),
        endpoint: EndpointTable {
            name: spec.endpoint_name.clone(),
            port: spec.endpoint_port,
            mode: spec.endpoint_mode,
            addresses: spec.endpoint_addresses.clone(),
        },
        kubernetes: KubernetesTable {
            pod_subnet: spec.pod_subnet.clone(),
            service_subnet: spec.service_subnet.clone(),
            dns_domain: spec.dns_domain.clone(),
            schedule_on_control_planes: spec.schedule_on_control_planes,
            cert_sans: spec.cert_sans.clone(),
            api_server_extra_args: spec.extra_args.api_server.clone(),
            controller_manager_extra_args: spec.extra_args.controller_manager.clone(),
            scheduler_extra_args: spec.extra_args.scheduler.clone(),
            etcd_extra_args: spec.extra_args.etcd.clone(),
        },
        nodes: spec.nodes.iter().map(table).collect(),
    };
    let text = toml::to_string_pretty(&file)
        .map_err(|e| ClusterError::Render { document: NAME, cause: e.to_string() })?;
    Ok(format!(
        "# The cluster \"{}\", for nodeimg cluster seed, permit and remove-node. It holds no secret.\n\n{text}",
        spec.name
    ))
}

fn table(node: &NodeWish) -> NodeTable {
    NodeTable {
        name: node.name.clone(),
        role: node.role,
        address: node.address,
        network: node.network.as_ref().map(ToString::to_string),
        node_ip: node.settings.node_ip,
        taints: node.settings.taints.clone(),
        labels: node.settings.labels.clone(),
        kubelet: node.settings.kubelet.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = include_str!("../../../../docs/cluster.toml");

    fn read(text: &str) -> Result<ClusterSpec, ClusterError> {
        parse(Path::new("cluster.toml"), text, "out".into())
    }

    #[test]
    fn the_documented_example_makes_sense_and_reads_back() {
        let spec = read(EXAMPLE).expect("parses");
        spec.check().expect("makes sense");
        let again = read(&render(&spec).expect("renders")).expect("parses");
        assert_eq!(ClusterSpec { issued_at: spec.issued_at, ..again }, spec);
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        for (text, wanted) in [
            ("schema = 1\nname = \"lab\"\nnmae = 1\n", "line 3, column 1"),
            ("schema = 1\nname = 1\n", "line 2"),
            ("schema = [", "line 1"),
        ] {
            let said = read(text).expect_err("refused").to_string();
            assert!(said.contains(wanted) && said.contains("\nhelp: "), "{said}");
        }
        let other = EXAMPLE.replace("schema = 1", "schema = 2");
        assert!(read(&other).expect_err("refused").to_string().contains("schema is 2"));
        let role = EXAMPLE.replace("role = \"worker\"", "role = \"wroker\"");
        assert!(read(&role).expect_err("refused").to_string().contains("wroker"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[ -~\\n]{0,200}") {
            let _ = read(&text);
        }
    }
}
