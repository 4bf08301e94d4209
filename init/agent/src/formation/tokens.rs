//! The seed's bootstrap tokens stay valid until they end: whoever is to join must find its own in the cluster.
//!
//! A Secret of the type `bootstrap.kubernetes.io/token` (Kubernetes' reference, "Authenticating with Bootstrap Tokens"),
//! as kubeadm makes it. Every control plane looks; two that make the same one make one.

use super::Formation;
use super::api::Api;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::seed::BootstrapToken;
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Puts back what is missing. Nothing is said of a token but its id.
pub fn keep(f: &Formation<'_>) -> Result<(), Fault> {
    let now = crate::clock::now();
    let api = Api::connect(&f.config)?;
    for token in f.config.bootstrap_tokens.iter().filter(|t| t.expires > now) {
        let Some((id, secret)) = token.token.split_once('.') else { continue };
        let path = format!("{SECRETS}/bootstrap-token-{id}");
        let found = api.get(&path)?;
        match found.status {
            404 => {}
            _ if found.is_success() => continue,
            _ => return Err(found.fault(&path)),
        }
        let answer = api.post(SECRETS, object(id, secret, token).to_string().as_bytes())?;
        match answer.status {
            409 => {}
            _ if answer.is_success() => f.reporter.line(format!("bootstrap token {id} is in the cluster")),
            _ => return Err(answer.fault(&path)),
        }
    }
    Ok(())
}

fn object(id: &str, secret: &str, token: &BootstrapToken) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "expiration": token.expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": GROUP,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_secret_that_ends() {
        let token = BootstrapToken {
            token: "abcdef.0123456789abcdef".into(),
            expires: "2030-01-01T00:00:00.5Z".parse().expect("a time"),
        };
        let secret = object("abcdef", "0123456789abcdef", &token);
        assert_eq!(secret.pointer("/stringData/expiration"), Some(&json!("2030-01-01T00:00:00Z")));
        assert_eq!(secret.pointer("/metadata/name"), Some(&json!("bootstrap-token-abcdef")));
    }
}
