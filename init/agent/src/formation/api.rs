//! Calls to the own API server: a few small requests, without a process for each.
//!
//! Takes a kubeconfig that kubeadm wrote (super-admin.conf while it exists: admin.conf's group is bound by kubeadm's
//! first talk with the cluster) and talks to the local address, never through the endpoint. Never follows a redirect
//! or a proxy.

use super::files;
use super::phases::{ADMIN, SUPER_ADMIN};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::kubeadm::{self, Kubeconfig};
use nodeimg_init_core::node_config::NodeConfig;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_BODY: u64 = 4 << 20;

/// A client of the own API server.
pub struct Api {
    agent: ureq::Agent,
    server: String,
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// What the API server complains of.
    pub fn fault(&self, object: &str) -> Fault {
        let message = serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|v| v.get("message").and_then(|m| m.as_str()).map(str::to_owned));
        no_answer(
            object,
            format!("status {}: {}", self.status, message.unwrap_or_else(|| "no message".into())),
        )
    }
}

/// The kubeconfig file that has the rights that are needed now.
pub fn kubeconfig_file() -> &'static str {
    if Path::new(SUPER_ADMIN).exists() { SUPER_ADMIN } else { ADMIN }
}

impl Api {
    /// Reads the credentials; opens no connection yet.
    pub fn connect(config: &NodeConfig) -> Result<Self, Fault> {
        let file = kubeconfig_file();
        let bad = |cause: String| {
            Fault {
            code: Code::ApiNotReady,
            object: file.into(),
            cause,
            help: "restore the file from a backup, or make it again with \"kubeadm init phase kubeconfig admin\"".into(),
        }
        };
        let kubeconfig = Kubeconfig::parse(&files::text(file, 1 << 20)?).map_err(|e| bad(e.to_string()))?;
        let pem = |e: ureq::Error| bad(e.to_string());
        let ca = Certificate::from_pem(&kubeconfig.ca).map_err(pem)?;
        let certificate = Certificate::from_pem(&kubeconfig.certificate).map_err(pem)?;
        let key = PrivateKey::from_pem(&kubeconfig.key).map_err(pem)?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[ca]))
            .client_cert(Some(ClientCert::new_with_certs(&[certificate], key)))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .https_only(true)
            .timeout_global(Some(TIMEOUT))
            .user_agent("nodeinit")
            .build()
            .new_agent();
        Ok(Self { agent, server: kubeadm::local_api(config) })
    }

    pub fn get(&self, path: &str) -> Result<Answer, Fault> {
        self.answer(path, |url| self.agent.get(url).call())
    }
    pub fn put(&self, path: &str, json: &[u8]) -> Result<Answer, Fault> {
        self.answer(path, |url| self.agent.put(url).content_type("application/json").send(json))
    }
    pub fn post(&self, path: &str, json: &[u8]) -> Result<Answer, Fault> {
        self.answer(path, |url| self.agent.post(url).content_type("application/json").send(json))
    }

    fn answer(
        &self,
        path: &str,
        call: impl FnOnce(&str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Fault> {
        let url = format!("{}{path}", self.server);
        // ureq panics on a client certificate that is not its key's; the file is not ours to trust.
        let called = catch_unwind(AssertUnwindSafe(|| {
            let mut response = call(&url)?;
            let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec()?;
            Ok::<_, ureq::Error>(Answer { status: response.status().as_u16(), body })
        }));
        match called {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => Err(no_answer(&url, e.to_string())),
            Err(_) => Err(no_answer(&url, "the client certificate does not fit its key".into())),
        }
    }
}

fn no_answer(object: &str, cause: String) -> Fault {
    Fault {
        code: Code::ApiNotReady,
        object: object.into(),
        cause,
        help: "look at /var/log/pods (kube-apiserver, etcd) and /var/log/nodeimg/kubelet.log; nodeinit tries again".into(),
    }
}
