//! The administrator's kubeconfig (client-go's `v1` Config).

use super::authority::Leaf;
use super::pki::Pki;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Renders it. Everything in it was checked to be a plain YAML scalar (RFC 1123 names, a URL, base64).
pub fn render(cluster: &str, server: &str, pki: &Pki, admin: &Leaf) -> String {
    let ca = STANDARD.encode(pki.root_certificate());
    let (certificate, key) = (STANDARD.encode(&admin.certificate), STANDARD.encode(&admin.key));
    let user = format!("kubernetes-admin@{cluster}");
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters:\n- name: \"{cluster}\"\n  cluster:\n    certificate-authority-data: {ca}\n    server: {server}\n\
         users:\n- name: \"{user}\"\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
         contexts:\n- name: \"{user}\"\n  context:\n    cluster: \"{cluster}\"\n    user: \"{user}\"\n\
         current-context: \"{user}\"\n"
    )
}
