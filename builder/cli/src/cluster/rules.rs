//! What every node would refuse at power-on, said here: names, networks, the endpoint, labels and taints.
//!
//! The rules are contract's, and nodeinit decides by the same ones.

use super::spec::{ClusterSpec, NodeWish};
use super::{ClusterError, NodeNetwork};
use ipnet::IpNet;
use nodeimg_contract::components::{Component, MAX_ARGUMENTS, MAX_SANS, argument, subject_alt_name};
use nodeimg_contract::image::Role;
use nodeimg_contract::names::{dns_name, is_reachable, node_name};
use nodeimg_contract::networks::{DEFAULT_POD, DEFAULT_SERVICE, NODE_PORTS, pod_lengths, service_lengths};
use nodeimg_contract::node::{Taint, kubelet_field, label};
use nodeimg_contract::seed::{EndpointMode, MAX_SERVERS, MAX_TOKENS};
use std::net::IpAddr;
use std::ops::RangeInclusive;

const POD: &str = "--pod-subnet";
const SERVICE: &str = "--service-subnet";

fn refused(
    option: &'static str,
    value: impl ToString,
    cause: impl Into<String>,
    help: impl Into<String>,
) -> ClusterError {
    ClusterError::Refused { option, value: value.to_string(), cause: cause.into(), help: help.into() }
}

impl ClusterSpec {
    /// The endpoint's name, port and addresses, for what answers behind it.
    pub(super) fn check_endpoint(&self, mode: EndpointMode, leads_to: &[IpAddr]) -> Result<(), ClusterError> {
        const ENDPOINT: &str = "--endpoint";
        let name = &self.endpoint_name;
        // This crate's tests serve an API on loopback, by the one name that leads there everywhere.
        let of_tests = cfg!(test) && name == "localhost";
        if let Err(cause) = dns_name(name)
            && !of_tests
        {
            let help = "an endpoint outlives every address: give a DNS name, like --endpoint api.kube.example.net:6443, \
                        and its addresses with --endpoint-address";
            return Err(refused(ENDPOINT, name, cause, help));
        }
        if self.nodes.iter().any(|n| n.name == *name) {
            let help = "give a name that stands for all control planes, like api.kube.example.net";
            return Err(refused(ENDPOINT, name, "it is the name of one node", help));
        }
        let port = self.endpoint_port;
        if port == 0 {
            let help = "give a port between 1 and 65535, or none for 6443";
            return Err(refused(ENDPOINT, format!("{name}:{port}"), "port 0 is none", help));
        }
        if mode == EndpointMode::Dns && NODE_PORTS.contains(&port) {
            let cause = "etcd, the kubelet or another part of a control plane listens on that port";
            return Err(refused(ENDPOINT, format!("{name}:{port}"), cause, "leave the port out for 6443"));
        }
        let lb = self.of(Role::Lb).next();
        if let Some(lb) = lb.filter(|_| leads_to.is_empty() && self.endpoint_mode.is_none()) {
            let cause = "nobody knows where the endpoint's name leads: no balancer has an address";
            let help = "give it one, --lb NAME=ADDRESS, or say where the name leads with --endpoint-address; \
                        --endpoint-mode external says that DNS knows it";
            return Err(refused("--lb", &lb.name, cause, help));
        }
        if self.endpoint_addresses.len() > MAX_SERVERS {
            let cause = format!("more than {MAX_SERVERS} addresses");
            return Err(refused(
                "--endpoint-address",
                self.endpoint_addresses.len(),
                cause,
                "give those of the balancers",
            ));
        }
        match self.endpoint_addresses.iter().find(|a| !is_reachable(**a)) {
            None => Ok(()),
            Some(bad) => {
                let help = "give the address of a balancer or of a control plane that every node reaches";
                Err(refused("--endpoint-address", bad, "it is not the address of a machine elsewhere", help))
            }
        }
    }

    /// Networks of pods and services: sizes, one family with the nodes, apart from each other and from all addresses.
    pub(super) fn check_networks(&self, leads_to: &[IpAddr]) -> Result<(), ClusterError> {
        let pod = network(POD, self.pod_subnet.as_deref().unwrap_or(DEFAULT_POD), pod_lengths)?;
        let text = self.service_subnet.as_deref().unwrap_or(DEFAULT_SERVICE);
        let service = network(SERVICE, text, service_lengths)?;
        if pod.contains(&service.network()) || service.contains(&pod.network()) {
            let help = "choose networks that do not overlap";
            return Err(refused(
                SERVICE,
                service,
                format!("it is not apart from the pod subnet {pod}"),
                help,
            ));
        }
        let v4 = pod.addr().is_ipv4();
        if service.addr().is_ipv4() != v4 {
            let cause = format!("the pod subnet {pod} is of the other address family");
            let help = "use IPv4 for all or IPv6 for all: give --pod-subnet and --service-subnet";
            return Err(refused(SERVICE, service, cause, help));
        }
        for node in self.nodes.iter().filter(|n| matches!(n.role, Role::ControlPlane | Role::Etcd)) {
            let Some(address) = node.address.filter(|a| a.is_ipv4() != v4) else { continue };
            let cause = format!(
                "the pod subnet {pod} and the service subnet {service} are of the other address family"
            );
            let help = "use IPv4 for all or IPv6 for all: give every node an address of one family, and --pod-subnet \
                        and --service-subnet of the same";
            return Err(refused("the address of a node", address, cause, help));
        }
        let nodes = self.nodes.iter().filter_map(|n| n.address).map(|a| ("node address", a));
        for (what, address) in nodes.chain(leads_to.iter().map(|a| ("--endpoint-address", *a))) {
            let Some((option, net)) =
                [(POD, pod), (SERVICE, service)].into_iter().find(|(_, n)| n.contains(&address))
            else {
                continue;
            };
            let cause = format!("it is not outside of {option} {net}");
            let help = "choose --pod-subnet and --service-subnet apart from the nodes' network";
            return Err(refused(what, address, cause, help));
        }
        Ok(())
    }

    /// Names in the API server's certificate, and arguments of the components.
    pub(super) fn check_components(&self) -> Result<(), ClusterError> {
        const SANS: &str = "cert-sans";
        if self.cert_sans.len() > MAX_SANS {
            let cause = format!("it has {} names; {MAX_SANS} are allowed", self.cert_sans.len());
            return Err(refused("kubernetes", SANS, cause, "list fewer"));
        }
        for name in &self.cert_sans {
            if let Err(cause) = subject_alt_name(name) {
                return Err(refused(SANS, name, cause, "use a DNS name or an IP address"));
            }
        }
        for (key, component, said) in [
            ("api-server-extra-args", Component::ApiServer, &self.extra_args.api_server),
            (
                "controller-manager-extra-args",
                Component::ControllerManager,
                &self.extra_args.controller_manager,
            ),
            ("scheduler-extra-args", Component::Scheduler, &self.extra_args.scheduler),
            ("etcd-extra-args", Component::Etcd, &self.extra_args.etcd),
        ] {
            if said.len() > MAX_ARGUMENTS {
                let cause = format!("it has {} arguments; {MAX_ARGUMENTS} are allowed", said.len());
                return Err(refused("kubernetes", key, cause, "give fewer"));
            }
            for (name, value) in said {
                argument(component, name, value).map_err(|bad| refused(key, name, bad.cause, bad.help))?;
            }
        }
        Ok(())
    }

    /// Names of time servers and of the services' domain.
    pub(super) fn check_names(&self) -> Result<(), ClusterError> {
        if let Some(domain) = &self.dns_domain
            && let Err(cause) = dns_name(domain)
        {
            return Err(refused("--dns-domain", domain, cause, "give it like cluster.local"));
        }
        if self.ntp.len() > MAX_SERVERS {
            let cause = format!("{} are too many; {MAX_SERVERS} are allowed", self.ntp.len());
            return Err(refused("time servers", "--ntp", cause, "give three or four"));
        }
        for server in &self.ntp {
            if server.parse::<IpAddr>().is_err()
                && let Err(cause) = dns_name(server)
            {
                let help = "give the name or the address of a time server, like --ntp ntp.example.net";
                return Err(refused("--ntp", server, cause, help));
            }
        }
        let workers = self.of(Role::Worker).count();
        if workers > MAX_TOKENS {
            let cause = format!("a seed holds {MAX_TOKENS} bootstrap tokens, one for each worker");
            let help = "leave some workers out, and add them later with \"nodeimg cluster seed DIR NAME --role worker\"";
            return Err(refused("the number of --worker", workers, cause, help));
        }
        self.nodes.iter().try_for_each(check_node)
    }
}

fn network(
    option: &'static str,
    text: &str,
    lengths: fn(bool) -> RangeInclusive<u8>,
) -> Result<IpNet, ClusterError> {
    let bad = |cause: &str, help: String| refused(option, text, cause, help);
    if text.contains(',') {
        let help = "give one network, of the nodes' address family".to_owned();
        return Err(bad("two address families at once are not supported yet", help));
    }
    let net: IpNet =
        text.parse().map_err(|_| bad("it is not a network", "give it like 10.244.0.0/16".to_owned()))?;
    if net.trunc() != net {
        let help = format!("clear the bits behind the prefix: {}", net.trunc());
        return Err(bad("it is not a network, but an address inside one", help));
    }
    let wanted = lengths(net.addr().is_ipv4());
    if !wanted.contains(&net.prefix_len()) {
        let help = format!("use a length from /{} to /{}", wanted.start(), wanted.end());
        return Err(bad("kubeadm takes no network of that size here", help));
    }
    Ok(net)
}

fn check_node(node: &NodeWish) -> Result<(), ClusterError> {
    if let Err(cause) = node_name(&node.name) {
        return Err(refused("node name", &node.name, cause, "give it another name, like w1"));
    }
    for (key, value) in &node.settings.labels {
        if let Err(cause) = label(key, value, node.role) {
            let help = "write it like --label example.com/rack=7, or set it later: kubectl label node";
            return Err(refused("--label", format!("{key}={value}"), cause, help));
        }
    }
    let mut seen = Vec::new();
    for text in &node.settings.taints {
        const HELP: &str = "write it like --taint dedicated=gpu:NoSchedule, each key and effect once";
        let taint: Taint = text.parse().map_err(|cause: &str| refused("--taint", text, cause, HELP))?;
        if seen.contains(&(taint.key.clone(), taint.effect)) {
            return Err(refused("--taint", text, "its key and effect are given twice", HELP));
        }
        seen.push((taint.key, taint.effect));
    }
    if let Some(bad) = node.settings.node_ip.filter(|a| !is_reachable(*a)) {
        return Err(refused(
            "node-ip",
            bad,
            "it is not the address of a machine",
            "give an address of the node",
        ));
    }
    for key in node.settings.kubelet.keys() {
        if let Err(cause) = kubelet_field(key) {
            let help = "leave it out, or write it as kubelet.config.k8s.io/v1beta1 does, like maxPods";
            return Err(refused("kubelet", key, cause, help));
        }
    }
    match &node.network {
        Some(NodeNetwork::Static { gateway, dns, .. }) => {
            match gateway.iter().chain(dns).find(|a| a.is_unspecified() || a.is_multicast()) {
                None => Ok(()),
                Some(bad) => {
                    let help = "give the addresses of the gateway and of DNS servers";
                    Err(refused("--network", bad, "it is not the address of a machine", help))
                }
            }
        }
        _ => Ok(()),
    }
}
