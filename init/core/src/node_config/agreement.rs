//! What the seeds of one cluster must agree on, as a digest by field.
//!
//! Takes a [`NodeConfig`], gives texts that peers may exchange: a disagreement names the field. Only public things are
//! hashed (names, networks, certificates; a permit's nonce has 128 random bits); tokens and keys never are, nor values of
//! components' arguments.

use super::NodeConfig;
use base64::Engine;
use nodeimg_contract::birth::Method;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Hexadecimal digits of a digest.
const DIGITS: usize = 32;

impl NodeConfig {
    /// Field (as a seed spells it) and digest. A field that this node's seed does not have is left out: two nodes agree
    /// if every field that both have has one digest ([`disagreements`]).
    pub fn seed_fields(&self) -> BTreeMap<&'static str, String> {
        let mut fields = BTreeMap::new();
        let mut add = |field: &'static str, parts: &[&str]| {
            fields.insert(field, digest(parts));
        };
        let k = &self.kubernetes;
        add("nodeimg.cluster", &[self.cluster.as_str()]);
        add("nodeimg.endpoint.name", &[self.endpoint.name.as_str()]);
        add("nodeimg.endpoint.port", &[&self.endpoint.port.to_string()]);
        add("nodeimg.kubernetes.podSubnet", &[&k.pod_subnet.to_string()]);
        add("nodeimg.kubernetes.serviceSubnet", &[&k.service_subnet.to_string()]);
        add("nodeimg.kubernetes.dnsDomain", &[k.dns_domain.as_str()]);
        for (field, nodes) in
            [("nodeimg.controlPlanes", &self.control_planes.value), ("nodeimg.etcdNodes", &self.etcd_nodes)]
        {
            let lines: Vec<_> = nodes.iter().map(|n| format!("{}={}", n.name, n.address)).collect();
            add(field, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
        // Workers and balancers hold no opinion on a birth.
        if !self.birth_list().is_empty() {
            let method = match self.method.value {
                Method::Quorum => "quorum",
                Method::First => "first",
                Method::Recover => "recover",
            };
            add("nodeimg.formation.method", &[method]);
            let mut names: Vec<_> = k.cert_sans.value.iter().map(ToString::to_string).collect();
            names.sort();
            names.dedup();
            add("nodeimg.kubernetes.certSANs", &names.iter().map(String::as_str).collect::<Vec<_>>());
            // Names alone: a value may be a secret, or a node's own.
            for (field, args) in k.extra_args() {
                add(field, &args.keys().map(|name| name.as_str()).collect::<Vec<_>>());
            }
        }
        if let Some(permit) = &self.permit {
            add("nodeimg.formation.permit", &[&permit.cluster, &permit.nonce, &permit.not_after.to_string()]);
            let names: Vec<_> = self.without.iter().map(|n| n.as_str()).collect();
            add("nodeimg.formation.without", &names);
        }
        let pki = self.pki.as_ref();
        let certificate =
            |pair: Option<&nodeimg_contract::seed::KeyPair>| pair.map(|p| p.certificate.clone());
        let cas = [
            (
                "nodeimg.pki.ca",
                certificate(pki.and_then(|p| p.ca.as_ref()))
                    // A control plane without keys has the root alone, which is another certificate below a chain.
                    .or_else(|| self.join.as_ref().filter(|_| !self.fetches_keys()).map(|j| j.ca.clone())),
            ),
            ("nodeimg.pki.frontProxyCA", certificate(pki.and_then(|p| p.front_proxy_ca.as_ref()))),
            (
                "nodeimg.pki.etcdCA",
                certificate(pki.and_then(|p| p.etcd_ca.as_ref()))
                    .or_else(|| self.external_etcd.as_ref().map(|e| e.ca.clone())),
            ),
            ("nodeimg.pki.serviceAccount", certificate(pki.and_then(|p| p.service_account.as_ref()))),
            ("nodeimg.peer.ca", self.peer.as_ref().map(|p| p.ca.clone())),
        ];
        for (field, pem) in cas {
            if let Some(pem) = pem {
                fields.insert(field, fingerprint(&pem));
            }
        }
        fields
    }
}

/// Fields that both have, with different digests.
pub fn disagreements<'a, K: AsRef<str> + Ord>(
    mine: &BTreeMap<&'a str, String>,
    theirs: &BTreeMap<K, String>,
) -> Vec<&'a str> {
    let theirs: BTreeMap<&str, &String> = theirs.iter().map(|(k, v)| (k.as_ref(), v)).collect();
    mine.iter()
        .filter(|(field, d)| theirs.get(*field).is_some_and(|t| t != d))
        .map(|(field, _)| *field)
        .collect()
}

fn digest(parts: &[&str]) -> String {
    let mut h = Sha256::new();
    for part in parts {
        h.update((part.len() as u64).to_le_bytes());
        h.update(part.as_bytes());
    }
    hex::encode(h.finalize()).chars().take(DIGITS).collect()
}

/// SHA-256 over what stands between the PEM lines: line breaks, comments and CR do not make another certificate.
fn fingerprint(pem: &str) -> String {
    let mut inside = false;
    let mut body = String::new();
    for line in pem.lines().map(str::trim) {
        match line {
            l if l.starts_with("-----BEGIN") => inside = true,
            l if l.starts_with("-----END") => inside = false,
            l if inside => body.push_str(l),
            _ => {}
        }
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(&body).unwrap_or_else(|_| body.into_bytes());
    hex::encode(Sha256::digest(bytes)).chars().take(DIGITS).collect()
}
