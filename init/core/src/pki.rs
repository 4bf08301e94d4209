//! The seed's CAs and keys as files below `/etc/kubernetes/pki`.
//!
//! Takes contract's [`Pki`], gives paths, contents and modes; kubeadm makes every other certificate from these. Never
//! writes a file, and never shows a key: [`PkiFile`]'s Debug text has the path alone.

use nodeimg_contract::seed::Pki;

/// kubeadm's `certificatesDir`.
pub const DIR: &str = "/etc/kubernetes/pki";

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

/// The eight files of a control plane's seed.
pub fn files(pki: &Pki) -> [PkiFile; 8] {
    let public = |path, pem: &str| PkiFile { path, content: with_newline(pem), mode: 0o644 };
    let secret = |path, pem: &str| PkiFile { path, content: with_newline(pem), mode: 0o600 };
    [
        public("ca.crt", &pki.ca.certificate),
        secret("ca.key", &pki.ca.key),
        public("front-proxy-ca.crt", &pki.front_proxy_ca.certificate),
        secret("front-proxy-ca.key", &pki.front_proxy_ca.key),
        public("etcd/ca.crt", &pki.etcd_ca.certificate),
        secret("etcd/ca.key", &pki.etcd_ca.key),
        public("sa.pub", &pki.service_account.certificate),
        secret("sa.key", &pki.service_account.key),
    ]
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_contract::seed::KeyPair;

    #[test]
    fn keys_are_for_root_alone() {
        let pair = |n: &str| KeyPair { certificate: format!("crt {n}"), key: format!("key {n}\n\n") };
        let pki =
            Pki { ca: pair("a"), front_proxy_ca: pair("b"), etcd_ca: pair("c"), service_account: pair("d") };
        for f in files(&pki) {
            assert_eq!(f.mode == 0o600, f.path.ends_with(".key"), "{}", f.path);
            assert!(f.content.ends_with('\n') && !f.content.ends_with("\n\n"));
            assert!(!format!("{f:?}").contains("key a"));
        }
    }
}
