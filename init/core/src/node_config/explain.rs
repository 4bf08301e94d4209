//! Every field with its source, for `nodeinit explain`. Secrets are shown as `(secret)`.

use super::{NodeConfig, Source, Sourced};
use serde::Serialize;

/// One line of `nodeinit explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Path of the field, as a seed spells it.
    pub field: String,
    /// The value as text; `(secret)` for a secret, `-` for none.
    pub value: String,
    /// Who said it.
    pub source: Source,
}

const SECRET: &str = "(secret)";

struct Lines(Vec<Explained>);

impl Lines {
    fn add(&mut self, field: &str, value: impl ToString, source: Source) {
        let value = Some(value.to_string()).filter(|v| !v.is_empty()).unwrap_or_else(|| "-".into());
        self.0.push(Explained { field: field.into(), value, source });
    }
    /// What a seed says, or nobody does.
    fn said(&mut self, field: &str, value: String) {
        let source = if value.is_empty() { Source::Default } else { Source::UserData };
        self.add(field, value, source);
    }
    fn sourced<T: ToString>(&mut self, field: &str, v: &Sourced<T>) {
        self.add(field, v.value.to_string(), v.source.clone());
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

impl NodeConfig {
    /// Every field, in the order of a seed.
    pub fn explain(&self) -> Vec<Explained> {
        let mut l = Lines(Vec::new());
        let k = &self.kubernetes;
        l.add("datasource", &self.datasource, Source::UserData);
        l.add("instance-id", self.instance_id.as_deref().unwrap_or_default(), Source::MetaData);
        l.sourced("hostname", &self.name);
        l.sourced("nodeimg.role", &self.role);
        l.sourced("nodeimg.cluster", &self.cluster);
        l.add(
            "nodeimg.issuedAt",
            self.issued_at.map(|t| t.to_string()).unwrap_or_default(),
            Source::UserData,
        );
        l.sourced("nodeimg.endpoint.name", &self.endpoint.name);
        l.sourced("nodeimg.endpoint.port", &self.endpoint.port);
        let mode = format!("{:?}", self.endpoint.mode.value).to_lowercase();
        l.add("nodeimg.endpoint.mode", mode, self.endpoint.mode.source.clone());
        let addresses = &self.endpoint.addresses;
        l.add("nodeimg.endpoint.addresses", list(&addresses.value), addresses.source.clone());
        let nodes = list(self.control_planes.iter().map(|n| format!("{}={}", n.name, n.address)));
        l.add("nodeimg.controlPlanes", nodes, self.control_planes.source.clone());
        let etcd = list(self.etcd_nodes.iter().map(|n| format!("{}={}", n.name, n.address)));
        l.said("nodeimg.etcdNodes", etcd);
        let endpoints = self.external_etcd.as_ref().map(|e| list(&e.endpoints));
        l.said("nodeimg.externalEtcd.endpoints", endpoints.unwrap_or_default());
        let method = format!("{:?}", self.method.value).to_lowercase();
        l.add("nodeimg.formation.method", method, self.method.source.clone());
        let permit =
            self.permit.as_ref().map(|p| format!("cluster {}, not after {}", p.cluster, p.not_after));
        l.add("nodeimg.formation.permit", permit.unwrap_or_default(), Source::UserData);
        l.said("nodeimg.formation.without", list(&self.without));
        l.said("nodeimg.formation.adopt", list(self.adopt.then_some(true)));
        l.said("nodeimg.node.labels", list(self.node.labels.iter().map(|(k, v)| format!("{k}={v}"))));
        l.said("nodeimg.node.taints", list(&self.node.taints));
        l.said("nodeimg.node.nodeIP", list(self.node.node_ip));
        l.said("nodeimg.node.kubelet", list(self.node.kubelet.iter().map(|(k, v)| format!("{k}={v}"))));
        l.sourced("nodeimg.kubernetes.podSubnet", &k.pod_subnet);
        l.sourced("nodeimg.kubernetes.serviceSubnet", &k.service_subnet);
        l.sourced("nodeimg.kubernetes.dnsDomain", &k.dns_domain);
        l.add("nodeimg.kubernetes.certSANs", list(&k.cert_sans.value), k.cert_sans.source.clone());
        for (field, args) in k.extra_args() {
            // Values may hold a secret; names never do.
            let source = if args.is_empty() { Source::Default } else { Source::UserData };
            l.add(field, list(args.keys().map(|n| format!("{n}={SECRET}"))), source);
        }
        l.sourced("nodeimg.kubernetes.scheduleOnControlPlanes", &k.schedule_on_control_planes);
        l.said("nodeimg.kubernetes.encryptionAlgorithm", k.encryption_algorithm.to_string());
        for (field, held) in [
            ("nodeimg.pki", self.pki.is_some()),
            ("nodeimg.peer", self.peer.is_some()),
            ("nodeimg.join", self.join.is_some()),
        ] {
            l.said(field, if held { SECRET } else { "" }.into());
        }
        l.add(
            "nodeimg.bootstrapTokens",
            list(self.bootstrap_tokens.iter().map(|_| SECRET)),
            Source::UserData,
        );
        let disk = self.disk.as_ref().map(|d| match &d.wipe {
            Some(_) => format!("serial {}, wipe once", d.serial),
            None => format!("serial {}", d.serial),
        });
        l.add("nodeimg.disk", disk.unwrap_or_default(), Source::UserData);
        l.add("ntp.servers", list(&self.ntp_servers.value), self.ntp_servers.source.clone());
        for server in &self.dns_servers {
            l.sourced("DNS server", server);
        }
        l.add("ssh_authorized_keys", format!("{} keys", self.ssh_authorized_keys.len()), Source::UserData);
        l.0
    }
}
