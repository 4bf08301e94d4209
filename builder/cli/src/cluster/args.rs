//! The command line of `nodeimg cluster …`.

mod words;

use super::spec::NodeWish;
use super::{ClusterError, ClusterSpec, NodeNetwork, cluster_file};
use jiff::SignedDuration;
use nodeimg_contract::birth::Method;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::{EndpointMode, KeyAlgorithm};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use words::{
    control_plane, endpoint, endpoint_mode, etcd, keys, label, lb, lifetime, method, role, serial, worker,
};

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
    /// A balancer before the API servers, at ADDRESS. There is no image of that role yet: it is a machine of yours
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
    #[arg(long, requires = "ca_dir", conflicts_with_all = ["permit_ttl", "upload_certs"])]
    pub adopt: bool,
    /// How long workers may join after now: their tokens' life; control planes put each token into the cluster once
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
    /// A node that may be missing; may be repeated, or a list with commas; more than half of all must be left
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
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
    /// A label of the node; KEY- takes one away; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<String>,
    /// A taint of the node; KEY- or the whole taint with "-" behind takes one away; may be repeated
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
    /// Wipe the state disk with this serial number at the next boot, once for each seed made so (the node's fault
    /// NI-DISK-002 and /sys/block/*/serial show it)
    #[arg(long, value_name = "SERIAL", value_parser = serial)]
    pub wipe_disk: Option<String>,
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
            wipe_disk: None,
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

/// Make a new admin.kubeconfig from the kept CA: the first one ends after a year
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
No node is asked and nothing of the cluster changes. The kubeconfig that was before lies in
DIR/replaced/. The nodes' own certificates: docs/operations.md, \"Certificates\".")]
pub struct ClusterKubeconfigArgs {
    /// The cluster's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// How long it is to hold, in whole days (365d at most)
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lifetime)]
    pub ttl: SignedDuration,
}

impl ClusterNewArgs {
    /// What was asked for.
    pub fn spec(&self) -> Result<ClusterSpec, ClusterError> {
        let mut spec = match &self.from {
            Some(path) => from_file(path)?,
            None => self.words()?,
        };
        spec.adopt |= self.adopt;
        spec.out = self.out.clone().unwrap_or_else(|| PathBuf::from(&spec.name));
        spec.ca_dir.clone_from(&self.ca_dir);
        if let Some(path) = spec.ca_dir.as_ref().filter(|path| !path.is_dir()) {
            let help =
                "give --ca-dir a folder with kubeadm's file names: ca.crt and ca.key for a CA of your own";
            return Err(ClusterError::Missing { what: "folder", path: path.clone(), help });
        }
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
    if !path.is_file() {
        let help = "give --from the path of a cluster.toml; docs/cluster.toml is an example";
        return Err(ClusterError::Missing { what: "file", path: path.to_owned(), help });
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| ClusterError::File { path: path.to_owned(), message: e.to_string() })?;
    cluster_file::parse(path, &text, PathBuf::new())
}
