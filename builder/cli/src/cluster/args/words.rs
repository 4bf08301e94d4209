//! The words behind the options: nodes, roles, lifetimes, the endpoint.

use crate::cluster::ClusterError;
use crate::cluster::spec::NodeWish;
use jiff::SignedDuration;
use nodeimg_contract::birth::Method;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{EndpointMode, KeyAlgorithm};
use std::net::IpAddr;

fn with_address(text: &str, role: Role, example: &str) -> Result<NodeWish, String> {
    let wanted = format!("give NAME=ADDRESS, like {example}");
    let (name, address) = text.split_once('=').ok_or(wanted.as_str())?;
    let address = address.parse().map_err(|_| format!("\"{address}\" is not an IP address; {wanted}"))?;
    Ok(NodeWish::new(name, role, Some(address)))
}

pub(super) fn control_plane(text: &str) -> Result<NodeWish, String> {
    with_address(text, Role::ControlPlane, "cp1=192.0.2.11")
}

pub(super) fn etcd(text: &str) -> Result<NodeWish, String> {
    with_address(text, Role::Etcd, "etcd1=192.0.2.21")
}

pub(super) fn worker(text: &str) -> Result<NodeWish, String> {
    match text.contains('=') {
        true => with_address(text, Role::Worker, "w1=192.0.2.31"),
        false => Ok(NodeWish::new(text, Role::Worker, None)),
    }
}

pub(super) fn lb(text: &str) -> Result<NodeWish, String> {
    match text.contains('=') {
        true => with_address(text, Role::Lb, "lb1=192.0.2.10"),
        false => Ok(NodeWish::new(text, Role::Lb, None)),
    }
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    [Role::Worker, Role::ControlPlane, Role::Etcd, Role::Lb]
        .into_iter()
        .find(|role| role.to_string() == text)
        .ok_or_else(|| "give worker, control-plane, etcd or lb".into())
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    match text {
        "quorum" => Ok(Method::Quorum),
        "first" => Ok(Method::First),
        _ => Err("give quorum or first".into()),
    }
}

pub(super) fn endpoint_mode(text: &str) -> Result<EndpointMode, String> {
    match text {
        "dns" => Ok(EndpointMode::Dns),
        "external" => Ok(EndpointMode::External),
        _ => Err("give dns or external".into()),
    }
}

pub(super) fn keys(text: &str) -> Result<KeyAlgorithm, String> {
    KeyAlgorithm::ALL
        .into_iter()
        .find(|kind| kind.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| "give ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096".into())
}

pub(super) fn serial(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.len() <= 128 && !text.chars().any(|c| c.is_control() || c == '/');
    if good { Ok(text.to_owned()) } else { Err("give a disk's serial number, as the node shows it".into()) }
}

pub(super) fn label(text: &str) -> Result<String, String> {
    match text.contains('=') || text.ends_with('-') {
        true => Ok(text.to_owned()),
        false => Err("give KEY=VALUE, like example.com/rack=7, or KEY- to take a label away".into()),
    }
}

pub(super) fn endpoint(text: &str) -> Result<(String, u16), ClusterError> {
    let bad_port = |port: &str| ClusterError::Value {
        what: "endpoint port",
        value: port.to_owned(),
        wanted: "a TCP port",
        help: "give --endpoint NAME[:PORT], like api.kube.example.net:6443",
    };
    // An IPv6 address has colons of its own: it is refused as an address, not as a port.
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), 6443));
    }
    match text.rsplit_once(':') {
        Some((name, port)) => Ok((name.to_owned(), port.parse().map_err(|_| bad_port(port))?)),
        None => Ok((text.to_owned(), 6443)),
    }
}

pub(super) fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let wanted = "give a number and d, h or m, like 7d";
    let unit = text.chars().last().ok_or(wanted)?;
    let number: i64 =
        text.strip_suffix(unit).and_then(|n| n.parse().ok()).filter(|n| *n > 0).ok_or(wanted)?;
    let seconds = match unit {
        'd' => number.checked_mul(86_400),
        'h' => number.checked_mul(3_600),
        'm' => number.checked_mul(60),
        _ => return Err(wanted.into()),
    };
    seconds.map(SignedDuration::from_secs).ok_or_else(|| wanted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(lifetime("7d"), Ok(SignedDuration::from_hours(168)));
        assert_eq!(lifetime("90m"), Ok(SignedDuration::from_mins(90)));
        for bad in ["", "d", "7", "-1d", "7w", "9999999999999999999d", "9223372036854775807d"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints() {
        assert_eq!(endpoint("api.example.net").expect("a name"), ("api.example.net".into(), 6443));
        assert_eq!(endpoint("api.example.net:8443").expect("a name"), ("api.example.net".into(), 8443));
        assert!(endpoint("api.example.net:x").is_err());
        assert_eq!(endpoint("2001:db8::1").expect("refused later").0, "2001:db8::1");
    }
}
