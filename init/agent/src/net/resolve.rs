//! Names to addresses, without glibc (its resolver cannot be linked statically): `/etc/hosts` first, then DNS.
//!
//! Takes a name, the servers and a patience; gives addresses, or why there are none. May touch: `/etc/hosts` (reads),
//! sockets to the servers. Never uses a server that it was not given.

use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, proto::rr::Name};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Bytes of a hosts file that are read.
const MAX_HOSTS: u64 = 1 << 20;
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 64;

/// A name without addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Not a DNS name.
    #[error("\"{0}\" is not a DNS name")]
    Name(String),
    /// Nobody to ask.
    #[error("\"{0}\" is not in /etc/hosts and no DNS server is known")]
    NoServer(String),
    /// The servers know no address of it.
    #[error("\"{name}\" has no address: {cause}")]
    NotFound {
        /// The name.
        name: String,
        /// What the resolver says.
        cause: String,
    },
    /// No answer in time.
    #[error("no DNS server answered for \"{0}\"")]
    Timeout(String),
}

/// Resolves one name. An address in text form is its own answer.
pub fn resolve(
    name: &str,
    servers: &[IpAddr],
    hosts: &Path,
    patience: Duration,
) -> Result<Vec<IpAddr>, ResolveError> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let known = in_hosts(&read_bounded(hosts), name);
    if !known.is_empty() {
        return Ok(known);
    }
    if servers.is_empty() {
        return Err(ResolveError::NoServer(name.into()));
    }
    let mut fqdn = Name::from_ascii(name).map_err(|_| ResolveError::Name(name.chars().take(80).collect()))?;
    fqdn.set_fqdn(true);
    let not_found = |cause: String| ResolveError::NotFound { name: name.into(), cause };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| not_found(error.to_string()))?;
    let lookup = async {
        let config = ResolverConfig::from_name_servers(
            servers.iter().map(|ip| NameServerConfig::udp_and_tcp(*ip)).collect(),
        );
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(2).min(patience);
        options.attempts = 2;
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| not_found(error.to_string()))?;
        let found = resolver.lookup_ip(fqdn).await.map_err(|error| not_found(error.to_string()))?;
        Ok(found.iter().take(MAX_ADDRESSES).collect::<Vec<_>>())
    };
    match runtime.block_on(async { tokio::time::timeout(patience, lookup).await }) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(not_found("no A or AAAA record".into())),
        Ok(answer) => answer,
        Err(_) => Err(ResolveError::Timeout(name.into())),
    }
}

fn read_bounded(path: &Path) -> String {
    use std::io::Read;
    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(MAX_HOSTS).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// hosts(5): an address, then names; `#` begins a comment.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && found.len() < MAX_ADDRESSES {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_stand_before_dns() {
        let text = "127.0.0.1 localhost\n192.0.2.11 API.example.net api # cp1\nbad line\n2001:db8::1 api\n#1.1.1.1 api";
        assert_eq!(in_hosts(text, "api.example.net.").len(), 1);
        assert_eq!(in_hosts(text, "api").len(), 2);
        assert_eq!(in_hosts(text, "pi"), Vec::<IpAddr>::new());
    }

    #[test]
    fn without_a_server_it_says_so() {
        let nowhere = Path::new("/nonexistent");
        let asked = resolve("api.example.net", &[], nowhere, Duration::from_secs(1));
        assert_eq!(asked, Err(ResolveError::NoServer("api.example.net".into())));
        let address = "192.0.2.1".parse().expect("an address");
        assert_eq!(resolve("192.0.2.1", &[], nowhere, Duration::from_secs(1)), Ok(vec![address]));
    }

    #[test]
    fn a_server_that_does_not_exist_is_given_up_in_time() {
        let began = std::time::Instant::now();
        // Nothing listens on port 53 of this loopback address.
        let server = ["127.99.99.99".parse().expect("an address")];
        assert!(
            resolve("api.example.net", &server, Path::new("/nonexistent"), Duration::from_secs(2)).is_err()
        );
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
