//! Names and addresses that a node takes: the builder asks before it writes a seed, nodeinit before it acts on one.

use std::net::IpAddr;

/// RFC 1123 label: lower case, at most 63 characters.
pub fn is_label(s: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    s.len() <= 63
        && edge(s.bytes().next())
        && edge(s.bytes().last())
        && s.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

/// RFC 1123 subdomain: labels with dots between, at most 253 characters.
pub fn is_subdomain(s: &str) -> bool {
    !s.is_empty() && s.len() <= 253 && s.split('.').all(is_label)
}

/// Whether a text can be a node's name; else why not.
pub fn node_name(s: &str) -> Result<(), &'static str> {
    if s.len() > 63 {
        return Err("a node name has at most 63 characters");
    }
    if !is_subdomain(s) {
        return Err(
            "a node name has lower-case letters, digits, \"-\" and \".\" only, and starts and ends with a letter or digit",
        );
    }
    if s == "localhost" {
        return Err("\"localhost\" cannot be a node's name");
    }
    Ok(())
}

/// Whether a text is a DNS name, and no address; else why not.
pub fn dns_name(s: &str) -> Result<(), &'static str> {
    if s.parse::<IpAddr>().is_ok() || s.starts_with('[') {
        return Err("an IP address stands where a DNS name must");
    }
    if !is_subdomain(s) {
        return Err(
            "a DNS name has lower-case letters, digits, \"-\" and \".\" only, in labels of at most 63 characters, and no dot at its end",
        );
    }
    // RFC 3696 section 2: a top-level domain is not all digits; such a text is a mistyped address.
    if s.rsplit('.').next().is_some_and(|l| l.bytes().all(|c| c.is_ascii_digit())) {
        return Err("a DNS name does not end with a number; this looks like an address");
    }
    if s == "localhost" || s.ends_with(".localhost") {
        return Err("\"localhost\" means another machine on every machine");
    }
    Ok(())
}

/// An address that a packet to one machine elsewhere can carry.
pub fn is_machine(a: IpAddr) -> bool {
    !(a.is_unspecified() || a.is_loopback() || a.is_multicast() || a == IpAddr::from([255, 255, 255, 255]))
}

/// An address that leads to the same machine from every other one: a link-local address is another on each link.
pub fn is_reachable(a: IpAddr) -> bool {
    let link_local = match a {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    is_machine(a) && !link_local
}
