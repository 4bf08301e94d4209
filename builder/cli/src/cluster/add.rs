//! `nodeimg cluster seed`: the seed of one more node, or a new one for a node whose token is over.

use super::api::Api;
use super::args::ClusterSeedArgs;
use super::kept::Kept;
use super::made::{MadeNode, seeds, until};
use super::seed::{self, Given};
use super::spec::{ClusterSpec, NodeWish};
use super::{ClusterError, KUBECONFIG};
use jiff::Timestamp;
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::Formation;
use std::fmt;
use std::path::PathBuf;

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
    /// Serial number of the disk that its seed wipes once.
    pub wipes: Option<String>,
    /// Nodes whose seeds list the cluster as it was before this node.
    pub stale: Vec<String>,
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
    let formation = if args.permit { current_permit(&kept, &node)? } else { None };
    let disk = args.wipe_disk.as_ref().map(|serial| seed::wiped(serial)).transpose()?;
    let token = (node.role == Role::Worker).then(|| seed::bootstrap_token(checked.tokens_end)).transpose()?;
    let pki = kept.pki()?;
    pki.outlives(kept.spec.issued_at, &checked)?;
    let given = Given {
        pki: &pki,
        permit: formation.as_ref().and_then(|f| f.permit.as_ref()),
        without: formation.as_ref().map_or(&[], |f| &f.without),
        tokens: &[],
        own_token: token.as_ref(),
        certificate_key: None,
        disk: disk.as_ref(),
    };
    let documents = seed::documents(&kept.spec, &checked, &node, &given)?;
    // Before anything is written: an API that cannot be reached leaves all as it was.
    if let Some(token) = token.as_ref().filter(|_| args.register) {
        Api::connect(&args.folder, &kept.spec)?.register(&node.name, token)?;
    }
    let made = kept.write_seeds(&[(&node, documents)])?;
    // After the seed: the old token's file stands as long as the old seed does.
    let token = match token {
        Some(token) if args.register => {
            kept.retire_token(&node.name)?;
            Some((token.expires, Registered::Yes))
        }
        Some(token) => Some((token.expires, Registered::File(kept.write_token(&node.name, &token)?))),
        None => None,
    };
    kept.save()?;
    let stale = match (known.is_some(), node.role) {
        (false, Role::ControlPlane | Role::Etcd) => {
            kept.spec.nodes.iter().map(|n| n.name.clone()).filter(|name| *name != node.name).collect()
        }
        _ => Vec::new(),
    };
    let node = made.into_iter().next().unwrap_or_else(|| super::kept::made_node(&args.folder, &node));
    Ok(Added {
        node,
        folder: args.folder.clone(),
        known: known.is_some(),
        control_planes,
        permit: formation.is_some(),
        token,
        wipes: args.wipe_disk.clone(),
        stale,
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
    for text in &args.labels {
        let settings = &mut node.settings;
        match (text.strip_suffix('-').filter(|key| !key.contains('=')), text.split_once('=')) {
            (Some(key), _) if settings.labels.remove(key).is_some() => {}
            (None, Some((key, value))) => drop(settings.labels.insert(key.to_owned(), value.to_owned())),
            _ => return Err(not_there("--label", text, settings.labels.keys().cloned().collect())),
        }
    }
    for text in &args.taints {
        let taints = &mut node.settings.taints;
        let Some(key) = text.strip_suffix('-') else {
            let head = |taint: &str| taint.split(['=', ':']).next().map(str::to_owned);
            let effect = |taint: &str| taint.rsplit(':').next().map(str::to_owned);
            taints.retain(|old| head(old) != head(text) || effect(old) != effect(text));
            taints.push(text.clone());
            continue;
        };
        let before = taints.len();
        taints.retain(|old| old != key && old.split(['=', ':']).next() != Some(key));
        if taints.len() == before {
            return Err(not_there("--taint", text, taints.clone()));
        }
    }
    Ok(node)
}

fn not_there(option: &'static str, text: &str, has: Vec<String>) -> ClusterError {
    ClusterError::Refused {
        option,
        value: text.to_owned(),
        cause: match has.is_empty() {
            true => "the node has none that could be taken away".to_owned(),
            false => format!("the node has: {}", has.join(", ")),
        },
        help: "give KEY=VALUE for a label, KEY[=VALUE]:EFFECT for a taint, and KEY- to take one away".into(),
    }
}

/// The permit that the others hold, with its consent: two permits would be two births.
fn current_permit(kept: &Kept, node: &NodeWish) -> Result<Option<Formation>, ClusterError> {
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
        if let Some(formation) = formation.filter(|f| f.permit.is_some()) {
            return Ok(Some(formation));
        }
    }
    Err(none())
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
        if let Some(serial) = &self.wipes {
            write!(f, "\nAt its next boot with this seed it wipes the disk {serial}, once.")?;
        }
        if !self.stale.is_empty() {
            write!(
                f,
                "\n\nSeeds that were made before do not list {}: what runs goes on, and what is built anew from such a \
                 seed may ask at old addresses alone. When it has joined, make new seeds of: {}\n  nodeimg cluster seed {} NAME",
                node.name,
                self.stale.join(", "),
                self.folder.display()
            )?;
        }
        Ok(())
    }
}
