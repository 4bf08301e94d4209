//! The cluster's API, as far as the operator's machine needs it: with the admin kubeconfig of the cluster's folder.
//!
//! The endpoint's name is tried first, then each control plane by address: their certificates have both. Answers are
//! bounded, every request has a deadline.

use super::spec::ClusterSpec;
use super::{ClusterError, KUBECONFIG, interrupt};
use base64::Engine;
use nodeimg_contract::bootstrap;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{BootstrapToken, EndpointMode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);
const LARGEST: u64 = 32 << 20;
const PAUSE: Duration = Duration::from_secs(2);

/// A connection to whichever API server answered.
pub struct Api {
    agent: ureq::Agent,
    server: String,
}

/// An answer: status, and the document (null if it is none).
type Answer = (u16, Value);

impl Api {
    /// Finds an API server that answers to the administrator.
    pub fn connect(folder: &Path, spec: &ClusterSpec) -> Result<Self, ClusterError> {
        let path = folder.join(KUBECONFIG);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ClusterError::Read { path: path.clone(), source })?;
        let bad = |cause: &str| ClusterError::Api {
            server: path.display().to_string(),
            cause: cause.to_owned(),
            help: "restore the kubeconfig that nodeimg cluster new made",
        };
        let config: Value = serde_saphyr::from_str(&text).map_err(|_| bad("it is no kubeconfig"))?;
        let pem = |pointer: &str| {
            let text = config.pointer(pointer).and_then(Value::as_str)?;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        };
        let ca = pem("/clusters/0/cluster/certificate-authority-data").ok_or_else(|| bad("it has no CA"))?;
        let own = pem("/users/0/user/client-certificate-data").ok_or_else(|| bad("it has no certificate"))?;
        let key = pem("/users/0/user/client-key-data").ok_or_else(|| bad("it has no key"))?;
        let roots: Result<Vec<_>, _> = ureq::tls::parse_pem(&ca)
            .filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(e) => Some(Err(e)),
            })
            .collect();
        let roots = roots.map_err(|_| bad("its CA is unreadable"))?;
        let own = Certificate::from_pem(&own).map_err(|_| bad("its certificate is unreadable"))?;
        let key = PrivateKey::from_pem(&key).map_err(|_| bad("its key is unreadable"))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(Some(ClientCert::new_with_certs(&[own], key)))
            .build();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(REQUEST))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        Self::find(agent, spec)
    }

    fn find(agent: ureq::Agent, spec: &ClusterSpec) -> Result<Self, ClusterError> {
        let endpoint = format!("https://{}:{}", spec.endpoint_name, spec.endpoint_port);
        let port = match spec.endpoint_mode {
            Some(EndpointMode::External) => 6443,
            _ if spec.of(Role::Lb).next().is_some() => 6443,
            _ => spec.endpoint_port,
        };
        let own = spec.list(Role::ControlPlane);
        let own = own.iter().map(|n| format!("https://{}", SocketAddr::new(n.address, port)));
        let mut last = String::new();
        for server in std::iter::once(endpoint.clone()).chain(own) {
            let api = Self { agent: agent.clone(), server };
            match api.get("/readyz") {
                Ok((200, _)) => return Ok(api),
                Ok((status, _)) => last = format!("it answers {status} to the administrator"),
                Err(error) => last = error.to_string(),
            }
        }
        Err(ClusterError::Api {
            server: endpoint,
            cause: format!("neither the name nor a control plane's address works; last: {last}"),
            help: "run it where the nodes can be reached, or give --offline to change the folder alone",
        })
    }

    fn get(&self, path: &str) -> Result<Answer, ureq::Error> {
        self.answer(self.agent.get(format!("{}{path}", self.server)).call()?)
    }

    fn answer(&self, mut answer: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(LARGEST).read_to_vec()?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Answer, ureq::Error> {
        let url = format!("{}{path}", self.server);
        let request = match method {
            "PATCH" => self.agent.patch(url),
            _ => self.agent.post(url),
        };
        self.answer(request.header("content-type", kind).send(body.to_string().as_bytes())?)
    }

    fn failed(&self, cause: impl ToString) -> ClusterError {
        ClusterError::Api {
            server: self.server.clone(),
            cause: cause.to_string(),
            help: "run the command again; what was done already is not done twice",
        }
    }

    fn expect(
        &self,
        what: &str,
        answer: Result<Answer, ureq::Error>,
        good: &[u16],
    ) -> Result<Answer, ClusterError> {
        let (status, document) = answer.map_err(|e| self.failed(e))?;
        if good.contains(&status) {
            return Ok((status, document));
        }
        let said = document.pointer("/message").and_then(Value::as_str).unwrap_or_default();
        Err(self.failed(format!("{what}: status {status} {said}")))
    }

    /// The Node object; none if the cluster has none of that name.
    pub fn node(&self, name: &str) -> Result<Option<Value>, ClusterError> {
        let (status, node) = self.expect("node", self.get(&format!("/api/v1/nodes/{name}")), &[200, 404])?;
        Ok(Some(node).filter(|_| status == 200))
    }

    /// No new pods there.
    pub fn cordon(&self, name: &str) -> Result<(), ClusterError> {
        let body = json!({ "spec": { "unschedulable": true } });
        let path = format!("/api/v1/nodes/{name}");
        let answer = self.send("PATCH", &path, "application/merge-patch+json", &body);
        self.expect("cordon", answer, &[200, 404]).map(|_| ())
    }

    /// Evicts pods, respecting disruption budgets, until none is left or the deadline has passed. Gives the names of
    /// those that are left. Pods of DaemonSets and static pods stay, as with kubectl.
    pub fn drain(&self, name: &str, limit: Duration) -> Result<Vec<String>, ClusterError> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt::check()?;
            let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}");
            let (_, list) = self.expect("pods", self.get(&path), &[200])?;
            let pods: Vec<_> =
                list.pointer("/items").and_then(Value::as_array).into_iter().flatten().collect();
            let left: Vec<_> = pods.into_iter().filter(|pod| is_drained(pod)).filter_map(pod_name).collect();
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(left.into_iter().map(|(space, pod)| format!("{space}/{pod}")).collect());
            }
            for (space, pod) in &left {
                let body = json!({
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": { "name": pod, "namespace": space },
                });
                let path = format!("/api/v1/namespaces/{space}/pods/{pod}/eviction");
                // 429: a disruption budget says not now. 404: gone already.
                self.expect(
                    "eviction",
                    self.send("POST", &path, "application/json", &body),
                    &[200, 201, 404, 429],
                )?;
            }
            std::thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// Deletes the Node object, if there is one.
    pub fn delete_node(&self, name: &str) -> Result<bool, ClusterError> {
        let url = format!("{}/api/v1/nodes/{name}", self.server);
        let answer = self.agent.delete(url).call().and_then(|a| self.answer(a));
        Ok(self.expect("delete", answer, &[200, 202, 404])?.0 != 404)
    }

    /// Makes a bootstrap token known; one of the same id is replaced.
    pub fn register(&self, node: &str, token: &BootstrapToken) -> Result<(), ClusterError> {
        let secret = token_secret(node, token)?;
        let path = format!("/api/v1/namespaces/{}/secrets", bootstrap::NAMESPACE);
        self.expect("bootstrap token", self.send("POST", &path, "application/json", &secret), &[200, 201])?;
        Ok(())
    }
}

/// The Secret of a node's bootstrap token.
pub fn token_secret(node: &str, token: &BootstrapToken) -> Result<Value, ClusterError> {
    bootstrap::secret(token, &format!("nodeimg: node {node} joins"))
        .ok_or(ClusterError::Render { document: "token", cause: "it has not the form of one".into() })
}

fn pod_name(pod: &Value) -> Option<(String, String)> {
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Some((text("/metadata/namespace")?, text("/metadata/name")?))
}

fn is_drained(pod: &Value) -> bool {
    let mirror = pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
    let done = matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let daemon = owners.is_some_and(|o| o.iter().any(|o| o.get("kind").is_some_and(|k| k == "DaemonSet")));
    !mirror && !done && !daemon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_static_and_finished_pods_stay() {
        let pod =
            |metadata: Value, phase: &str| json!({ "metadata": metadata, "status": { "phase": phase } });
        assert!(is_drained(&pod(json!({ "ownerReferences": [{ "kind": "ReplicaSet" }] }), "Running")));
        assert!(is_drained(&pod(json!({}), "Pending")));
        assert!(!is_drained(&pod(json!({ "ownerReferences": [{ "kind": "DaemonSet" }] }), "Running")));
        assert!(!is_drained(&pod(
            json!({ "annotations": { "kubernetes.io/config.mirror": "x" } }),
            "Running"
        )));
        assert!(!is_drained(&pod(json!({}), "Succeeded")));
    }
}
