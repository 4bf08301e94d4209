//! `nodeimg cluster seed`: the seed of one more node, or a new one for a node whose token is over.

use super::api::{Api, token_secret};
use super::args::ClusterSeedArgs;
use super::kept::Kept;
use super::made::{MadeNode, seeds, until};
use super::seed::{self, Given};
use super::spec::{ClusterSpec, NodeWish};
use super::{ClusterError, KUBECONFIG};
use jiff::Timestamp;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::BootstrapToken;
use std::fmt;
use std::path::{Path, PathBuf};

/// Folder of the tokens that the cluster must be told, in the cluster's folder.
pub const TOKENS: &str = "tokens";

/// A node's new seed, and what is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The node.
    pub node: MadeNode,
    /// The cluster's folder.
    pub folder: PathBuf,
    /// Whether the cluster had it before.
    pub known: bool,
    /// Control planes in the list now.
    pub control_planes: usize,
    /// Whether the seed has a permit.
    pub permit: bool,
    /// End of its token, and whether the cluster knows it.
    pub token: Option<(Timestamp, Registered)>,
}

/// Whether the cluster knows a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It does.
    Yes,
    /// This file is to be applied first.
    File(PathBuf),
}

/// Makes one node's seed.
pub fn add(args: &ClusterSeedArgs) -> Result<Added, ClusterError> {
    let mut kept = Kept::open(&args.folder)?;
    let known = kept.spec.nodes.iter().find(|n| n.name == args.name).cloned();
    let node = wish(args, known.as_ref())?;
    if node.role == Role::Etcd && !kept.spec.external_etcd() {
        return Err(ClusterError::Value {
            what: "role of",
            value: node.name,
            wanted: "one that this cluster has: etcd runs beside its API servers",
            help: "give --role control-plane, or make another cluster with --etcd",
        });
    }
    match kept.spec.nodes.iter_mut().find(|n| n.name == node.name) {
        Some(place) => *place = node.clone(),
        None => kept.spec.nodes.push(node.clone()),
    }
    kept.spec.issued_at = Timestamp::now();
    kept.spec.token_lifetime = args.token_ttl;
    kept.spec.permit_lifetime = None;
    let checked = kept.spec.check()?;
    let control_planes = kept.spec.of(Role::ControlPlane).count();
    if node.role == Role::Worker && control_planes.is_multiple_of(2) {
        return Err(ClusterError::Even { what: "control planes", count: control_planes });
    }
    let permit = if args.permit { current_permit(&kept, &node)? } else { None };
    let token = (node.role == Role::Worker).then(|| seed::bootstrap_token(checked.tokens_end)).transpose()?;
    let given = Given {
        pki: &kept.pki()?,
        permit: permit.as_ref(),
        tokens: &[],
        own_token: token.as_ref(),
        certificate_key: None,
    };
    let documents = seed::documents(&kept.spec, &checked, &node, &given)?;
    // Before anything is written: an API that cannot be reached leaves all as it was.
    let token = token.map(|token| tell(args, &kept, &node, &token)).transpose()?;
    let made = kept.write_seeds(&[(&node, documents)])?;
    kept.save()?;
    let node = made.into_iter().next().unwrap_or_else(|| super::kept::made_node(&args.folder, &node));
    Ok(Added {
        node,
        folder: args.folder.clone(),
        known: known.is_some(),
        control_planes,
        permit: permit.is_some(),
        token,
    })
}

/// What the words of the command line make of a node.
fn wish(args: &ClusterSeedArgs, known: Option<&NodeWish>) -> Result<NodeWish, ClusterError> {
    let differs = |what: &'static str, value: String| ClusterError::Value {
        what,
        value,
        wanted: "what this node has in the cluster",
        help: "leave it out for a new seed of the same node; remove the node first to make it another one",
    };
    let mut node = match known {
        Some(known) => {
            if let Some(role) = args.role.filter(|role| *role != known.role) {
                return Err(differs("role", role.to_string()));
            }
            if let Some(address) = args.address.filter(|a| known.address.is_some_and(|k| k != *a)) {
                return Err(differs("address", address.to_string()));
            }
            let mut known = known.clone();
            known.address = known.address.or(args.address);
            known
        }
        None => {
            let role = args.role.ok_or_else(|| ClusterError::Value {
                what: "node",
                value: args.name.clone(),
                wanted: "known to this cluster",
                help: "say what it is to be: --role worker, or --role control-plane --address ADDRESS",
            })?;
            NodeWish::new(&args.name, role, args.address)
        }
    };
    if args.network.is_some() {
        node.network.clone_from(&args.network);
    }
    node.settings.labels.extend(args.labels.iter().cloned());
    for taint in &args.taints {
        if !node.settings.taints.contains(taint) {
            node.settings.taints.push(taint.clone());
        }
    }
    Ok(node)
}

/// The permit that the others hold: two permits would be two births.
fn current_permit(
    kept: &Kept,
    node: &NodeWish,
) -> Result<Option<nodeimg_contract::birth::Permit>, ClusterError> {
    let none = || ClusterError::Value {
        what: "permit for",
        value: node.name.clone(),
        wanted: "there to be given",
        help: "make one for all nodes that are born together: nodeimg cluster permit DIR",
    };
    if !seed::takes_part(&kept.spec, node.role) {
        return Err(none());
    }
    let count = kept.spec.of(node.role).count();
    if count.is_multiple_of(2) {
        return Err(ClusterError::Even { what: "nodes of one birth", count });
    }
    for other in kept.spec.of(node.role).filter(|other| other.name != node.name) {
        let formation = kept.user_data(&other.name)?.and_then(|u| u.nodeimg).and_then(|n| n.formation);
        if let Some(permit) = formation.and_then(|f| f.permit) {
            return Ok(Some(permit));
        }
    }
    Err(none())
}

fn tell(
    args: &ClusterSeedArgs,
    kept: &Kept,
    node: &NodeWish,
    token: &BootstrapToken,
) -> Result<(Timestamp, Registered), ClusterError> {
    if args.register {
        Api::connect(&args.folder, &kept.spec)?.register(&node.name, token)?;
        return Ok((token.expires, Registered::Yes));
    }
    let document = token_secret(&node.name, token)?;
    let text = serde_json::to_string_pretty(&document)
        .map_err(|e| ClusterError::Render { document: "token", cause: e.to_string() })?;
    let path = Path::new(TOKENS).join(format!("{}.json", node.name));
    let file = kept.write(&path, (text + "\n").as_bytes())?;
    Ok((token.expires, Registered::File(file)))
}

impl ClusterSpec {
    /// Whether this many nodes can be born together.
    pub(super) fn can_be_born(count: usize) -> bool {
        matches!(count, 1 | 3 | 5)
    }
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = &self.node;
        let again = if self.known { "New seed of" } else { "Added" };
        writeln!(f, "{again} \"{}\" ({})\n", node.name, node.role)?;
        seeds(f, std::slice::from_ref(node))?;
        writeln!(f)?;
        match &self.token {
            Some((ends, Registered::Yes)) => {
                write!(f, "The cluster knows its token, until {}.", until(*ends))?;
            }
            Some((ends, Registered::File(file))) => {
                writeln!(
                    f,
                    "Its bootstrap token holds until {}. Tell the cluster, then boot the node:",
                    until(*ends)
                )?;
                let kubeconfig = self.folder.join(KUBECONFIG);
                write!(f, "  kubectl --kubeconfig {} apply -f {}", kubeconfig.display(), file.display())?;
            }
            None if self.permit => write!(f, "It has the permit of the others: it can be born with them.")?,
            None => write!(f, "It has no permit: it joins the cluster that there is, and can form none.")?,
        }
        if node.role == Role::ControlPlane && !ClusterSpec::can_be_born(self.control_planes) {
            write!(
                f,
                "\nThe cluster's list has {} control planes now: add one more, an even number gains nothing.",
                self.control_planes
            )?;
        }
        Ok(())
    }
}
