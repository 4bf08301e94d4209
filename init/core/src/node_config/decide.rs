//! From a seed to a [`NodeConfig`], or to everything that is wrong with it.

mod credentials;
mod lists;

use super::names::{ArgName, BadName, ClusterName, DnsName, NodeName, SubjectAltName};
use super::networks::{self, Networks};
use super::{EndpointSpec, KubernetesSpec, NetworkFacts, NodeConfig, Problem, Source, Sourced};
use crate::seed::Seed;
use ipnet::IpNet;
use lists::Lists;
use nodeimg_contract::birth::{Method, Permit};
use nodeimg_contract::components::{self, Component, MAX_ARGUMENTS, MAX_SANS};
use nodeimg_contract::fault::Code;
use nodeimg_contract::image::{Role, RootManifest};
pub(super) use nodeimg_contract::names::is_machine as is_unicast;
use nodeimg_contract::names::is_reachable;
use nodeimg_contract::networks::NODE_PORTS;
use nodeimg_contract::seed::{EndpointMode, Formation, Kubernetes, MAX_SERVERS, NodeSeed};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

/// A good seed's NodeConfig, and what a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What this node is to be.
    pub config: NodeConfig,
    /// The seed's warnings, and those of the decision.
    pub warnings: Vec<String>,
}

/// Decides what this node is to be. Every problem is told at once.
pub fn decide(seed: &Seed, image: &RootManifest, facts: &NetworkFacts) -> Result<Decided, Vec<Problem>> {
    let mut d = Decision { problems: Vec::new(), warnings: seed.warnings.clone() };
    let Some(ours) = &seed.user_data.nodeimg else {
        return Err(vec![Problem::invalid(
            "nodeimg",
            format!("the user-data of {} has no key \"nodeimg\"", seed.datasource),
            "make the seed with \"nodeimg cluster new\", or add the key",
        )]);
    };
    d.problems.extend(role_fits(ours.role, image).err());
    let name = d.node_name(seed, facts);
    let cluster = d.name::<ClusterName>("nodeimg.cluster", &ours.cluster, "use a name like \"lab\"");
    let lists = d.lists(ours);
    let address = match (&name, &lists) {
        (Some(name), Some(lists)) => d.own_address(ours.role, &name.value, lists),
        _ => None,
    };
    let endpoint = d.endpoint(ours, address);
    let kubernetes = d.kubernetes(&ours.kubernetes, lists.as_ref(), &ours.endpoint.addresses, facts);
    let formation = d.formation(ours.role, ours.formation.as_ref(), lists.as_ref());
    let credentials = d.credentials(ours, name.as_ref().map(|n| n.as_str()), lists.as_ref());
    let node = d.node_settings(&ours.node, ours.role);
    d.disk(ours);
    let ntp_servers = d.ntp(seed, facts);
    let dns_servers: Vec<_> =
        facts.dns_servers.iter().filter(|s| is_unicast(s.value)).take(MAX_SERVERS).cloned().collect();
    if dns_servers.is_empty() {
        d.warnings.push("no DNS server is known: CoreDNS answers for the cluster's own names only".into());
    }
    match (name, cluster, endpoint, lists, kubernetes) {
        (Some(name), Some(cluster), Some(endpoint), Some(lists), Some(kubernetes))
            if d.problems.is_empty() =>
        {
            let config = NodeConfig {
                datasource: seed.datasource.clone(),
                instance_id: seed.meta_data.instance_id.clone(),
                name,
                role: Sourced::user_data(ours.role),
                cluster: Sourced::user_data(cluster),
                issued_at: ours.issued_at,
                address,
                endpoint,
                control_planes: Sourced::user_data(lists.control_planes),
                etcd_nodes: lists.etcd_nodes,
                external_etcd: credentials.external_etcd,
                peer: credentials.peer,
                join: credentials.join,
                node,
                method: formation.method,
                permit: formation.permit,
                without: formation.without,
                adopt: formation.adopt,
                kubernetes,
                pki: credentials.pki,
                bootstrap_tokens: ours.bootstrap_tokens.clone(),
                disk: ours.disk.clone(),
                ntp_servers,
                dns_servers,
                ssh_authorized_keys: seed.user_data.ssh_authorized_keys.clone(),
            };
            Ok(Decided { config, warnings: d.warnings })
        }
        _ => Err(d.problems),
    }
}

/// Whether an image can take a role.
pub(super) fn role_fits(role: Role, image: &RootManifest) -> Result<(), Problem> {
    if role == image.role {
        return Ok(());
    }
    Err(Problem {
        code: Code::SeedRole,
        field: "nodeimg.role".into(),
        cause: format!(
            "the seed says \"{role}\", this image (profile \"{}\") is a \"{}\"",
            image.profile, image.role
        ),
        help: "boot the image of that role, or give this node its own seed".into(),
    })
}

/// How this cluster may come about, checked.
struct FormationSpec {
    method: Sourced<Method>,
    permit: Option<Permit>,
    without: Vec<NodeName>,
    adopt: bool,
}

/// A decision in the making: everything that is wrong so far.
pub(super) struct Decision {
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Decision {
    pub(super) fn problem(
        &mut self,
        field: impl Into<String>,
        cause: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::invalid(field, cause, help));
    }

    fn name<T: FromStr<Err = BadName>>(&mut self, field: &str, text: &str, help: &str) -> Option<T> {
        match text.parse() {
            Ok(name) => Some(name),
            Err(BadName(cause)) => {
                self.problem(field, cause, help);
                None
            }
        }
    }

    fn node_name(&mut self, seed: &Seed, facts: &NetworkFacts) -> Option<Sourced<NodeName>> {
        let said = [
            (seed.user_data.hostname.as_ref(), Source::UserData, "hostname"),
            (seed.meta_data.local_hostname.as_ref(), Source::MetaData, "local-hostname"),
            (facts.host_name.as_ref(), Source::Dhcp, "DHCP host name"),
        ];
        let Some((text, source, field)) = said.into_iter().find_map(|(t, s, f)| t.map(|t| (t, s, f))) else {
            self.problem("hostname", "the seed gives this node no name", "set \"hostname\" in user-data");
            return None;
        };
        let value = self.name(field, text, "use the name that stands in nodeimg.controlPlanes")?;
        Some(Sourced { value, source })
    }

    fn formation(&mut self, role: Role, said: Option<&Formation>, lists: Option<&Lists>) -> FormationSpec {
        let method = said.map(|f| f.method).unwrap_or_default();
        if method == Method::Recover {
            self.problem(
                "nodeimg.formation.method",
                "\"recover\" is an operator's command on one node, never a seed's",
                "leave it out, and run \"nodeinit recover\" on the node that survived",
            );
        }
        let permit = said.and_then(|f| f.permit.as_ref());
        permit.into_iter().for_each(|p| self.permit(p));
        if permit.is_some() && matches!(role, Role::Worker | Role::Lb) {
            self.warnings
                .push(format!("the permit of this seed is not used: a {role} takes part in no birth"));
        }
        let adopt = said.is_some_and(|f| f.adopt);
        if adopt && permit.is_some() {
            self.problem(
                "nodeimg.formation.adopt",
                "a cluster that exists is joined, and a permit is for one that does not",
                "make the seeds with \"nodeimg cluster new --adopt\", which gives no permit",
            );
        }
        FormationSpec {
            method: Sourced { value: method, source: default_source(method == Method::default()) },
            permit: permit.cloned(),
            without: lists.map(|lists| self.without(said, lists)).unwrap_or_default(),
            adopt,
        }
    }

    fn endpoint(&mut self, ours: &NodeSeed, own: Option<IpAddr>) -> Option<EndpointSpec> {
        let said = &ours.endpoint;
        let name = self.name::<DnsName>(
            "nodeimg.endpoint.name",
            &said.name,
            "give the endpoint a DNS name; endpoint.addresses says where it leads",
        );
        if said.port == 0 {
            self.problem("nodeimg.endpoint.port", "port 0 is none", "use 6443");
        } else if said.mode == EndpointMode::Dns && NODE_PORTS.contains(&said.port) {
            self.problem("nodeimg.endpoint.port", "etcd or the kubelet listens there", "use 6443");
        }
        if said.addresses.len() > MAX_SERVERS || said.addresses.iter().any(|a| !is_reachable(*a)) {
            self.problem(
                "nodeimg.endpoint.addresses",
                format!("more than {MAX_SERVERS} addresses, or one that is not the address of a machine"),
                "list the addresses that the name leads to",
            );
        }
        // Own first: the API server beside us answers before any other does.
        let mut addresses = said.addresses.clone();
        addresses.sort_by_key(|a| Some(*a) != own);
        let source = if addresses.is_empty() { Source::Default } else { Source::UserData };
        Some(EndpointSpec {
            name: Sourced::user_data(name?),
            port: Sourced { value: said.port, source: default_source(said.port == super::API_PORT) },
            mode: Sourced { value: said.mode, source: default_source(said.mode == EndpointMode::default()) },
            addresses: Sourced { value: addresses, source },
        })
    }

    fn kubernetes(
        &mut self,
        said: &Kubernetes,
        lists: Option<&Lists>,
        endpoint: &[IpAddr],
        facts: &NetworkFacts,
    ) -> Option<KubernetesSpec> {
        let pod = self.subnet("podSubnet", said.pod_subnet.as_deref(), networks::DEFAULT_POD);
        let service = self.subnet("serviceSubnet", said.service_subnet.as_deref(), networks::DEFAULT_SERVICE);
        let dns_domain = match &said.dns_domain {
            Some(d) => self
                .name::<DnsName>("nodeimg.kubernetes.dnsDomain", d, "use a domain like \"cluster.local\"")
                .map(Sourced::user_data),
            None => "cluster.local".parse().ok().map(Sourced::default_of),
        };
        if let (Some(pod), Some(service), Some(lists)) = (&pod, &service, lists) {
            let nodes = lists.addresses();
            let all = Networks {
                pod: pod.value,
                service: service.value,
                nodes: &nodes,
                endpoint,
                links: &facts.networks,
            };
            self.problems.extend(all.problems());
        }
        if said.cert_sans.len() > MAX_SANS {
            self.problem("nodeimg.kubernetes.certSANs", format!("more than {MAX_SANS} names"), "list fewer");
        }
        let mut cert_sans = Vec::new();
        for (i, san) in said.cert_sans.iter().take(MAX_SANS).enumerate() {
            let field = format!("nodeimg.kubernetes.certSANs[{i}]");
            cert_sans.extend(self.name::<SubjectAltName>(&field, san, "use a DNS name or an IP address"));
        }
        let source = default_source(cert_sans.is_empty());
        let api_server_extra_args =
            self.args("apiServerExtraArgs", Component::ApiServer, &said.api_server_extra_args);
        let controller_manager_extra_args = self.args(
            "controllerManagerExtraArgs",
            Component::ControllerManager,
            &said.controller_manager_extra_args,
        );
        let scheduler_extra_args =
            self.args("schedulerExtraArgs", Component::Scheduler, &said.scheduler_extra_args);
        let etcd_extra_args = self.args("etcdExtraArgs", Component::Etcd, &said.etcd_extra_args);
        let on = said.schedule_on_control_planes;
        Some(KubernetesSpec {
            pod_subnet: pod?,
            service_subnet: service?,
            dns_domain: dns_domain?,
            cert_sans: Sourced { value: cert_sans, source },
            api_server_extra_args,
            controller_manager_extra_args,
            scheduler_extra_args,
            etcd_extra_args,
            schedule_on_control_planes: Sourced { value: on, source: default_source(!on) },
            encryption_algorithm: said.encryption_algorithm.unwrap_or_default(),
        })
    }

    fn subnet(&mut self, key: &str, said: Option<&str>, default: &str) -> Option<Sourced<IpNet>> {
        let source = default_source(said.is_none());
        match networks::subnet(said.unwrap_or(default)) {
            Ok(value) => Some(Sourced { value, source }),
            Err(cause) => {
                self.problem(
                    format!("nodeimg.kubernetes.{key}"),
                    cause,
                    format!("use a network like {default}"),
                );
                None
            }
        }
    }

    fn args(
        &mut self,
        key: &str,
        component: Component,
        said: &BTreeMap<String, String>,
    ) -> BTreeMap<ArgName, String> {
        let field = format!("nodeimg.kubernetes.{key}");
        if said.len() > MAX_ARGUMENTS {
            self.problem(&field, format!("more than {MAX_ARGUMENTS} arguments"), "give fewer");
        }
        let mut args = BTreeMap::new();
        for (name, value) in said.iter().take(MAX_ARGUMENTS) {
            // A name that is none is not shown: it may be anything, a secret in the wrong place too.
            let Some(known) = self.name::<ArgName>(&field, name, components::ARGUMENT_HELP) else { continue };
            match components::argument(component, name, value) {
                Ok(()) => {
                    args.insert(known, value.clone());
                }
                Err(bad) => self.problem(&field, format!("\"{name}\": {}", bad.cause), bad.help),
            }
        }
        args
    }

    fn disk(&mut self, ours: &NodeSeed) {
        let Some(disk) = &ours.disk else { return };
        let word =
            |s: &str| !s.is_empty() && s.len() <= 128 && !s.chars().any(|c| c.is_control() || c == '/');
        if !word(&disk.serial) {
            self.problem(
                "nodeimg.disk.serial",
                "not a serial number",
                "copy it from the disk (the fault NI-DISK-002 shows it)",
            );
        }
        if disk.wipe.as_deref().is_some_and(|w| !word(w)) {
            self.problem("nodeimg.disk.wipe", "not a word", "write any word that was not used before");
        }
    }

    fn ntp(&mut self, seed: &Seed, facts: &NetworkFacts) -> Sourced<Vec<String>> {
        let said: Vec<&String> =
            seed.user_data.ntp.iter().flat_map(|n| n.servers.iter().chain(&n.pools)).collect();
        if said.is_empty() {
            let value: Vec<_> = facts.ntp_servers.iter().take(MAX_SERVERS).map(ToString::to_string).collect();
            let source = if value.is_empty() { Source::Default } else { Source::Dhcp };
            return Sourced { value, source };
        }
        let mut value = Vec::new();
        for (i, server) in said.into_iter().take(MAX_SERVERS).enumerate() {
            if server.parse::<IpAddr>().is_ok() || server.parse::<DnsName>().is_ok() {
                value.push(server.clone());
            } else {
                self.problem(
                    format!("ntp.servers[{i}]"),
                    "neither a DNS name nor an IP address",
                    "name a time server",
                );
            }
        }
        Sourced::user_data(value)
    }
}

fn default_source(is_default: bool) -> Source {
    if is_default { Source::Default } else { Source::UserData }
}
