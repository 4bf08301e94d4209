//! JoinConfiguration (`kubeadm.k8s.io/v1beta4`) of a node without the cluster's keys, and the files around it.
//!
//! The cluster's CA is in the seed, so nothing is taken on trust: discovery is by a kubeconfig with that CA, or by the
//! token with the CA's hash. Holds the bootstrap token: the caller's files have mode 0600.

use super::NotRendered;
use super::documents::{KUBEADM, LocalApi, Registration, yaml};
use crate::node_config::NodeConfig;
use base64::Engine;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::Join;
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_parser::pem::parse_x509_pem;

/// How kubeadm finds the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery<'a> {
    /// By the file that [`discovery_kubeconfig`] gives: needs no signature of the cluster-info ConfigMap, so it works
    /// with any valid token.
    File(&'a str),
    /// By the token and the CA's hash (what `kubeadm join` is told by hand).
    Token,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinConfiguration {
    api_version: &'static str,
    kind: &'static str,
    discovery: DiscoverySpec,
    node_registration: Registration,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<ControlPlane>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patches: Option<Patches>,
    timeouts: Timeouts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverySpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap_token: Option<ByToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<ByFile>,
    tls_bootstrap_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ByToken {
    token: String,
    api_server_endpoint: String,
    ca_cert_hashes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ByFile {
    kube_config_path: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ControlPlane {
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: LocalApi,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_key: Option<String>,
}

#[derive(Serialize)]
struct Patches {
    directory: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeouts {
    discovery: &'static str,
    tls_bootstrap: &'static str,
    #[serde(rename = "kubernetesAPICall")]
    kubernetes_api_call: &'static str,
}

/// Renders JoinConfiguration. `patches` is the folder with the file of [`kubelet_patch`], if there is one.
pub fn join_configuration(
    config: &NodeConfig,
    discovery: Discovery<'_>,
    patches: Option<&str>,
) -> Result<String, NotRendered> {
    let join = join(config)?;
    let token = join.token.token.clone();
    let control_plane = match config.role.value {
        Role::ControlPlane => Some(ControlPlane {
            local_api_endpoint: LocalApi::new(config)?,
            certificate_key: join.certificate_key.as_ref().map(|k| k.0.clone()),
        }),
        Role::Worker | Role::Lb | Role::Etcd => None,
    };
    yaml(&JoinConfiguration {
        api_version: KUBEADM,
        kind: "JoinConfiguration",
        discovery: match discovery {
            Discovery::File(path) => DiscoverySpec {
                bootstrap_token: None,
                file: Some(ByFile { kube_config_path: path.to_owned() }),
                tls_bootstrap_token: token,
            },
            Discovery::Token => DiscoverySpec {
                bootstrap_token: Some(ByToken {
                    token: token.clone(),
                    api_server_endpoint: config.endpoint_text(),
                    ca_cert_hashes: vec![ca_cert_hash(&join.ca)?],
                }),
                file: None,
                tls_bootstrap_token: token,
            },
        },
        node_registration: Registration::new(config),
        control_plane,
        patches: patches.map(|directory| Patches { directory: directory.to_owned() }),
        timeouts: Timeouts { discovery: "5m0s", tls_bootstrap: "5m0s", kubernetes_api_call: "5m0s" },
    })
}

/// The kubeconfig of [`Discovery::File`]: the endpoint, its CA, and the bootstrap token (kubeadm refuses one without a
/// user).
pub fn discovery_kubeconfig(config: &NodeConfig) -> Result<String, NotRendered> {
    let token = &join(config)?.token.token;
    kubeconfig(config, "bootstrap", &format!("token: \"{token}\""))
}

/// The kubeconfig of a kubelet whose certificate and key lie in one file, as the kubelet writes it when it has joined.
pub fn kubelet_kubeconfig(config: &NodeConfig, certificate: &str) -> Result<String, NotRendered> {
    let user = format!("client-certificate: \"{certificate}\"\n    client-key: \"{certificate}\"");
    kubeconfig(config, "kubelet", &user)
}

fn kubeconfig(config: &NodeConfig, user: &str, credentials: &str) -> Result<String, NotRendered> {
    let join = join(config)?;
    let ca = base64::engine::general_purpose::STANDARD.encode(join.ca.as_bytes());
    // Names and the token were checked to be plain; base64 is.
    Ok(format!(
        "apiVersion: v1\nkind: Config\n\
         clusters:\n- name: \"{name}\"\n  cluster:\n    certificate-authority-data: \"{ca}\"\n    server: \"https://{endpoint}\"\n\
         contexts:\n- name: \"{name}\"\n  context:\n    cluster: \"{name}\"\n    user: \"{user}\"\n\
         current-context: \"{name}\"\nusers:\n- name: \"{user}\"\n  user:\n    {credentials}\n",
        name = config.cluster.value,
        endpoint = config.endpoint_text(),
    ))
}

/// kubeadm's `caCertHashes`: `sha256:` and the digest of the CA's public key (SubjectPublicKeyInfo, DER).
pub fn ca_cert_hash(pem: &str) -> Result<String, NotRendered> {
    let unreadable = || NotRendered("the CA in nodeimg.join.ca is not an X.509 certificate".into());
    let begin = pem.find("-----BEGIN").and_then(|at| pem.get(at..)).ok_or_else(unreadable)?;
    let (_, block) = parse_x509_pem(begin.as_bytes()).map_err(|_| unreadable())?;
    let certificate = block.parse_x509().map_err(|_| unreadable())?;
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(certificate.public_key().raw))))
}

/// File name and text of kubeadm's patch with this node's own kubelet settings: a joining node takes the cluster's
/// KubeletConfiguration, patched. None: nothing to patch.
pub fn kubelet_patch(config: &NodeConfig) -> Result<Option<(&'static str, String)>, NotRendered> {
    if config.node.kubelet.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string_pretty(&config.node.kubelet).map_err(|e| NotRendered(e.to_string()))?;
    Ok(Some(("kubeletconfiguration0+merge.json", text + "\n")))
}

fn join(config: &NodeConfig) -> Result<&Join, NotRendered> {
    let none = || NotRendered(format!("the seed of \"{}\" has no nodeimg.join", config.name.value));
    config.join.as_ref().ok_or_else(none)
}
