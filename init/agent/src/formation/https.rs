//! Small HTTPS requests to API servers and etcd, without a process for each.
//!
//! Takes a CA and (maybe) a client certificate or a token; every answer is bounded in size and time. Never follows a
//! redirect, uses a proxy, or trusts another CA than the one it is given.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Bytes of the longest answer.
const MAX_BODY: u64 = 4 << 20;
/// A machine in the same network answers a connection at once, or not at all.
const CONNECT: Duration = Duration::from_secs(2);

/// A client of one purpose; cheap to clone.
#[derive(Clone)]
pub struct Https {
    agent: ureq::Agent,
    bearer: Option<String>,
}

/// What a client shows.
#[derive(Clone, Copy)]
pub enum Identity<'a> {
    /// A certificate and its key, PEM.
    Certificate(&'a [u8], &'a [u8]),
    /// A bearer token.
    Token(&'a str),
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("the connection is refused")]
    Refused,
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Other(String),
}

/// How a request is made.
#[derive(Clone, Copy)]
pub enum Method<'a> {
    Get,
    Put(&'a [u8]),
    Post(&'a [u8]),
    /// Server-side apply (YAML or JSON).
    Apply(&'a [u8]),
    /// JSON merge patch.
    Merge(&'a [u8]),
    Delete,
}

/// Every name leads here.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

impl Https {
    /// Opens no connection yet. The error names the part that is not PEM.
    pub fn new(ca: &[u8], identity: Identity<'_>, limit: Duration) -> Result<Self, String> {
        Self::at(ca, identity, limit, None)
    }

    /// The same; every name leads to the one address that is given.
    pub fn at(
        ca: &[u8],
        identity: Identity<'_>,
        limit: Duration,
        address: Option<SocketAddr>,
    ) -> Result<Self, String> {
        let pem = |e: ureq::Error| e.to_string();
        let roots: Vec<_> = ureq::tls::parse_pem(ca)
            .filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if roots.is_empty() {
            return Err("the CA is no PEM certificate".into());
        }
        let (client, bearer) = match identity {
            Identity::Certificate(certificate, key) => {
                let chain = [Certificate::from_pem(certificate).map_err(pem)?];
                let key = PrivateKey::from_pem(key).map_err(pem)?;
                (Some(ClientCert::new_with_certs(&chain, key)), None)
            }
            Identity::Token(token) => (None, Some(format!("Bearer {token}"))),
        };
        let tls =
            TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).client_cert(client).build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .https_only(true)
            .timeout_connect(Some(CONNECT.min(limit)))
            .timeout_global(Some(limit))
            .user_agent("nodeinit")
            .build();
        let agent = match address {
            Some(address) => ureq::Agent::with_parts(config, DefaultConnector::default(), Fixed(address)),
            None => config.new_agent(),
        };
        Ok(Self { agent, bearer })
    }

    /// One request.
    pub fn call(&self, url: &str, method: Method<'_>) -> Result<Answer, NoAnswer> {
        // ureq panics on a client certificate that is not its key's; the file is not ours to trust.
        match catch_unwind(AssertUnwindSafe(|| self.try_call(url, method))) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => Err(no_answer(&e)),
            Err(_) => Err(NoAnswer::Other("the client certificate does not fit its key".into())),
        }
    }

    fn try_call(&self, url: &str, method: Method<'_>) -> Result<Answer, ureq::Error> {
        const JSON: &str = "application/json";
        let agent = &self.agent;
        let (request, kind, body) = match method {
            Method::Get => return self.bodyless(agent.get(url)),
            Method::Delete => return self.bodyless(agent.delete(url)),
            Method::Put(body) => (agent.put(url), JSON, body),
            Method::Post(body) => (agent.post(url), JSON, body),
            Method::Apply(body) => (agent.patch(url), "application/apply-patch+yaml", body),
            Method::Merge(body) => (agent.patch(url), "application/merge-patch+json", body),
        };
        let request = match &self.bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        };
        read(request.content_type(kind).send(body)?)
    }

    fn bodyless(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
    ) -> Result<Answer, ureq::Error> {
        let request = match &self.bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        };
        read(request.call()?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec()?;
    Ok(Answer { status: response.status().as_u16(), body })
}

fn no_answer(e: &ureq::Error) -> NoAnswer {
    match e {
        ureq::Error::Timeout(_) => NoAnswer::Timeout,
        ureq::Error::Io(io) => match io.kind() {
            ErrorKind::ConnectionRefused => NoAnswer::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => NoAnswer::Timeout,
            _ => NoAnswer::Other(io.to_string()),
        },
        e => NoAnswer::Other(e.to_string()),
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// What an API server says beside its status.
    pub fn message(&self) -> String {
        let said = serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|v| v.get("message").and_then(|m| m.as_str()).map(str::to_owned));
        format!("status {}: {}", self.status, said.unwrap_or_else(|| "no message".into()))
    }
}
