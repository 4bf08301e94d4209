//! What a node may be told about itself: labels, taints, kubelet settings, checked as the kubelet and the API server would.
//!
//! Sources: apimachinery `validation.IsQualifiedName`/`IsValidLabelValue`; kubelet `app/options` (which labels of
//! `kubernetes.io` a kubelet may give itself: kubelet `apis/well_known_labels.go`); kubectl's form of a taint.

use crate::image::Role;
use serde::{Deserialize, Serialize};
use std::fmt;

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

/// Whether a node of this role may give itself this label.
pub fn label(key: &str, value: &str, role: Role) -> Result<(), &'static str> {
    qualified_name(key)?;
    label_value(value)?;
    may_be_set(key, role)
}

/// Whether a seed may set this field of KubeletConfiguration.
pub fn kubelet_field(name: &str) -> Result<(), &'static str> {
    if OWN_FIELDS.contains(&name) {
        return Err("nodeimg decides it, or it has a place of its own in the seed");
    }
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Err("its name is not one of KubeletConfiguration's fields");
    }
    Ok(())
}

fn qualified_name(text: &str) -> Result<(), &'static str> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if prefix.is_some_and(|p| !crate::names::is_subdomain(p)) {
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
}
