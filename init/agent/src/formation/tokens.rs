//! The seed's bootstrap tokens: each is put into the cluster once, for whoever is to join by it.
//!
//! kubeadm's phase puts them at birth; every control plane looks afterwards whether those of its own seed are there. A token
//! that was there stands by its id in the ConfigMap [`bootstrap::PUT`], and is never put again: an operator who deletes
//! one (it leaked, its node has joined) has revoked it. Two control planes that put the same token put one.

use super::Formation;
use super::api::{Answer, Api, Method};
use nodeimg_contract::bootstrap;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::seed::BootstrapToken;
use serde_json::{Map, Value, json};

/// For people who look at the Secret.
const DESCRIPTION: &str = "nodeimg: a node of the seed's list joins";

/// Puts what was never there. Nothing is said of a token but its id.
pub fn keep(f: &Formation<'_>) -> Result<(), Fault> {
    let now = crate::clock::now();
    if unknown(&f.config.bootstrap_tokens, &Map::new(), now).next().is_none() {
        return Ok(());
    }
    let api = Api::connect(&f.config)?;
    let put = api.get(&format!("{}/{}", maps(), bootstrap::PUT))?;
    let known = known(&put)?;
    let mut more = Map::new();
    for (id, token) in unknown(&f.config.bootstrap_tokens, known.as_ref().unwrap_or(&Map::new()), now) {
        let found = api.get(&format!("{}/{}", secrets(), bootstrap::secret_name(id)))?;
        match found.status {
            404 => {
                let Some(secret) = bootstrap::secret(token, DESCRIPTION) else { continue };
                let answer = api.post(&secrets(), secret.to_string().as_bytes())?;
                match answer.status {
                    409 => {}
                    _ if answer.is_success() => {
                        f.reporter.line(format!("bootstrap token {id} is in the cluster"));
                    }
                    _ => return Err(answer.fault(&secrets())),
                }
            }
            _ if found.is_success() => {}
            _ => return Err(found.fault(&secrets())),
        }
        more.insert(id.to_owned(), bootstrap::expiration(token).into());
    }
    if more.is_empty() { Ok(()) } else { note(&api, known.is_some(), more) }
}

/// Tokens that still hold and that the cluster never knew, with their ids.
fn unknown<'a>(
    tokens: &'a [BootstrapToken],
    known: &Map<String, Value>,
    now: jiff::Timestamp,
) -> impl Iterator<Item = (&'a str, &'a BootstrapToken)> {
    let holding = tokens.iter().filter(move |t| t.expires > now);
    let named = holding.filter_map(|t| Some((bootstrap::halves(t)?.0, t)));
    named.filter(|(id, _)| !known.contains_key(*id))
}

/// What stands in the ConfigMap; `None`: there is none.
fn known(answer: &Answer) -> Result<Option<Map<String, Value>>, Fault> {
    match answer.status {
        404 => Ok(None),
        _ if answer.is_success() => {
            let map: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            Ok(Some(map.get("data").and_then(Value::as_object).cloned().unwrap_or_default()))
        }
        _ => Err(answer.fault(bootstrap::PUT)),
    }
}

/// Writes them down. Of two who make the ConfigMap at once one adds its own at its next look.
fn note(api: &Api, exists: bool, more: Map<String, Value>) -> Result<(), Fault> {
    let answer = if exists {
        let patch = json!({ "data": more }).to_string();
        api.call(&format!("{}/{}", maps(), bootstrap::PUT), Method::Merge(patch.as_bytes()))?
    } else {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": bootstrap::PUT, "namespace": bootstrap::NAMESPACE },
            "data": more,
        });
        api.post(&maps(), map.to_string().as_bytes())?
    };
    match answer.status {
        404 | 409 => Ok(()),
        _ if answer.is_success() => Ok(()),
        _ => Err(answer.fault(bootstrap::PUT)),
    }
}

fn secrets() -> String {
    format!("/api/v1/namespaces/{}/secrets", bootstrap::NAMESPACE)
}

fn maps() -> String {
    format!("/api/v1/namespaces/{}/configmaps", bootstrap::NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_there_is_not_put_again() {
        let at = |text: &str| text.parse().expect("a time");
        let token = |text: &str, end| BootstrapToken { token: text.into(), expires: at(end) };
        let tokens = [
            token("aaaaaa.0123456789abcdef", "2030-01-02T00:00:00Z"),
            token("bbbbbb.0123456789abcdef", "2030-01-02T00:00:00Z"),
            token("cccccc.0123456789abcdef", "2030-01-01T00:00:00Z"),
        ];
        let map = br#"{"data":{"aaaaaa":"2030-01-02T00:00:00Z"}}"#.to_vec();
        let known = known(&Answer { status: 200, body: map }).ok().flatten().expect("a map");
        let ids: Vec<_> = unknown(&tokens, &known, at("2030-01-01T00:00:00Z")).map(|(id, _)| id).collect();
        assert_eq!(ids, ["bbbbbb"], "one was there, one is over");
    }

    #[test]
    fn a_cluster_that_cannot_say_is_no_empty_one() {
        let of = |status, body: &str| known(&Answer { status, body: body.into() });
        assert_eq!(of(404, "{}"), Ok(None));
        assert_eq!(of(200, r#"{"metadata":{}}"#), Ok(Some(Map::new())));
        assert!(of(500, "{}").is_err() && of(403, "{}").is_err());
    }
}
