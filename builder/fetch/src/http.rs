//! HTTP: one request at a time, with time limits, retries and a size that is known beforehand.
//!
//! Takes URLs. Gives bytes as they come, unchecked: digests and signatures are the caller's. Honours the proxies of the
//! environment (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).

use std::io::Read;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

/// How often a request is tried when the network or the server fails.
const TRIES: u32 = 5;
/// Pause before the second try; doubled with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(400);

/// The client; cheap to clone, shared by threads.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    first_pause: Duration,
}

/// A request that did not work.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server has no such thing (404, 410).
    #[error("\"{url}\" is not there (status {status})")]
    Missing {
        /// What was asked for.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The server said no.
    #[error("\"{url}\" was refused (status {status})\nhelp: try another mirror with --mirror URL")]
    Refused {
        /// What was asked for.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The network failed, several times.
    #[error(
        "\"{url}\" could not be fetched, {tries} tries\nhelp: check the network and http_proxy, or try another mirror with --mirror URL"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// How often.
        tries: u32,
        /// The last failure.
        #[source]
        source: Box<ureq::Error>,
    },
    /// More bytes than there may be.
    #[error(
        "\"{url}\" has more than the expected {limit} bytes\nhelp: nothing of it was used; try another mirror with --mirror URL"
    )]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most.
        limit: u64,
    },
}

/// What to do with a failed try.
pub(crate) enum Attempt<E> {
    /// Another try may work.
    Again(Box<ureq::Error>),
    /// It will not.
    Stop(E),
}

impl<E: From<HttpError>> From<HttpError> for Attempt<E> {
    fn from(error: HttpError) -> Self {
        Attempt::Stop(error.into())
    }
}

impl Client {
    /// With the environment's proxies.
    pub fn from_environment() -> Self {
        Self::with(ureq::Proxy::try_from_env(), FIRST_PAUSE)
    }

    /// Without any proxy and with short pauses: for tests that talk to themselves.
    pub fn direct() -> Self {
        Self::with(None, Duration::from_millis(1))
    }

    fn with(proxy: Option<ureq::Proxy>, first_pause: Duration) -> Self {
        let config = Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            .user_agent(concat!("nodeimg/", env!("CARGO_PKG_VERSION")))
            // What is asked for is compressed already; a second layer would make sizes and ranges lie.
            .accept_encoding("identity")
            .max_redirects(5)
            .timeout_resolve(Some(Duration::from_secs(15)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .timeout_per_read(Some(Duration::from_secs(30)))
            .build();
        Self { agent: config.new_agent(), first_pause }
    }

    /// A small document, at most `limit` bytes.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        self.retry(url, || {
            let response = self.request(url, 0)?;
            let mut bytes = Vec::new();
            let mut reader = response.into_body().into_reader().take(limit + 1);
            reader.read_to_end(&mut bytes).map_err(|e| Attempt::Again(Box::new(e.into())))?;
            if bytes.len() as u64 > limit {
                return Err(HttpError::TooLarge { url: url.to_owned(), limit }.into());
            }
            Ok(bytes)
        })
    }

    /// Asks for `url` from byte `from` on. The answer's status is 200 or 206.
    pub(crate) fn request<E: From<HttpError>>(
        &self,
        url: &str,
        from: u64,
    ) -> Result<Response<ureq::Body>, Attempt<E>> {
        tracing::debug!(url = without_credentials(url), from, "fetch");
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|e| Attempt::Again(Box::new(e)))?;
        let status = response.status();
        let (url, code) = (url.to_owned(), status.as_u16());
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(HttpError::Missing { url, status: code }.into()),
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Attempt::Again(Box::new(ureq::Error::StatusCode(code))))
            }
            status if status.is_server_error() => {
                Err(Attempt::Again(Box::new(ureq::Error::StatusCode(code))))
            }
            _ => Err(HttpError::Refused { url, status: code }.into()),
        }
    }

    /// Tries until it works, stops, or has failed too often; the pauses grow.
    pub(crate) fn retry<T, E: From<HttpError>>(
        &self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Attempt<E>>,
    ) -> Result<T, E> {
        let mut pause = self.first_pause;
        let mut tries = 1;
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(Attempt::Stop(error)) => return Err(error),
                Err(Attempt::Again(source)) if tries == TRIES || !worth_retrying(&source) => {
                    return Err(HttpError::Network { url: url.to_owned(), tries, source }.into());
                }
                Err(Attempt::Again(_)) => {
                    std::thread::sleep(pause);
                    pause *= 2;
                    tries += 1;
                }
            }
        }
    }
}

/// A URL or proxy that makes no sense stays so.
fn worth_retrying(error: &ureq::Error) -> bool {
    !matches!(
        error,
        ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::TooManyRedirects
            | ureq::Error::RedirectFailed
    )
}

/// A URL for logs: what stands before `@` in its authority may be a password.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_reaches_no_log() {
        assert_eq!(without_credentials("http://me:pw@mirror.test/debian@x"), "http://mirror.test/debian@x");
        assert_eq!(without_credentials("http://mirror.test"), "http://mirror.test");
    }
}
