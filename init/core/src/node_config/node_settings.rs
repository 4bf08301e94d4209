//! Labels, taints, address and kubelet settings of this node: checked as the kubelet and the API server would.
//!
//! Sources: apimachinery `validation.IsQualifiedName`/`IsValidLabelValue`; kubelet `app/options` (which labels of
//! `kubernetes.io` a kubelet may give itself: kubelet `apis/well_known_labels.go`); kubectl's form of a taint.

use super::decide::Decision;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::NodeSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

const MAX_LABELS: usize = 64;
const MAX_TAINTS: usize = 32;
const MAX_KUBELET_BYTES: usize = 16 << 10;

/// Prefix of the labels that say a role. The kubelet refuses to set them: a control plane does.
pub const ROLE_LABEL: &str = "node-role.kubernetes.io/";

/// The role label of a worker. Every worker gets it, from a control plane.
pub const WORKER_LABEL: &str = "node-role.kubernetes.io/worker";

/// The label by which a kubelet says which role its image has.
pub const NODEIMG_ROLE: &str = "nodeimg/role";

/// Labels below `kubernetes.io` that a kubelet may set itself.
const KUBELET_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
];

/// What the kubelet itself says of its node; another value would be overwritten.
const KUBELETS_OWN: &[&str] = &["kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"];

/// Fields of KubeletConfiguration that nodeinit decides, or that have a place of their own in the seed.
const OWN_FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "address",
    "authentication",
    "authorization",
    "cgroupDriver",
    "clusterDNS",
    "clusterDomain",
    "containerRuntimeEndpoint",
    "enableServer",
    "failCgroupV1",
    "healthzBindAddress",
    "healthzPort",
    "imageServiceEndpoint",
    "port",
    "readOnlyPort",
    "registerNode",
    "registerWithTaints",
    "resolvConf",
    "rotateCertificates",
    "serverTLSBootstrap",
    "staticPodPath",
    "staticPodURL",
    "tlsCertFile",
    "tlsPrivateKeyFile",
];

/// What a taint does (core/v1 `TaintEffect`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Running pods leave, too.
    NoExecute,
}

impl fmt::Display for TaintEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A taint (core/v1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// A qualified name.
    pub key: String,
    /// A label value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it does.
    pub effect: TaintEffect,
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}:{}", self.key, self.effect),
            None => write!(f, "{}:{}", self.key, self.effect),
        }
    }
}

impl std::str::FromStr for Taint {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (head, effect) = text.rsplit_once(':').ok_or("not of the form KEY[=VALUE]:EFFECT")?;
        let effect = match effect {
            "NoSchedule" => TaintEffect::NoSchedule,
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return Err("the effect is not NoSchedule, PreferNoSchedule or NoExecute"),
        };
        let (key, value) = match head.split_once('=') {
            Some((key, value)) => (key, Some(value).filter(|v| !v.is_empty())),
            None => (head, None),
        };
        qualified_name(key)?;
        value.map_or(Ok(()), label_value)?;
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned), effect })
    }
}

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
            match qualified_name(key).and_then(|()| label_value(value)).and_then(|()| may_be_set(key, role)) {
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
            if OWN_FIELDS.contains(&key.as_str()) {
                self.problem(
                    field,
                    "nodeimg decides it, or it has a place of its own in the seed",
                    "leave it out",
                );
            } else if key.is_empty() || !key.bytes().all(|c| c.is_ascii_alphanumeric()) {
                self.problem(
                    "nodeimg.node.kubelet",
                    "a name is not one of KubeletConfiguration's fields",
                    "use the names of kubelet.config.k8s.io/v1beta1, like maxPods",
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

fn qualified_name(text: &str) -> Result<(), &'static str> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if prefix.is_some_and(|p| !super::names::is_subdomain(p)) {
        return Err("the part before \"/\" is not a DNS name");
    }
    if name.is_empty() { Err("the key has no name") } else { label_value(name) }
}

fn label_value(text: &str) -> Result<(), &'static str> {
    let edge = |c: Option<u8>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let good = text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'));
    if good {
        Ok(())
    } else {
        Err("not at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends")
    }
}

fn may_be_set(key: &str, role: Role) -> Result<(), &'static str> {
    if KUBELETS_OWN.contains(&key) {
        return Err("the kubelet sets it itself");
    }
    if key == NODEIMG_ROLE {
        return Err("nodeimg sets it itself");
    }
    // A worker's own word must never make more of it: pods with secrets are placed by such labels.
    if role != Role::ControlPlane && key.starts_with(ROLE_LABEL) && key != WORKER_LABEL {
        return Err("a worker cannot give itself a role; an administrator sets this label with kubectl");
    }
    if key.starts_with(ROLE_LABEL) || KUBELET_LABELS.contains(&key) {
        return Ok(());
    }
    let Some((prefix, _)) = key.split_once('/') else { return Ok(()) };
    let below = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    if below("kubelet.kubernetes.io") || below("node.kubernetes.io") {
        return Ok(());
    }
    if below("node-restriction.kubernetes.io") {
        return Err(
            "a label of node-restriction.kubernetes.io is for administrators: no node sets it for itself",
        );
    }
    if below("kubernetes.io") || below("k8s.io") {
        return Err("the kubelet refuses this label of Kubernetes' own domain");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_kubectls() {
        for text in ["dedicated=gpu:NoSchedule", "example.com/x:NoExecute", "a:PreferNoSchedule"] {
            assert_eq!(text.parse::<Taint>().expect(text).to_string(), text);
        }
        for bad in ["", "a", "a:Never", ":NoSchedule", "a b:NoSchedule", "a=b c:NoSchedule", "/a:NoSchedule"]
        {
            assert!(bad.parse::<Taint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_those_that_somebody_may_set() {
        for good in [
            "rack",
            "example.com/rack",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/pool",
            "node-role.kubernetes.io/worker",
            "my.kubelet.kubernetes.io/x",
        ] {
            let may = |role| qualified_name(good).and_then(|()| may_be_set(good, role));
            assert_eq!((may(Role::Worker), may(Role::ControlPlane)), (Ok(()), Ok(())), "{good}");
        }
        for bad in [
            "kubernetes.io/hostname",
            "kubernetes.io/x",
            "x.k8s.io/y",
            "node-restriction.kubernetes.io/x",
            "a/b/c",
            "Example.com/a",
            "",
            "a/",
            "nodeimg/role",
            "node-role.kubernetes.io/control-plane",
            "node-role.kubernetes.io/gpu",
        ] {
            assert!(qualified_name(bad).and_then(|()| may_be_set(bad, Role::Worker)).is_err(), "{bad}");
        }
        assert_eq!(may_be_set("node-role.kubernetes.io/gpu", Role::ControlPlane), Ok(()));
        assert!(
            label_value("").is_ok() && label_value("-a").is_err() && label_value(&"a".repeat(64)).is_err()
        );
    }

    #[test]
    fn role_labels_are_kept_from_the_kubelet() {
        let labels = [("node-role.kubernetes.io/worker", ""), ("rack", "7")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let spec = NodeSpec { labels, ..NodeSpec::default() };
        assert_eq!(spec.kubelet_labels().collect::<Vec<_>>(), [("rack", "7")]);
        assert_eq!(spec.role_labels().collect::<Vec<_>>(), [("node-role.kubernetes.io/worker", "")]);
    }
}
