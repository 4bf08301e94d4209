//! What formation waits for: each wait has words for the console, and a fault for when its time is over.

use nodeimg_contract::fault::{Code, Fault};
use std::time::Duration;

/// A wait by name. The node asks again and again; nothing is done meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Listed nodes that did not answer, each with why.
    Peers(Vec<(String, String)>),
    /// Listed nodes that have not promised the same birth yet.
    Promises(Vec<String>),
    /// This node is a witness: the birth has one participant, and it has not started yet.
    Participant(String),
    /// The cluster exists; nobody of it answers this node's questions.
    Cluster(String),
    /// A cluster lives on nodes outside of the seed's list (an API server of it answers behind the endpoint, or a member of
    /// it has asked): why it cannot be joined yet.
    Outside(String),
    /// The cluster has not written its birth into the ConfigMap yet.
    ClusterRecord,
    /// etcd takes one learner at a time.
    Learner(String),
    /// A member of etcd is not well: nobody is added beside it.
    SickMember {
        /// Its name, or its address where nobody knows one.
        who: String,
        /// What is wrong with it.
        why: String,
    },
    /// The Node object of this name is still Ready.
    NodeStillReady,
    /// A stale member must not be removed yet.
    StaleMember(String),
    /// etcd does not make this node's member a voter yet: what it says.
    Promotion(String),
    /// This node is a voter, and its own etcd has not begun.
    OwnEtcd,
    /// Another node does what is done once for the cluster.
    Lease(String),
    /// The majority of the birth's etcd disks is gone.
    Quorum(Vec<String>),
}

impl Wait {
    /// How long it may last before its fault shows; the wait goes on.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(match self {
            Wait::Peers(_) | Wait::Promises(_) | Wait::Participant(_) | Wait::Cluster(_) => 300,
            Wait::ClusterRecord | Wait::Learner(_) | Wait::Promotion(_) | Wait::Lease(_) => 600,
            Wait::NodeStillReady => 120,
            Wait::StaleMember(_) | Wait::SickMember { .. } | Wait::OwnEtcd => 180,
            Wait::Quorum(_) | Wait::Outside(_) => 30,
        })
    }

    /// When to ask again.
    pub fn pause(&self) -> Duration {
        match self {
            Wait::Promises(_) | Wait::Promotion(_) => Duration::from_millis(200),
            Wait::Peers(_) | Wait::Participant(_) | Wait::Cluster(_) | Wait::ClusterRecord => {
                Duration::from_millis(500)
            }
            Wait::Learner(_)
            | Wait::SickMember { .. }
            | Wait::Lease(_)
            | Wait::Outside(_)
            | Wait::NodeStillReady
            | Wait::OwnEtcd
            | Wait::StaleMember(_) => Duration::from_secs(1),
            Wait::Quorum(_) => Duration::from_secs(5),
        }
    }

    fn blocked(&self, object: &str) -> Fault {
        let cause = format!("this node still waits for {self}");
        Fault { code: Code::JoinBlocked, object: object.into(), cause, help: String::new() }
    }

    /// The fault of a wait that lasts.
    pub fn fault(&self) -> Fault {
        let (code, object, help) = match self {
            Wait::Peers(_) | Wait::Promises(_) | Wait::Participant(_) => (
                Code::PeersMissing,
                "nodeimg.controlPlanes",
                "power on the nodes that are named, or look at their consoles; a node that is dead on arrival needs consent: \
                 \"nodeimg cluster permit DIR --without NAME\"",
            ),
            Wait::Cluster(_) | Wait::ClusterRecord | Wait::Lease(_) => (
                Code::JoinBlocked,
                "the cluster",
                "look at the consoles of the control planes that have started",
            ),
            Wait::Outside(_) => (
                Code::ClusterElsewhere,
                "the cluster",
                "look at the consoles of the control planes that were added later: if their etcd lost its majority, run \
                 \"nodeinit recover\" on one that has data, and this node joins it; if nothing of it is to be kept, wipe \
                 them, and this node",
            ),
            Wait::Learner(_) | Wait::NodeStillReady | Wait::Promotion(_) => (
                Code::JoinBlocked,
                "the cluster",
                "wait for the node that is named; look at \"etcdctl member list\" and \"kubectl get nodes\"",
            ),
            Wait::SickMember { who, .. } => {
                let help = format!(
                    "power {who} on, or look at its console; if it does not come back, remove it from a healthy control \
                     plane: \"nodeinit remove-member {who}\""
                );
                return Fault { help, ..self.blocked("etcd's member list") };
            }
            Wait::StaleMember(_) => (
                Code::StaleMember,
                "etcd's member list",
                "if the old machine is alive, switch it off; else wait, or remove it from a healthy control plane: \
                 \"nodeinit remove-member NAME\"",
            ),
            Wait::OwnEtcd => (
                Code::ApiNotReady,
                "etcd of this node",
                "look why its pod does not start: \"nodeinit logs kubelet\", /var/log/pods (etcd); a full or slow disk of etcd \
                 shows there",
            ),
            Wait::Quorum(_) => (
                Code::QuorumLost,
                "etcd",
                "bring a lost disk back; if they are gone for good, run \"nodeinit recover\" on a node that has data",
            ),
        };
        Fault {
            code,
            object: object.into(),
            cause: format!("this node still waits for {self}"),
            help: help.into(),
        }
    }
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wait::Peers(silent) => {
                let each: Vec<_> = silent.iter().map(|(name, why)| format!("{name} ({why})")).collect();
                write!(f, "an answer from {}", each.join(", "))
            }
            Wait::Promises(names) => write!(f, "{} to promise the same birth", names.join(", ")),
            Wait::Participant(name) => write!(f, "{name} to start the birth"),
            Wait::Cluster(why) => write!(f, "the cluster to answer ({why})"),
            Wait::Outside(why) => {
                write!(f, "the cluster that lives outside of the seed's list ({why})")
            }
            Wait::ClusterRecord => f.write_str("the cluster to publish its birth"),
            Wait::Learner(name) => write!(f, "{name}, which joins now, to become a voter"),
            Wait::NodeStillReady => {
                f.write_str("the Node object of this name to be NotReady: somebody runs under it")
            }
            Wait::StaleMember(why) => write!(f, "leave to remove this node's old member: {why}"),
            Wait::Promotion(why) => write!(f, "etcd to take this node as a voter ({why})"),
            Wait::OwnEtcd => f.write_str("this node's own etcd to begin"),
            Wait::SickMember { who, why } => write!(f, "etcd's member {who} to be healthy ({why})"),
            Wait::Lease(holder) => write!(f, "{holder}, which sets up the cluster"),
            Wait::Quorum(names) => {
                write!(f, "the majority of etcd: the disks of {} are gone", names.join(", "))
            }
        }
    }
}
