//! Calls to an API server with an administrator's certificate.
//!
//! Takes a kubeconfig that kubeadm wrote (super-admin.conf while it exists: admin.conf's group is bound by kubeadm's
//! first talk with the cluster) and talks to the own address, or to a member's that is named; never through the endpoint.

pub use super::https::{Answer, Method};
use super::https::{Https, Identity};
use super::phases::{ADMIN, SUPER_ADMIN};
use super::{Formation, files, guest};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::Role;
use nodeimg_init_core::kubeadm::{self, Kubeconfig};
use nodeimg_init_core::node_config::NodeConfig;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(15);
/// For another control plane's: there are more to ask.
const OTHER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one API server; cheap to clone.
#[derive(Clone)]
pub struct Api {
    https: Https,
    server: String,
}

impl Answer {
    /// What the API server complains of.
    pub fn fault(&self, object: &str) -> Fault {
        no_answer(object, self.message())
    }
}

/// The kubeconfig file that has the rights that are needed now.
pub fn kubeconfig_file() -> &'static str {
    if Path::new(SUPER_ADMIN).exists() { SUPER_ADMIN } else { ADMIN }
}

impl Api {
    /// The own API server. Reads the credentials; opens no connection yet.
    pub fn connect(config: &NodeConfig) -> Result<Self, Fault> {
        Self::with_server(kubeconfig_file(), kubeadm::local_api(config), TIMEOUT)
    }

    /// Another control plane's.
    pub fn at(config: &NodeConfig, address: IpAddr) -> Result<Self, Fault> {
        let server = format!("https://{}", SocketAddr::new(address, config.api_port()));
        Self::with_server(kubeconfig_file(), server, OTHER_TIMEOUT)
    }

    /// One behind the endpoint, at the address at which it was found.
    pub fn behind_endpoint(config: &NodeConfig, at: SocketAddr) -> Result<Self, Fault> {
        let server = format!("https://{}", config.endpoint_text());
        Self::with_server_at(kubeconfig_file(), server, OTHER_TIMEOUT, Some(at))
    }

    /// With other credentials.
    pub fn through(https: Https, server: String) -> Self {
        Self { https, server }
    }

    /// As this node asks: its own API server, or the one behind the endpoint.
    pub fn of(f: &Formation<'_>) -> Result<Self, Fault> {
        if f.config.role.value == Role::ControlPlane { Self::connect(&f.config) } else { guest::api(f) }
    }

    fn with_server(file: &str, server: String, limit: Duration) -> Result<Self, Fault> {
        Self::with_server_at(file, server, limit, None)
    }

    fn with_server_at(
        file: &str,
        server: String,
        limit: Duration,
        at: Option<SocketAddr>,
    ) -> Result<Self, Fault> {
        let bad = |cause: String| {
            let help = "restore the file from a backup, or make it again with \"kubeadm init phase kubeconfig admin\"";
            Fault { code: Code::ApiNotReady, object: file.into(), cause, help: help.into() }
        };
        let kubeconfig = Kubeconfig::parse(&files::text(file, 1 << 20)?).map_err(|e| bad(e.to_string()))?;
        let identity = Identity::Certificate(&kubeconfig.certificate, &kubeconfig.key);
        let https = Https::at(&kubeconfig.ca, identity, limit, at).map_err(bad)?;
        Ok(Self { https, server })
    }

    pub fn get(&self, path: &str) -> Result<Answer, Fault> {
        self.call(path, Method::Get)
    }
    pub fn put(&self, path: &str, json: &[u8]) -> Result<Answer, Fault> {
        self.call(path, Method::Put(json))
    }
    pub fn post(&self, path: &str, json: &[u8]) -> Result<Answer, Fault> {
        self.call(path, Method::Post(json))
    }
    pub fn call(&self, path: &str, method: Method<'_>) -> Result<Answer, Fault> {
        let url = format!("{}{path}", self.server);
        self.https.call(&url, method).map_err(|e| no_answer(&url, e.to_string()))
    }
    /// Server-side apply of one object: it is there afterwards, as it is told.
    pub fn apply(&self, path: &str, object: &serde_json::Value) -> Result<(), Fault> {
        let path = format!("{path}?fieldManager=nodeimg&force=true");
        let answer = self.call(&path, Method::Apply(object.to_string().as_bytes()))?;
        if answer.is_success() { Ok(()) } else { Err(answer.fault(&path)) }
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
