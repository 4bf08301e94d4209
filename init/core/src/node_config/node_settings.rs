//! Labels, taints, address and kubelet settings of this node: checked by contract's rules, which the builder asks too.

use super::decide::Decision;
use nodeimg_contract::image::Role;
pub use nodeimg_contract::node::{NODEIMG_ROLE, ROLE_LABEL, Taint, TaintEffect, WORKER_LABEL};
use nodeimg_contract::node::{kubelet_field, label};
use nodeimg_contract::seed::NodeSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

const MAX_LABELS: usize = 64;
const MAX_TAINTS: usize = 32;
const MAX_KUBELET_BYTES: usize = 16 << 10;

/// A node's own settings, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// Labels of the Node object.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints, in the seed's order, each key and effect once.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// The kubelet's `--node-ip`, if the seed names it.
    #[serde(default)]
    pub node_ip: Option<IpAddr>,
    /// Fields of this node's KubeletConfiguration.
    #[serde(default)]
    pub kubelet: BTreeMap<String, serde_json::Value>,
}

impl NodeSpec {
    /// Labels that the kubelet gives itself.
    pub fn kubelet_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().filter(|(key, _)| !key.starts_with(ROLE_LABEL))
    }
    /// Labels below `node-role.kubernetes.io/`: a control plane sets them.
    pub fn role_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().filter(|(key, _)| key.starts_with(ROLE_LABEL))
    }
    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Decision {
    pub(super) fn node_settings(&mut self, said: &NodeSettings, role: Role) -> NodeSpec {
        let mut spec = NodeSpec { node_ip: said.node_ip, ..NodeSpec::default() };
        if said.labels.len() > MAX_LABELS || said.taints.len() > MAX_TAINTS {
            let cause = format!("more than {MAX_LABELS} labels or {MAX_TAINTS} taints");
            self.problem("nodeimg.node", cause, "give fewer");
        }
        for (key, value) in said.labels.iter().take(MAX_LABELS) {
            let field = format!("nodeimg.node.labels[{}]", shown(key));
            match label(key, value, role) {
                Ok(()) => {
                    spec.labels.insert(key.clone(), value.clone());
                }
                Err(cause) => self.problem(field, cause, "correct the label, or set it with kubectl later"),
            }
        }
        for (i, text) in said.taints.iter().take(MAX_TAINTS).enumerate() {
            let field = format!("nodeimg.node.taints[{i}]");
            match text.parse::<Taint>() {
                Ok(t) if spec.taints.iter().any(|o| o.key == t.key && o.effect == t.effect) => {
                    self.problem(field, "its key and effect stand there twice", "give each once");
                }
                Ok(taint) => spec.taints.push(taint),
                Err(cause) => self.problem(field, cause, "write it like dedicated=gpu:NoSchedule"),
            }
        }
        if said.node_ip.is_some_and(|a| !super::decide::is_unicast(a)) {
            self.problem(
                "nodeimg.node.nodeIP",
                "not the address of a machine",
                "give an address of this node",
            );
        }
        for (key, value) in &said.kubelet {
            let field = format!("nodeimg.node.kubelet.{}", shown(key));
            if let Err(cause) = kubelet_field(key) {
                self.problem(
                    field,
                    cause,
                    "leave it out, or write it as kubelet.config.k8s.io/v1beta1 does, like maxPods",
                );
            } else {
                spec.kubelet.insert(key.clone(), value.clone());
            }
        }
        let bytes = serde_json::to_vec(&spec.kubelet).map_or(usize::MAX, |text| text.len());
        if bytes > MAX_KUBELET_BYTES {
            let cause = format!("more than {MAX_KUBELET_BYTES} bytes");
            self.problem("nodeimg.node.kubelet", cause, "give fewer settings");
        }
        spec
    }
}

/// A key as a problem may show it: it may be anything, of any length.
fn shown(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_labels_are_kept_from_the_kubelet() {
        let labels = [("node-role.kubernetes.io/worker", ""), ("rack", "7")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let spec = NodeSpec { labels, ..NodeSpec::default() };
        assert_eq!(spec.kubelet_labels().collect::<Vec<_>>(), [("rack", "7")]);
        assert_eq!(spec.role_labels().collect::<Vec<_>>(), [("node-role.kubernetes.io/worker", "")]);
    }
}
