//! The command line of `nodeimg cluster …`.

use super::spec::NodeWish;
use super::{ClusterError, ClusterSpec, NodeNetwork, cluster_file};
use jiff::SignedDuration;
use nodeimg_contract::birth::Method;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{EndpointMode, KeyAlgorithm};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Make a cluster's PKI, permit, seeds and admin kubeconfig
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
One control plane, or three with workers:

  nodeimg cluster new lab --control-plane cp1=192.0.2.11 --endpoint api.kube.example.net
  nodeimg cluster new prod --control-plane cp1=192.0.2.11 --control-plane cp2=192.0.2.12 \\
      --control-plane cp3=192.0.2.13 --worker w1 --worker w2 --endpoint api.kube.example.net

All control planes are alike: none is first, in whatever order they are powered on. Nothing is
ever overwritten, and no secret is printed. Keep the folder: it has the CAs' keys, and nodeimg
cluster seed, permit and remove-node need it later. docs/cluster-file.md has the keys of --from.")]
pub struct ClusterNewArgs {
    /// The cluster's name
    #[arg(value_name = "NAME", required_unless_present = "from")]
    pub name: Option<String>,
    /// A control plane; give it 1, 3 or 5 times
    #[arg(long = "control-plane", value_name = "NAME=ADDRESS", required_unless_present = "from", value_parser = control_plane)]
    pub control_planes: Vec<NodeWish>,
    /// A worker; its address is needed only with --network static
    #[arg(long = "worker", value_name = "NAME[=ADDRESS]", value_parser = worker)]
    pub workers: Vec<NodeWish>,
    /// A node for etcd alone, 1, 3 or 5 times; without any, etcd runs on the control planes
    #[arg(long = "etcd", value_name = "NAME=ADDRESS", value_parser = etcd)]
    pub etcd: Vec<NodeWish>,
    /// A balancer before the API servers
    #[arg(long = "lb", value_name = "NAME[=ADDRESS]", value_parser = lb)]
    pub lbs: Vec<NodeWish>,
    /// DNS name (and port) of the API behind all control planes
    #[arg(long, value_name = "NAME[:PORT]", required_unless_present = "from")]
    pub endpoint: Option<String>,
    /// What answers behind the name: dns (the control planes), external (a balancer) [default: dns, external with --lb]
    #[arg(long, value_name = "MODE", value_parser = endpoint_mode)]
    pub endpoint_mode: Option<EndpointMode>,
    /// What the name stands for on the nodes, in /etc/hosts; may be repeated [default: the control planes]
    #[arg(long = "endpoint-address", value_name = "ADDRESS")]
    pub endpoint_addresses: Vec<IpAddr>,
    /// The whole cluster from a file (cluster.toml) instead of the options above and below
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "name", "control_planes", "workers", "etcd", "lbs", "endpoint", "endpoint_mode", "endpoint_addresses", "pod_subnet",
        "service_subnet", "dns_domain", "ntp", "schedule_on_control_planes", "network", "keys", "method", "upload_certs",
    ])]
    pub from: Option<PathBuf>,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Network of the pods [default: 10.244.0.0/16]
    #[arg(long, value_name = "NETWORK")]
    pub pod_subnet: Option<String>,
    /// Network of the services [default: 10.96.0.0/12]
    #[arg(long, value_name = "NETWORK")]
    pub service_subnet: Option<String>,
    /// Domain of the services [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// A time server; may be repeated
    #[arg(long, value_name = "SERVER")]
    pub ntp: Vec<String>,
    /// Kind of keys: ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072, RSA-4096 [default: ECDSA-P256]
    #[arg(long, value_name = "KIND", value_parser = keys)]
    pub keys: Option<KeyAlgorithm>,
    /// CAs of your own, by kubeadm's file names (ca.crt, ca.key, …); what is not there is made. A chain stands in ca.crt
    /// below the certificate that signs
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// Who is born: quorum (all at once), first (the lowest name, the others join) [default: quorum]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    pub method: Option<Method>,
    /// The lowest control plane alone has the CAs' keys, and uploads them for the others, as kubeadm's --upload-certs does;
    /// needs --method first
    #[arg(long)]
    pub upload_certs: bool,
    /// How long the cluster may be born after now (7d, 12h, 30m)
    #[arg(long, alias = "permit-lifetime", value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub permit_ttl: SignedDuration,
    /// No permit: the nodes join a cluster that exists, and can form none
    #[arg(long, conflicts_with = "permit_ttl")]
    pub no_permit: bool,
    /// The cluster exists, made by kubeadm without nodeimg: list its control planes, give its CAs with --ca-dir, then make
    /// seeds of nodes that join it with "nodeimg cluster seed"
    #[arg(long, requires = "ca_dir", conflicts_with_all = ["permit_ttl", "upload_certs", "from"])]
    pub adopt: bool,
    /// How long workers may join after now; the cluster keeps tokens of listed workers valid
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub token_ttl: SignedDuration,
    /// Let ordinary pods run on control planes
    #[arg(long)]
    pub schedule_on_control_planes: bool,
    /// How nodes get their address: dhcp, or static:[ADDRESS]/PREFIX[,GATEWAY[,DNS…]]; static:/24 is each node's own
    /// [default: dhcp]
    #[arg(long, value_name = "HOW")]
    pub network: Option<NodeNetwork>,
}

/// Make new seeds with a new permit, for nodes that are born together
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A permit is leave for one birth. Make a new one when the old one is over before the cluster was
born, or when a machine is dead on arrival:

  nodeimg cluster permit prod --without cp3

The seeds that were before lie in DIR/replaced/.")]
pub struct ClusterPermitArgs {
    /// The cluster's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A node that may be missing; more than half of the list must be left
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub without: Vec<String>,
    /// How long the cluster may be born after now (7d, 12h, 30m)
    #[arg(long, alias = "ttl", value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub permit_ttl: SignedDuration,
}

/// Make the seed of one more node, or a new one for a node of the cluster
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
One more worker, one more control plane, and a new token for a worker that came too late:

  nodeimg cluster seed prod w3 --role worker
  nodeimg cluster seed prod cp4 --role control-plane --address 192.0.2.14
  nodeimg cluster seed prod w1

A seed that is made later has no permit: its node joins, and can form nothing.")]
pub struct ClusterSeedArgs {
    /// The cluster's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The node's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What a new node is to be: worker, control-plane, etcd, lb
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub role: Option<Role>,
    /// Its address; control planes and etcd nodes have one
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<IpAddr>,
    /// How it gets its address, where that is not as in the rest of the cluster
    #[arg(long, value_name = "HOW")]
    pub network: Option<NodeNetwork>,
    /// A label of the node; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// A taint of the node; may be repeated
    #[arg(long = "taint", value_name = "KEY[=VALUE]:EFFECT")]
    pub taints: Vec<String>,
    /// Give it the permit of the others: for a machine that is replaced before the cluster was born
    #[arg(long)]
    pub permit: bool,
    /// How long it may join after now
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = lifetime)]
    pub token_ttl: SignedDuration,
    /// Tell the cluster its token, through the API
    #[arg(long)]
    pub register: bool,
}

impl ClusterSeedArgs {
    /// One more control plane, with every default.
    pub fn control_plane(folder: &std::path::Path, name: &str, address: IpAddr) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            role: Some(Role::ControlPlane),
            address: Some(address),
            network: None,
            labels: Vec::new(),
            taints: Vec::new(),
            permit: false,
            token_ttl: super::spec::LIFETIME,
            register: false,
        }
    }
}

/// Take a node out of the cluster: drain it, delete its Node, forget it
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
It talks to the API with DIR/admin.kubeconfig, by the endpoint's name or a control plane's
address. etcd's members are not touched from here: it says which nodeinit command does that.")]
pub struct ClusterRemoveArgs {
    /// The cluster's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The node's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Change the folder alone, ask no cluster
    #[arg(long)]
    pub offline: bool,
    /// How long pods may take to leave
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = crate::args::parse_duration)]
    pub drain_timeout: std::time::Duration,
}

impl ClusterNewArgs {
    /// What was asked for.
    pub fn spec(&self) -> Result<ClusterSpec, ClusterError> {
        let mut spec = match &self.from {
            Some(path) => from_file(path)?,
            None => self.words()?,
        };
        spec.out = self.out.clone().unwrap_or_else(|| PathBuf::from(&spec.name));
        spec.ca_dir.clone_from(&self.ca_dir);
        if spec.adopt && spec.ca_dir.is_none() {
            return Err(ClusterError::Value {
                what: "cluster",
                value: spec.name,
                wanted: "adopted with its own CAs",
                help: "give --ca-dir a copy of /etc/kubernetes/pki of one of its control planes, with the keys",
            });
        }
        spec.permit_lifetime = Some(self.permit_ttl).filter(|_| !self.no_permit && !spec.adopt);
        spec.token_lifetime = self.token_ttl;
        Ok(spec)
    }

    fn words(&self) -> Result<ClusterSpec, ClusterError> {
        let (endpoint_name, endpoint_port) = endpoint(self.endpoint.as_deref().unwrap_or_default())?;
        let name = self.name.as_deref().unwrap_or_default();
        let nodes = [&self.control_planes, &self.etcd, &self.workers, &self.lbs];
        Ok(ClusterSpec {
            nodes: nodes.into_iter().flatten().cloned().collect(),
            endpoint_port,
            endpoint_mode: self.endpoint_mode,
            endpoint_addresses: self.endpoint_addresses.clone(),
            pod_subnet: self.pod_subnet.clone(),
            service_subnet: self.service_subnet.clone(),
            dns_domain: self.dns_domain.clone(),
            ntp: self.ntp.clone(),
            method: self.method.unwrap_or_default(),
            keys: self.keys.unwrap_or_default(),
            schedule_on_control_planes: self.schedule_on_control_planes,
            adopt: self.adopt,
            upload_certs: self.upload_certs,
            network: self.network.clone().unwrap_or(NodeNetwork::Dhcp),
            ..ClusterSpec::with_defaults(name, PathBuf::new(), Vec::new(), &endpoint_name)
        })
    }
}

fn from_file(path: &Path) -> Result<ClusterSpec, ClusterError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| ClusterError::File { path: path.to_owned(), message: e.to_string() })?;
    cluster_file::parse(path, &text, PathBuf::new())
}

fn with_address(text: &str, role: Role, example: &str) -> Result<NodeWish, String> {
    let wanted = format!("give NAME=ADDRESS, like {example}");
    let (name, address) = text.split_once('=').ok_or(wanted.as_str())?;
    let address = address.parse().map_err(|_| format!("\"{address}\" is not an IP address; {wanted}"))?;
    Ok(NodeWish::new(name, role, Some(address)))
}

fn control_plane(text: &str) -> Result<NodeWish, String> {
    with_address(text, Role::ControlPlane, "cp1=192.0.2.11")
}

fn etcd(text: &str) -> Result<NodeWish, String> {
    with_address(text, Role::Etcd, "etcd1=192.0.2.21")
}

fn worker(text: &str) -> Result<NodeWish, String> {
    match text.contains('=') {
        true => with_address(text, Role::Worker, "w1=192.0.2.31"),
        false => Ok(NodeWish::new(text, Role::Worker, None)),
    }
}

fn lb(text: &str) -> Result<NodeWish, String> {
    match text.contains('=') {
        true => with_address(text, Role::Lb, "lb1=192.0.2.10"),
        false => Ok(NodeWish::new(text, Role::Lb, None)),
    }
}

fn role(text: &str) -> Result<Role, String> {
    [Role::Worker, Role::ControlPlane, Role::Etcd, Role::Lb]
        .into_iter()
        .find(|role| role.to_string() == text)
        .ok_or_else(|| "give worker, control-plane, etcd or lb".into())
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "quorum" => Ok(Method::Quorum),
        "first" => Ok(Method::First),
        _ => Err("give quorum or first".into()),
    }
}

fn endpoint_mode(text: &str) -> Result<EndpointMode, String> {
    match text {
        "dns" => Ok(EndpointMode::Dns),
        "external" => Ok(EndpointMode::External),
        _ => Err("give dns or external".into()),
    }
}

fn keys(text: &str) -> Result<KeyAlgorithm, String> {
    KeyAlgorithm::ALL
        .into_iter()
        .find(|kind| kind.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| "give ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096".into())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("give KEY=VALUE, like example.com/rack=7")?;
    Ok((key.to_owned(), value.to_owned()))
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
