//! Bootstrap tokens as the cluster has them: a Secret of the type `bootstrap.kubernetes.io/token` (Kubernetes' reference,
//! "Authenticating with Bootstrap Tokens"), in kubeadm's form.

use crate::seed::BootstrapToken;
use serde_json::{Value, json};

/// Where the Secrets lie.
pub const NAMESPACE: &str = "kube-system";
/// kubeadm's group of those who come with a token: nodes that are to join.
pub const GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// The ConfigMap (in [`NAMESPACE`]) with the id of every token of a seed that was put into the cluster, and its end. What
/// stands there is never put a second time: a token that somebody deletes stays deleted.
pub const PUT: &str = "nodeimg-bootstrap-tokens";

/// The public half of a token, and the secret one; `None`: it has not the form of a token.
pub fn halves(token: &BootstrapToken) -> Option<(&str, &str)> {
    token.token.split_once('.')
}

/// Name of the Secret of a token with this id.
pub fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

/// The end as both the Secret and [`PUT`] have it: RFC 3339 UTC, whole seconds.
pub fn expiration(token: &BootstrapToken) -> String {
    token.expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The Secret; `description` is for people. `None`: it has not the form of a token.
pub fn secret(token: &BootstrapToken, description: &str) -> Option<Value> {
    let (id, secret) = halves(token)?;
    Some(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": secret_name(id), "namespace": NAMESPACE },
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "description": description,
            "token-id": id,
            "token-secret": secret,
            "expiration": expiration(token),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": GROUP,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_secret_that_ends() {
        let token = |text: &str| BootstrapToken {
            token: text.into(),
            expires: "2030-01-01T00:00:00.5Z".parse().expect("a time"),
        };
        let secret = secret(&token("abcdef.0123456789abcdef"), "w3 joins").expect("a token");
        let text = |pointer: &str| secret.pointer(pointer).and_then(Value::as_str);
        assert_eq!(text("/metadata/name"), Some("bootstrap-token-abcdef"));
        assert_eq!(text("/stringData/token-id"), Some("abcdef"));
        assert_eq!(text("/stringData/token-secret"), Some("0123456789abcdef"));
        assert_eq!(text("/stringData/expiration"), Some("2030-01-01T00:00:00Z"));
        assert_eq!(text("/stringData/description"), Some("w3 joins"));
        assert_eq!(super::secret(&token("none"), ""), None);
    }
}
