//! `resolv.conf`: one text for the node, one for the pods that use the node's DNS.
//!
//! Takes servers and search domains, gives text. Pure. Format: resolv.conf(5). The kubelet's never names a loopback
//! address: inside a pod that is the pod itself, and CoreDNS would ask itself for ever.

use std::net::IpAddr;

/// glibc reads this many servers.
pub const MAX_SERVERS: usize = 3;
/// Search domains that the kubelet passes on.
pub const MAX_SEARCH: usize = 32;

/// Servers and search domains for the node, in order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    servers: Vec<IpAddr>,
    search: Vec<String>,
}

impl Dns {
    /// Drops repetitions, addresses that are none, and domains that would break the file.
    pub fn new(servers: impl IntoIterator<Item = IpAddr>, search: impl IntoIterator<Item = String>) -> Self {
        let mut dns = Self::default();
        for server in servers {
            if !server.is_unspecified() && !server.is_multicast() && !dns.servers.contains(&server) {
                dns.servers.push(server);
            }
        }
        for domain in search {
            let domain = domain.trim_end_matches('.').to_ascii_lowercase();
            if is_domain(&domain) && dns.search.len() < MAX_SEARCH && !dns.search.contains(&domain) {
                dns.search.push(domain);
            }
        }
        dns
    }
    /// Every server.
    pub fn servers(&self) -> &[IpAddr] {
        &self.servers
    }
    /// Search domains.
    pub fn search(&self) -> &[String] {
        &self.search
    }
    /// Servers that a pod can use: CoreDNS may forward to these. Empty: CoreDNS gets no `forward`.
    pub fn upstream(&self) -> Vec<IpAddr> {
        self.servers.iter().copied().filter(|server| !server.to_canonical().is_loopback()).collect()
    }
    /// The node's own `/etc/resolv.conf`.
    pub fn node_text(&self) -> String {
        text(&self.servers, &self.search)
    }
    /// What the kubelet's `resolvConf` names.
    pub fn kubelet_text(&self) -> String {
        text(&self.upstream(), &self.search)
    }
}

fn is_domain(domain: &str) -> bool {
    (1..=253).contains(&domain.len())
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        })
}

fn text(servers: &[IpAddr], search: &[String]) -> String {
    let mut text = String::from("# written by nodeinit\n");
    for server in servers.iter().take(MAX_SERVERS) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pods_never_see_loopback() {
        let addresses = ["127.0.0.53", "192.0.2.53", "::1", "192.0.2.53", "2001:db8::53", "::ffff:127.0.0.1"];
        let dns = Dns::new(
            addresses.map(|a| a.parse().expect("an address")),
            ["Example.NET.".to_owned(), "bad domain".into(), "example.net".into()],
        );
        assert_eq!(
            dns.kubelet_text(),
            "# written by nodeinit\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.net\n"
        );
        assert!(dns.node_text().contains("nameserver 127.0.0.53\n"));
        assert_eq!(dns.upstream().len(), 2);
    }

    #[test]
    fn nothing_known_is_an_empty_file() {
        assert_eq!(Dns::default().kubelet_text(), "# written by nodeinit\n");
    }

    proptest! {
        #[test]
        fn no_domain_adds_a_line(domains in proptest::collection::vec("\\PC{0,20}|[\\n a-z.]{0,20}", 0..50)) {
            let text = Dns::new([], domains).node_text();
            prop_assert!(text.lines().count() <= 2);
        }
    }
}
