//! What is done once for the cluster, and this node's own last steps.

use super::api::{Api, Method};
use super::{Formation, addons, phases};
use nodeimg_contract::bootstrap;
use nodeimg_contract::fault::Fault;
use nodeimg_init_core::formation::{ClusterRecord, ClusterStep};
use nodeimg_init_core::kubeadm::Phase;
use nodeimg_init_core::node_config::ROLE_LABEL;
use serde_json::{Map, Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public";
const READER: &str = "nodeimg:birth";

/// Does steps in order; each may be done again.
pub fn run(f: &Formation<'_>, steps: &[ClusterStep]) -> Result<(), Fault> {
    let of_kubeadm: Vec<_> = steps
        .iter()
        .filter_map(|s| if let ClusterStep::Kubeadm(phase) = s { Some(*phase) } else { None })
        .collect();
    if !of_kubeadm.is_empty() {
        phases::publish(f, &of_kubeadm)?;
    }
    for step in steps {
        match step {
            ClusterStep::Kubeadm(_) | ClusterStep::CoreDns { forward: true } => {}
            ClusterStep::CoreDns { forward: false } => addons::core_dns_without_forward(f)?,
            ClusterStep::Rbac => rbac(f)?,
            ClusterStep::Addon(name) => addons::apply(f, name)?,
        }
    }
    Ok(())
}

/// Nodes, and those that are to become nodes, may read the cluster's birth.
fn rbac(f: &Formation<'_>) -> Result<(), Fault> {
    let api = Api::connect(&f.config)?;
    let metadata = json!({ "name": READER, "namespace": ClusterRecord::NAMESPACE });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata.clone(),
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"],
            "resourceNames": [ClusterRecord::NAME] }],
    });
    let group =
        |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": READER },
        "subjects": [group(bootstrap::GROUP), group("system:nodes")],
    });
    api.apply(&format!("{RBAC}/roles/{READER}"), &role)?;
    api.apply(&format!("{RBAC}/rolebindings/{READER}"), &binding)
}

/// Label, taint, rotating client certificate, and the labels that a kubelet may not give itself.
pub fn own(f: &Formation<'_>) -> Result<(), Fault> {
    phases::publish(f, &[Phase::MarkControlPlane, Phase::KubeletFinalize])?;
    let reserved = f.config.node.labels.iter().filter(|(key, _)| key.starts_with(ROLE_LABEL));
    let labels: Map<String, Value> =
        reserved.map(|(key, value)| (key.to_string(), value.to_string().into())).collect();
    if labels.is_empty() {
        return Ok(());
    }
    let path = format!("/api/v1/nodes/{}", f.config.name.value);
    let patch = json!({ "metadata": { "labels": labels } }).to_string();
    let answer = Api::connect(&f.config)?.call(&path, Method::Merge(patch.as_bytes()))?;
    if answer.is_success() { Ok(()) } else { Err(answer.fault(&path)) }
}
