//! The lists of a seed: control planes, etcd nodes, this node's place in them, and who may be left out of a birth.

use super::Decision;
use crate::node_config::{ControlPlaneNode, NodeName};
use nodeimg_contract::birth::{WITHOUT_HELP, may_go_without};
use nodeimg_contract::fault::Code;
use nodeimg_contract::image::Role;
use nodeimg_contract::names::is_reachable;
use nodeimg_contract::seed::{ControlPlane, Formation, LONGEST_LIST, NodeSeed};
use std::collections::BTreeSet;
use std::net::IpAddr;

const CONTROL_PLANES: &str = "nodeimg.controlPlanes";
const ETCD_NODES: &str = "nodeimg.etcdNodes";

/// Both lists, sorted by name.
pub(super) struct Lists {
    pub(super) control_planes: Vec<ControlPlaneNode>,
    pub(super) etcd_nodes: Vec<ControlPlaneNode>,
}

impl Lists {
    /// Addresses of all.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.control_planes.iter().chain(&self.etcd_nodes).map(|n| n.address).collect()
    }
}

impl Decision {
    pub(super) fn lists(&mut self, ours: &NodeSeed) -> Option<Lists> {
        // Without a permit a node takes part in no birth, and a birth alone counts the list: a cluster that grows has
        // an even one for a while.
        let born = ours.formation.as_ref().is_some_and(|f| f.permit.is_some());
        let joins =
            matches!(ours.role, Role::ControlPlane | Role::Etcd) && (!born || ours.role == Role::Etcd);
        let control_planes = self.list(CONTROL_PLANES, &ours.control_planes, ours.role, joins);
        let etcd_nodes = if ours.etcd_nodes.is_empty() && ours.role != Role::Etcd {
            Some(Vec::new())
        } else {
            // etcd nodes alone count their list: they are born, the API servers only ask them.
            self.list(ETCD_NODES, &ours.etcd_nodes, ours.role, ours.role != Role::Etcd || !born)
        };
        let lists = Lists { control_planes: control_planes?, etcd_nodes: etcd_nodes? };
        let twice = lists
            .etcd_nodes
            .iter()
            .any(|e| lists.control_planes.iter().any(|c| c.name == e.name || c.address == e.address));
        if twice {
            self.problem(
                ETCD_NODES,
                "a name or an address stands in nodeimg.controlPlanes too",
                "give etcd nodes names and addresses of their own, or leave etcdNodes out: etcd then runs beside the API servers",
            );
        }
        Some(lists)
    }

    fn list(
        &mut self,
        field: &str,
        list: &[ControlPlane],
        role: Role,
        joins: bool,
    ) -> Option<Vec<ControlPlaneNode>> {
        let counts = match (role, list.len()) {
            (_, 1 | 3 | 5) => true,
            (_, n) if joins => (1..=LONGEST_LIST).contains(&n),
            // A cluster may have grown since; who only asks it does not count its members.
            (Role::Worker | Role::Lb, n) => (1..=LONGEST_LIST).contains(&n),
            _ => false,
        };
        if !counts {
            let many = match list.len() {
                0 => "the list is empty".to_owned(),
                n if n % 2 == 0 => {
                    format!("the list has {n} names, an even number: etcd survives no more losses by it")
                }
                n => format!("the list has {n} names; more than 5 voters only make etcd slower"),
            };
            self.problem(field, many, "list 1, 3 or 5 nodes");
            return None;
        }
        let mut nodes = Vec::new();
        for (i, line) in list.iter().enumerate() {
            let at = format!("{field}[{i}]");
            if !is_reachable(line.address) {
                self.problem(
                    format!("{at}.address"),
                    format!("{} is not the address of a machine", line.address),
                    "give the node's own address",
                );
            }
            if let Some(name) = self.name(&format!("{at}.name"), &line.name, "use the node's host name") {
                nodes.push(ControlPlaneNode { name, address: line.address });
            }
        }
        let names: BTreeSet<_> = nodes.iter().map(|n| &n.name).collect();
        let addresses: BTreeSet<_> = nodes.iter().map(|n| n.address).collect();
        if names.len() != nodes.len() || addresses.len() != nodes.len() {
            self.problem(field, "a name or an address stands there twice", "give every node its own");
        }
        nodes.sort();
        Some(nodes)
    }

    /// This node's line in the list of its role. Workers and balancers stand in none.
    pub(super) fn own_address(&mut self, role: Role, name: &NodeName, lists: &Lists) -> Option<IpAddr> {
        let (field, list) = match role {
            Role::ControlPlane => (CONTROL_PLANES, &lists.control_planes),
            Role::Etcd => (ETCD_NODES, &lists.etcd_nodes),
            Role::Worker | Role::Lb => {
                if lists.control_planes.iter().chain(&lists.etcd_nodes).any(|n| n.name == *name) {
                    self.problem(
                        CONTROL_PLANES,
                        format!("this {role} is \"{name}\", and so is a node of the seed's lists"),
                        "give this node a name of its own, or boot the image of that role",
                    );
                }
                return None;
            }
        };
        let own = list.iter().find(|n| n.name == *name).map(|n| n.address);
        if own.is_none() {
            let names: Vec<_> = list.iter().map(|n| n.name.as_str()).collect();
            self.problems.push(
                super::Problem::invalid(
                    field,
                    format!("this node is \"{name}\", the list has: {}", names.join(", ")),
                    "give this node its own seed, or add it to the list on every node of that role",
                )
                .with_code(Code::NotListed),
            );
        }
        own
    }

    /// `formation.without`: names of the list that is born, of which a strict majority must be left.
    pub(super) fn without(&mut self, formation: Option<&Formation>, lists: &Lists) -> Vec<NodeName> {
        const FIELD: &str = "nodeimg.formation.without";
        let Some(formation) = formation.filter(|f| !f.without.is_empty()) else { return Vec::new() };
        let listed = if lists.etcd_nodes.is_empty() { &lists.control_planes } else { &lists.etcd_nodes };
        let mut names = BTreeSet::new();
        for (i, text) in formation.without.iter().enumerate() {
            let field = format!("{FIELD}[{i}]");
            let help = "name a node of the list that is dead on arrival";
            let Some(name) = self.name::<NodeName>(&field, text, help) else { continue };
            if !listed.iter().any(|n| n.name == name) {
                self.problem(field, format!("\"{name}\" is not in the list of nodes"), help);
            } else if !names.insert(name) {
                self.problem(field, "the name stands there twice", "name each node once");
            }
        }
        if let Err(why) = may_go_without(formation.method, listed.len(), names.len()) {
            self.problem(FIELD, format!("{} of {} nodes: {why}", names.len(), listed.len()), WITHOUT_HELP);
        }
        if formation.permit.is_none() {
            self.problem(
                FIELD,
                "it is bound to a permit, and the seed has none",
                "make new seeds with \"nodeimg cluster permit DIR --without NAME\"",
            );
        }
        names.into_iter().collect()
    }
}
