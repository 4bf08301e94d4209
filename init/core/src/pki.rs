//! The seed's CAs and keys as files below `/etc/kubernetes/pki`.
//!
//! Takes a [`NodeConfig`], gives paths, contents and modes; kubeadm makes every other certificate from these. Never
//! writes a file, and never shows a key: [`PkiFile`]'s Debug text has the path alone.

use crate::node_config::NodeConfig;
use nodeimg_contract::seed::{ExternalEtcd, KeyPair, Pki};

/// kubeadm's `certificatesDir`.
pub const DIR: &str = "/etc/kubernetes/pki";

/// etcd's CA, below [`DIR`].
pub const ETCD_CA: &str = "etcd/ca.crt";
/// The API server's client certificate for an external etcd, below [`DIR`] (kubeadm's name).
pub const ETCD_CLIENT: &str = "apiserver-etcd-client.crt";
/// Its key.
pub const ETCD_CLIENT_KEY: &str = "apiserver-etcd-client.key";

/// One file to write.
#[derive(Clone, PartialEq, Eq)]
pub struct PkiFile {
    /// Path below [`DIR`].
    pub path: &'static str,
    /// PEM, with one newline at its end.
    pub content: String,
    /// Permission bits: 0600 for keys, 0644 for what is public.
    pub mode: u32,
}

impl std::fmt::Debug for PkiFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PkiFile({})", self.path)
    }
}

/// The files of a node: eight for a control plane with etcd beside it, nine with an external etcd (its CA without the
/// key, and the API server's client certificate), two for an etcd node, none for a worker (kubeadm's join writes
/// `ca.crt`) or a balancer.
pub fn files(config: &NodeConfig) -> Vec<PkiFile> {
    let mut all = config.pki.as_ref().map(own).unwrap_or_default();
    all.extend(config.external_etcd.iter().flat_map(external));
    all
}

fn own(pki: &Pki) -> Vec<PkiFile> {
    [
        ("ca.crt", "ca.key", &pki.ca),
        ("front-proxy-ca.crt", "front-proxy-ca.key", &pki.front_proxy_ca),
        (ETCD_CA, "etcd/ca.key", &pki.etcd_ca),
        ("sa.pub", "sa.key", &pki.service_account),
    ]
    .into_iter()
    .filter_map(|(public, secret, pair)| pair.as_ref().map(|pair| both(public, secret, pair)))
    .flatten()
    .collect()
}

fn external(etcd: &ExternalEtcd) -> Vec<PkiFile> {
    let mut files = vec![PkiFile { path: ETCD_CA, content: with_newline(&etcd.ca), mode: 0o644 }];
    files.extend(both(ETCD_CLIENT, ETCD_CLIENT_KEY, &etcd.client));
    files
}

fn both(public: &'static str, secret: &'static str, pair: &KeyPair) -> [PkiFile; 2] {
    [
        PkiFile { path: public, content: with_newline(&pair.certificate), mode: 0o644 },
        PkiFile { path: secret, content: with_newline(&pair.key), mode: 0o600 },
    ]
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: &str) -> KeyPair {
        KeyPair { certificate: format!("crt {n}"), key: format!("key {n}\n\n") }
    }

    #[test]
    fn keys_are_for_root_alone() {
        let pki = Pki {
            ca: Some(pair("a")),
            front_proxy_ca: Some(pair("b")),
            etcd_ca: None,
            service_account: Some(pair("d")),
        };
        let etcd = ExternalEtcd { endpoints: Vec::new(), ca: "crt c".into(), client: pair("c") };
        let (own, external) = (own(&pki), external(&etcd));
        assert_eq!((own.len(), external.len()), (6, 3));
        for f in own.iter().chain(&external) {
            assert_eq!(f.mode == 0o600, f.path.ends_with(".key"), "{}", f.path);
            assert!(f.content.ends_with('\n') && !f.content.ends_with("\n\n"));
            assert!(!format!("{f:?}").contains("key a"));
        }
    }
}
