//! Several machines and their network.
//!
//! Takes a [`LabSpec`]. Gives machines by name, and what scenarios ask again and again. Dropping a lab ends its machines,
//! on a panic too; what a killed process leaves is a folder and empty control groups, and the next lab removes them.

use crate::error::LabError;
use crate::machine::{Answer, Machine};
use crate::namespace::{Ground, Node, Roots};
use crate::spec::LabSpec;
use crate::together::Together;
use nodeimg_contract::paths;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Limit of one question to a node's API server or etcd.
const ASK: Duration = Duration::from_secs(30);
/// nodeinit's record on the state partition.
const NODE_RECORD: &str = "/var/lib/nodeimg/formation.json";

/// A lab of namespaces.
pub struct Lab {
    ground: Arc<Ground>,
    nodes: Vec<Node>,
    folder: PathBuf,
    /// Says to other labs that this one lives.
    _lock: nix::fcntl::Flock<std::fs::File>,
}

/// What a node's disk keeps of formation, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// `record.json` of the etcd file system.
    pub record: Option<serde_json::Value>,
    /// `formation.json` of the state partition.
    pub node: Option<serde_json::Value>,
}

/// One member of an etcd, as one node's etcd sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Member ID.
    pub id: u64,
    /// Empty before it has started for the first time.
    pub name: String,
    /// Peer URLs.
    pub peers: Vec<String>,
    /// Not yet promoted.
    pub learner: bool,
}

/// An etcd's members, as one node's etcd sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// etcd's cluster ID: two births have two.
    pub cluster: u64,
    /// Sorted by ID.
    pub members: Vec<Member>,
}

impl Lab {
    /// Makes it; all machines are off.
    pub fn new(spec: LabSpec) -> Result<Self, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let (id, folder, lock) = crate::namespace::claim(&spec.folder)?;
        let ground = Arc::new(crate::namespace::ground(&id, &spec)?);
        let mut nodes = Vec::new();
        let mut roots = Roots::default();
        for (cable, node) in spec.nodes.into_iter().enumerate() {
            let root = roots.of(node.image.as_ref().unwrap_or(&spec.root_image))?;
            let (name, own) = (node.name.clone(), folder.join(&node.name));
            let made = Node::new(ground.clone(), root, cable, own, node);
            nodes.push(made.map_err(LabError::kernel("make the node", name))?);
        }
        Ok(Self { ground, nodes, folder, _lock: lock })
    }

    /// A machine by its name.
    ///
    /// # Panics
    /// When the lab has none of that name: a scenario names its own nodes.
    pub fn node(&self, name: &str) -> &Node {
        self.find(name).unwrap_or_else(|e| panic!("{e}"))
    }

    fn find(&self, name: &str) -> Result<&Node, LabError> {
        self.nodes.iter().find(|n| n.name() == name).ok_or_else(|| LabError::NoNode(name.to_owned()))
    }

    /// All machines.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn together(&self) -> Together<'_> {
        let machines = self.nodes.iter().map(|n| n as &dyn Machine).collect();
        Together { machines, news: &self.ground.news }
    }

    /// Powers these on, all at once.
    pub fn power_on(&self, names: &[&str]) -> Result<(), LabError> {
        self.together().each(names, |node| node.power_on())
    }

    /// Cuts the power of these, all at once.
    pub fn power_cut(&self, names: &[&str]) -> Result<(), LabError> {
        self.together().each(names, |node| node.power_cut())
    }

    /// Waits until all of these say that they are Ready and steady.
    pub fn until_ready(&self, names: &[&str], limit: Duration) -> Result<(), LabError> {
        self.together().until_ready(names, limit)
    }

    /// Waits for anything; asks again whenever a node says something new, and now and then. At the deadline the error
    /// shows the consoles.
    pub fn until(&self, what: &str, limit: Duration, done: impl FnMut() -> bool) -> Result<(), LabError> {
        self.together().until(what, limit, done)
    }

    /// The last lines of every console.
    pub fn consoles(&self) -> String {
        self.together().consoles()
    }

    /// Nothing passes between the two sides from now on; who is on neither stays with the first.
    pub fn partition(&self, one: &[&str], other: &[&str]) -> Result<(), LabError> {
        self.ground.switches.add_switch(1).map_err(LabError::kernel("add a switch to", "the lab"))?;
        for name in one {
            self.find(name)?;
        }
        let nodes: Vec<&Node> = other.iter().map(|n| self.find(n)).collect::<Result<_, _>>()?;
        nodes.into_iter().try_for_each(|node| node.to_switch(1))
    }

    /// All machines are on one switch again.
    pub fn heal(&self) -> Result<(), LabError> {
        self.nodes.iter().try_for_each(|node| node.to_switch(0))
    }

    /// kubectl on a node, as its administrator, against its own API server's kubeconfig; gives standard output.
    pub fn kubectl(&self, node: &str, arguments: &[&str]) -> Result<String, LabError> {
        let mut command = vec!["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=20s"];
        command.extend(arguments);
        self.good(node, &command)
    }

    /// etcdctl on a node, against its own etcd; gives standard output.
    pub fn etcdctl(&self, node: &str, arguments: &[&str]) -> Result<String, LabError> {
        let mut command = vec![
            "etcdctl",
            "--endpoints=https://127.0.0.1:2379",
            "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
            "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt",
            "--key=/etc/kubernetes/pki/etcd/healthcheck-client.key",
        ];
        command.extend(arguments);
        self.good(node, &command)
    }

    fn good(&self, node: &str, command: &[&str]) -> Result<String, LabError> {
        match self.find(node)?.exec(command, ASK)? {
            Answer { code: Some(0), stdout, .. } => Ok(stdout),
            answer => Err(LabError::Command {
                node: node.to_owned(),
                command: command.join(" "),
                complaint: format!("{:?} {}{}", answer.code, answer.stderr, answer.stdout),
            }),
        }
    }

    /// The records on each node's disk, whether it runs or not.
    pub fn records(&self) -> Result<BTreeMap<String, Records>, LabError> {
        let json = |node: &Node, path: &str| -> Result<Option<serde_json::Value>, LabError> {
            let bytes = node.read_state_file(path)?;
            bytes.map(|b| serde_json::from_slice(&b).map_err(not_json(node.name(), path))).transpose()
        };
        let of = |node: &Node| -> Result<(String, Records), LabError> {
            let records = Records { record: json(node, paths::RECORD)?, node: json(node, NODE_RECORD)? };
            Ok((node.name().to_owned(), records))
        };
        self.nodes.iter().map(of).collect()
    }

    /// The members as each running node's own etcd lists them; a node whose etcd does not answer has an error.
    pub fn members(&self) -> BTreeMap<String, Result<Members, LabError>> {
        let running = self.nodes.iter().filter(|n| n.is_on());
        running.map(|n| (n.name().to_owned(), self.members_of(n.name()))).collect()
    }

    /// The members as one node's own etcd lists them.
    pub fn members_of(&self, node: &str) -> Result<Members, LabError> {
        let text = self.etcdctl(node, &["member", "list", "--write-out=json", "--command-timeout=5s"])?;
        let what = "etcdctl member list";
        let value: serde_json::Value = serde_json::from_str(&text).map_err(not_json(node, what))?;
        members(&value).ok_or_else(|| LabError::Command {
            node: node.to_owned(),
            command: what.to_owned(),
            complaint: format!("no list of members: {text}"),
        })
    }

    /// The lab's own files: a folder for each node with its console.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in &self.nodes {
            // Nobody is left to tell; what stays is removed by the next lab.
            let _ = node.power_cut();
        }
        self.ground.hierarchies.remove(&self.ground.id, None);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn not_json(node: &str, path: &str) -> impl FnOnce(serde_json::Error) -> LabError {
    let (node, path) = (node.to_owned(), path.to_owned());
    move |e| LabError::Command { node, command: path, complaint: format!("it is no JSON: {e}") }
}

fn members(value: &serde_json::Value) -> Option<Members> {
    let member = |m: &serde_json::Value| {
        let peers = m.get("peerURLs").and_then(|p| p.as_array()).into_iter().flatten();
        Some(Member {
            id: m.get("ID")?.as_u64()?,
            name: m.get("name").and_then(|n| n.as_str()).unwrap_or_default().to_owned(),
            peers: peers.filter_map(|p| p.as_str().map(str::to_owned)).collect(),
            learner: m.get("isLearner").and_then(|l| l.as_bool()).unwrap_or(false),
        })
    };
    let mut members: Vec<Member> =
        value.get("members")?.as_array()?.iter().map(member).collect::<Option<_>>()?;
    members.sort();
    Some(Members { cluster: value.pointer("/header/cluster_id")?.as_u64()?, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_etcdctl_writes_them() {
        let text = r#"{"header":{"cluster_id":7,"member_id":9},"members":[
            {"ID":9,"name":"cp1","peerURLs":["https://10.77.0.11:2380"],"clientURLs":["https://10.77.0.11:2379"]},
            {"ID":3,"peerURLs":["https://10.77.0.12:2380"],"isLearner":true}]}"#;
        let read = members(&serde_json::from_str(text).expect("JSON")).expect("members");
        assert_eq!((read.cluster, read.members.len()), (7, 2));
        assert!(read.members[0].learner && read.members[0].name.is_empty());
        assert_eq!(read.members[1].name, "cp1");
        assert_eq!(members(&serde_json::json!({})), None);
    }
}
