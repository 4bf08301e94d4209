//! What a role must hold, and must not hold: CAs and keys, peer identity, client certificate of etcd, tokens, permit.

use super::Decision;
use super::lists::Lists;
use crate::node_config::{is_bootstrap_token, peer_certificate};
use nodeimg_contract::birth::Permit;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{
    BootstrapToken, ExternalEtcd, Join, KeyPair, MAX_TOKENS, NodeSeed, PeerIdentity, Pki,
};

const MAX_ENDPOINTS: usize = 16;
const MAKE: &str = "make the seed with \"nodeimg cluster new\"";
const WHOLE: &str = "copy the whole file, with its BEGIN and END lines";

/// The parts of a seed that are for one node alone.
pub(super) struct Credentials {
    pub(super) pki: Option<Pki>,
    pub(super) peer: Option<PeerIdentity>,
    pub(super) join: Option<Join>,
    pub(super) external_etcd: Option<ExternalEtcd>,
}

impl Decision {
    pub(super) fn credentials(
        &mut self,
        ours: &NodeSeed,
        name: Option<&str>,
        lists: Option<&Lists>,
    ) -> Credentials {
        self.tokens(&ours.bootstrap_tokens);
        self.join(ours);
        self.external_etcd(ours);
        self.peer(ours, name, lists);
        Credentials {
            pki: self.pki(ours),
            peer: ours.peer.clone(),
            join: ours.join.clone(),
            external_etcd: ours.external_etcd.clone(),
        }
    }

    pub(super) fn permit(&mut self, permit: &Permit) {
        let field = "nodeimg.formation.permit";
        let word =
            |s: &str| (8..=64).contains(&s.len()) && s.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-');
        if !word(&permit.cluster) {
            self.problem(
                format!("{field}.cluster"),
                "not a UUID",
                "make a permit with \"nodeimg cluster permit\"",
            );
        }
        if permit.nonce.len() != 32 || !permit.nonce.bytes().all(|c| c.is_ascii_hexdigit()) {
            self.problem(
                format!("{field}.nonce"),
                "not 32 hexadecimal digits",
                "make a permit with \"nodeimg cluster permit\"",
            );
        }
    }

    fn pki(&mut self, ours: &NodeSeed) -> Option<Pki> {
        let none = Pki::default();
        let pki = ours.pki.as_ref().unwrap_or(&none);
        let stacked = ours.external_etcd.is_none();
        // A control plane of the textbook way fetches what another one uploaded.
        let fetches = ours.pki.is_none() && ours.join.as_ref().is_some_and(|j| j.certificate_key.is_some());
        let keeps = ours.role == Role::ControlPlane && !fetches;
        for (name, pair, label, wanted) in [
            ("ca", &pki.ca, "CERTIFICATE", keeps),
            ("frontProxyCA", &pki.front_proxy_ca, "CERTIFICATE", keeps),
            ("etcdCA", &pki.etcd_ca, "CERTIFICATE", (keeps && stacked) || ours.role == Role::Etcd),
            ("serviceAccount", &pki.service_account, "PUBLIC KEY", keeps),
        ] {
            let field = format!("nodeimg.pki.{name}");
            match pair {
                Some(pair) if wanted => self.key_pair(&field, pair, label),
                Some(_) if ours.role == Role::ControlPlane => self.problem(
                    field,
                    "with an external etcd this control plane must not hold the key of etcd's CA",
                    "leave it out; nodeimg.externalEtcd has the client certificate",
                ),
                Some(_) => self.problem(
                    field,
                    format!("role \"{}\" must not hold this key of the cluster", ours.role),
                    "leave it out, and make new keys if the seed has left your hands",
                ),
                None if wanted => self.problem(
                    field,
                    format!("role \"{}\" needs this certificate and its key", ours.role),
                    MAKE,
                ),
                None => {}
            }
        }
        ours.pki.clone()
    }

    fn key_pair(&mut self, field: &str, pair: &KeyPair, label: &str) {
        if !is_pem(&pair.certificate, label) {
            self.problem(format!("{field}.certificate"), format!("not a PEM {label}"), WHOLE);
        }
        if !["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"].iter().any(|l| is_pem(&pair.key, l)) {
            self.problem(format!("{field}.key"), "not a PEM private key", WHOLE);
        }
    }

    /// Who is born with others must be able to ask them.
    fn peer(&mut self, ours: &NodeSeed, name: Option<&str>, lists: Option<&Lists>) {
        let others = match (ours.role, lists) {
            (Role::ControlPlane, Some(lists)) => lists.control_planes.len() > 1,
            (Role::Etcd, Some(lists)) => lists.etcd_nodes.len() > 1,
            _ => false,
        };
        let Some(peer) = &ours.peer else {
            if others {
                self.problem(
                    "nodeimg.peer",
                    "nodes that are born together need an identity for each other",
                    MAKE,
                );
            }
            return;
        };
        if !is_pem(&peer.ca, "CERTIFICATE") {
            self.problem("nodeimg.peer.ca", "not a PEM CERTIFICATE", WHOLE);
            return;
        }
        self.key_pair("nodeimg.peer.identity", &peer.identity, "CERTIFICATE");
        let (Some(name), true) = (name, is_pem(&peer.identity.certificate, "CERTIFICATE")) else { return };
        if let Err(cause) = peer_certificate::check(peer, name, ours.role) {
            self.problem(
                "nodeimg.peer.identity.certificate",
                cause,
                "give this node its own seed: peers refuse a certificate of another node",
            );
        }
    }

    fn join(&mut self, ours: &NodeSeed) {
        let Some(join) = &ours.join else {
            if ours.role == Role::Worker {
                self.problem(
                    "nodeimg.join",
                    "a worker needs the cluster's CA and a bootstrap token",
                    "make the seed with \"nodeimg cluster new\" or \"nodeimg cluster seed\"",
                );
            } else if ours.role == Role::ControlPlane && ours.pki.is_none() {
                self.problem(
                    "nodeimg.pki",
                    "a control plane needs the cluster's CAs and keys, or a certificate key to fetch them with",
                    MAKE,
                );
            }
            return;
        };
        if !is_pem(&join.ca, "CERTIFICATE") {
            self.problem("nodeimg.join.ca", "not a PEM CERTIFICATE", WHOLE);
        }
        self.token("nodeimg.join.token.token", &join.token);
        if let Some(key) = &join.certificate_key {
            if key.0.len() != 64 || !key.0.bytes().all(|c| c.is_ascii_hexdigit()) {
                self.problem(
                    "nodeimg.join.certificateKey",
                    "not 64 hexadecimal digits",
                    "make one with \"kubeadm certs certificate-key\"",
                );
            }
            if ours.role != Role::ControlPlane {
                self.problem(
                    "nodeimg.join.certificateKey",
                    format!("role \"{}\" must not hold it: it opens the cluster's keys", ours.role),
                    "leave it out",
                );
            }
        }
    }

    fn external_etcd(&mut self, ours: &NodeSeed) {
        let Some(etcd) = &ours.external_etcd else {
            if ours.role == Role::ControlPlane && !ours.etcd_nodes.is_empty() {
                self.problem(
                    "nodeimg.externalEtcd",
                    "the seed lists etcd nodes, and has no certificate to reach them with",
                    "make the seed with \"nodeimg cluster new --etcd NAME=ADDRESS\", or leave etcdNodes out",
                );
            }
            return;
        };
        if ours.role != Role::ControlPlane {
            self.problem(
                "nodeimg.externalEtcd",
                format!("role \"{}\" must not hold a client certificate of etcd", ours.role),
                "leave it out: control planes alone talk to etcd",
            );
        }
        if etcd.endpoints.is_empty() || etcd.endpoints.len() > MAX_ENDPOINTS {
            self.problem(
                "nodeimg.externalEtcd.endpoints",
                format!("{} endpoints", etcd.endpoints.len()),
                format!("list between 1 and {MAX_ENDPOINTS}"),
            );
        }
        for (i, endpoint) in etcd.endpoints.iter().take(MAX_ENDPOINTS).enumerate() {
            if !is_etcd_endpoint(endpoint) {
                self.problem(
                    format!("nodeimg.externalEtcd.endpoints[{i}]"),
                    "not of the form https://HOST:PORT",
                    "write it like https://192.0.2.21:2379",
                );
            }
        }
        if !is_pem(&etcd.ca, "CERTIFICATE") {
            self.problem("nodeimg.externalEtcd.ca", "not a PEM CERTIFICATE", WHOLE);
        }
        self.key_pair("nodeimg.externalEtcd.client", &etcd.client, "CERTIFICATE");
    }

    fn tokens(&mut self, tokens: &[BootstrapToken]) {
        if tokens.len() > MAX_TOKENS {
            self.problem("nodeimg.bootstrapTokens", format!("more than {MAX_TOKENS} tokens"), "list fewer");
        }
        for (i, token) in tokens.iter().enumerate() {
            self.token(&format!("nodeimg.bootstrapTokens[{i}].token"), token);
        }
    }

    fn token(&mut self, field: &str, token: &BootstrapToken) {
        if !is_bootstrap_token(&token.token) {
            self.problem(
                field,
                "not of the form [a-z0-9]{6}.[a-z0-9]{16}",
                "make a token with \"kubeadm token generate\"",
            );
        }
    }
}

fn is_pem(text: &str, label: &str) -> bool {
    text.contains(&format!("-----BEGIN {label}-----")) && text.contains(&format!("-----END {label}-----"))
}

/// `https://HOST:PORT`, the host a DNS name or an address (IPv6 in brackets).
fn is_etcd_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')) else {
        return false;
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            host.parse::<std::net::Ipv4Addr>().is_ok() || host.parse::<crate::node_config::DnsName>().is_ok()
        }
    };
    host_is_good && port.parse::<u16>().is_ok_and(|p| p > 0)
}

#[cfg(test)]
mod tests {
    use super::is_etcd_endpoint;

    #[test]
    fn endpoints_of_etcd() {
        for good in
            ["https://192.0.2.21:2379", "https://[2001:db8::1]:2379", "https://etcd1.example.net:2379"]
        {
            assert!(is_etcd_endpoint(good), "{good}");
        }
        for bad in [
            "http://192.0.2.21:2379",
            "https://192.0.2.21",
            "https://[x]:1",
            "https://a:0",
            "https://a:1/x",
            "",
        ] {
            assert!(!is_etcd_endpoint(bad), "{bad}");
        }
    }
}
