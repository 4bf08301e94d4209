//! Kubeconfig files that kubeadm writes: read for nodeinit's own calls, and pointed at the local API server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Server and credentials of a kubeconfig with embedded certificates. Its Debug text holds no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// `https://NAME:PORT`.
    pub server: String,
    /// CA, PEM.
    pub ca: Vec<u8>,
    /// Client certificate, PEM.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kubeconfig({})", self.server)
    }
}

/// A kubeconfig that cannot be used. Never repeats its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKubeconfig {
    /// Not the YAML of a kubeconfig.
    #[error("not a kubeconfig")]
    Malformed,
    /// A certificate or key is a file name, is missing or is not base64.
    #[error("the kubeconfig does not hold its certificates and key itself")]
    NotEmbedded,
    /// Not exactly one `server:` line.
    #[error("the kubeconfig does not have exactly one server")]
    Server,
}

#[derive(Deserialize)]
struct File {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}
#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}
#[derive(Deserialize)]
struct Cluster {
    server: String,
    #[serde(rename = "certificate-authority-data")]
    ca: Option<String>,
}
#[derive(Deserialize)]
struct NamedUser {
    user: User,
}
#[derive(Deserialize)]
struct User {
    #[serde(rename = "client-certificate-data")]
    certificate: Option<String>,
    #[serde(rename = "client-key-data")]
    key: Option<String>,
}

impl Kubeconfig {
    /// Parses a kubeconfig with one cluster and one user.
    pub fn parse(text: &str) -> Result<Self, BadKubeconfig> {
        let file: File = crate::seed::yaml("kubeconfig", text).map_err(|_| BadKubeconfig::Malformed)?;
        let ([cluster], [user]) = (&file.clusters[..], &file.users[..]) else {
            return Err(BadKubeconfig::Malformed);
        };
        let data = |field: &Option<String>| {
            field.as_deref().and_then(|d| STANDARD.decode(d).ok()).ok_or(BadKubeconfig::NotEmbedded)
        };
        Ok(Self {
            server: cluster.cluster.server.clone(),
            ca: data(&cluster.cluster.ca)?,
            certificate: data(&user.user.certificate)?,
            key: data(&user.user.key)?,
        })
    }
}

/// The same kubeconfig with another server; kubeadm writes one `server:` line, and it alone is changed.
pub fn with_server(text: &str, server: &str) -> Result<String, BadKubeconfig> {
    let is_server = |line: &str| line.trim_start().starts_with("server:");
    if text.lines().filter(|l| is_server(l)).count() != 1 {
        return Err(BadKubeconfig::Server);
    }
    let line = |line: &str| {
        if !is_server(line) {
            return line.to_owned();
        }
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let end = if line.ends_with('\n') { "\n" } else { "" };
        format!("{indent}server: {server}{end}")
    };
    Ok(text.split_inclusive('\n').map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Y2E=\n    server: https://api.example.net:6443\n  name: lab\nkind: Config\nusers:\n- name: admin\n  user:\n    client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n";

    #[test]
    fn reads_and_points_elsewhere() {
        let moved = with_server(TEXT, "https://192.0.2.1:6443").expect("one server");
        let read = Kubeconfig::parse(&moved).expect("a kubeconfig");
        assert_eq!(read.server, "https://192.0.2.1:6443");
        assert_eq!(
            (&read.ca[..], &read.certificate[..], &read.key[..]),
            (&b"ca"[..], &b"cert"[..], &b"key"[..])
        );
        assert!(!format!("{read:?}").contains("key"));
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        assert_eq!(Kubeconfig::parse("a: ["), Err(BadKubeconfig::Malformed));
        let file = TEXT.replace("client-key-data: a2V5", "client-key: /var/lib/kubelet/pki/x.pem");
        assert_eq!(Kubeconfig::parse(&file), Err(BadKubeconfig::NotEmbedded));
        assert_eq!(with_server("a: b\n", "x"), Err(BadKubeconfig::Server));
    }
}
