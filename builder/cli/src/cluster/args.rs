//! The command line of `nodeimg cluster new`.

use super::{ClusterError, ClusterSpec, NodeNetwork};
use jiff::SignedDuration;
use nodeimg_contract::seed::ControlPlane;
use std::net::IpAddr;
use std::path::PathBuf;

/// Make a cluster's PKI, permit, seeds and admin kubeconfig
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterNewArgs {
    /// The cluster's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A control plane, as NAME=ADDRESS
    #[arg(long = "control-plane", value_name = "NAME=ADDRESS", required = true, value_parser = control_plane)]
    pub control_planes: Vec<ControlPlane>,
    /// DNS name (and port) of the API behind all control planes
    #[arg(long, value_name = "NAME[:PORT]")]
    pub endpoint: String,
    /// What the name stands for on the nodes, in /etc/hosts; may be repeated [default: the control planes]
    #[arg(long = "endpoint-address", value_name = "ADDRESS")]
    pub endpoint_addresses: Vec<IpAddr>,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Network of the pods [default: 10.244.0.0/16]
    #[arg(long, value_name = "NETWORK")]
    pub pod_subnet: Option<String>,
    /// Network of the services [default: 10.96.0.0/12]
    #[arg(long, value_name = "NETWORK")]
    pub service_subnet: Option<String>,
    /// A time server; may be repeated
    #[arg(long, value_name = "SERVER")]
    pub ntp: Vec<String>,
    /// How long the cluster may be born after now (7d, 12h, 30m)
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub permit_lifetime: SignedDuration,
    /// Let ordinary pods run on control planes
    #[arg(long)]
    pub schedule_on_control_planes: bool,
    /// How nodes get their address: dhcp, or static:ADDRESS/PREFIX[,GATEWAY[,DNS…]]
    #[arg(long, value_name = "HOW", default_value = "dhcp", value_parser = network)]
    pub network: NodeNetwork,
}

impl ClusterNewArgs {
    /// What was asked for.
    pub fn spec(&self) -> Result<ClusterSpec, ClusterError> {
        let (endpoint_name, endpoint_port) = endpoint(&self.endpoint)?;
        Ok(ClusterSpec {
            endpoint_port,
            endpoint_addresses: self.endpoint_addresses.clone(),
            pod_subnet: self.pod_subnet.clone(),
            service_subnet: self.service_subnet.clone(),
            ntp: self.ntp.clone(),
            permit_lifetime: self.permit_lifetime,
            schedule_on_control_planes: self.schedule_on_control_planes,
            network: self.network.clone(),
            ..ClusterSpec::with_defaults(
                &self.name,
                self.out.clone().unwrap_or_else(|| PathBuf::from(&self.name)),
                self.control_planes.clone(),
                &endpoint_name,
            )
        })
    }
}

fn control_plane(text: &str) -> Result<ControlPlane, String> {
    let wanted = "give NAME=ADDRESS, like cp1=192.0.2.11";
    let (name, address) = text.split_once('=').ok_or(wanted)?;
    let address = address.parse().map_err(|_| format!("\"{address}\" is not an IP address; {wanted}"))?;
    Ok(ControlPlane { name: name.to_owned(), address })
}

fn endpoint(text: &str) -> Result<(String, u16), ClusterError> {
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

fn lifetime(text: &str) -> Result<SignedDuration, String> {
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

fn network(text: &str) -> Result<NodeNetwork, String> {
    if text == "dhcp" {
        return Ok(NodeNetwork::Dhcp);
    }
    let wanted = "give dhcp or static:ADDRESS/PREFIX[,GATEWAY[,DNS…]]";
    let mut parts = text.strip_prefix("static:").ok_or(wanted)?.split(',');
    let address = parts.next().unwrap_or_default();
    let address =
        address.parse().map_err(|_| format!("\"{address}\" has no address and prefix length; {wanted}"))?;
    let parse =
        |part: &str| part.parse::<IpAddr>().map_err(|_| format!("\"{part}\" is not an IP address; {wanted}"));
    let gateway = parts.next().filter(|part| !part.is_empty()).map(parse).transpose()?;
    let dns = parts.map(parse).collect::<Result<_, _>>()?;
    Ok(NodeNetwork::Static { address, gateway, dns })
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
    fn networks() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(
            network("static:192.0.2.11/24,192.0.2.1,192.0.2.53"),
            Ok(NodeNetwork::Static {
                address: "192.0.2.11/24".parse().expect("a network"),
                gateway: Some(address("192.0.2.1")),
                dns: vec![address("192.0.2.53")],
            })
        );
        for bad in ["static", "static:", "static:192.0.2.11", "static:192.0.2.11/24,x", "slaac"] {
            assert!(network(bad).is_err(), "{bad}");
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
