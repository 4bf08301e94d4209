//! `nodeimg cluster permit`: leave for another birth, in new seeds of all who take part in it.
//!
//! The permit that was before is not taken back: whoever still boots with an old seed disagrees with the others, and
//! says so. Everything else in a seed stays as it lies in the folder.

use super::ClusterError;
use super::args::ClusterPermitArgs;
use super::kept::Kept;
use super::made::{MadeNode, seeds, until};
use super::seed::{self, Given, SeedDocuments};
use jiff::Timestamp;
use nodeimg_contract::birth::{WITHOUT_HELP, may_go_without};
use nodeimg_contract::image::Role;
use nodeimg_contract::seed::Formation;
use std::collections::BTreeSet;
use std::fmt;

/// New seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// The cluster's name.
    pub name: String,
    /// Of those who take part, and of those whose token holds longer now.
    pub nodes: Vec<MadeNode>,
    /// Who may be missing.
    pub without: Vec<String>,
    /// The birth must come before this.
    pub ends: Timestamp,
    /// Nodes whose bootstrap token holds until then as well.
    pub tokens: usize,
    /// Nodes whose token the cluster must be told with a file, which is new too.
    pub told: Vec<String>,
}

/// Writes new seeds with a new permit.
pub fn permit(args: &ClusterPermitArgs) -> Result<Permitted, ClusterError> {
    let mut kept = Kept::open(&args.folder)?;
    kept.spec.issued_at = Timestamp::now();
    kept.spec.permit_lifetime = Some(args.permit_ttl);
    let checked = kept.spec.check()?;
    let ends = checked.permit_ends.unwrap_or(kept.spec.issued_at);
    let role = if kept.spec.external_etcd() { Role::Etcd } else { Role::ControlPlane };
    let without = without(&kept, role, &args.without)?;
    let uuid = match &kept.spec.uuid {
        Some(uuid) => uuid.clone(),
        None => seed::uuid()?,
    };
    let permit = seed::permit(&uuid, ends)?;
    let pki = kept.pki()?;
    pki.outlives(kept.spec.issued_at, &checked)?;
    let formation = Formation {
        method: kept.spec.method,
        permit: Some(permit.clone()),
        without: without.clone(),
        adopt: false,
    };
    let (mut new, mut tokens, mut files) = (Vec::new(), 0, Vec::new());
    for node in &kept.spec.nodes {
        let born = node.role == role;
        let documents = match kept.user_data(&node.name)? {
            Some(mut user_data) => {
                let Some(ours) = &mut user_data.nodeimg else { continue };
                let own = ours.join.as_mut().map(|join| &mut join.token);
                let mut extended = 0;
                for token in ours.bootstrap_tokens.iter_mut().chain(own) {
                    token.expires = token.expires.max(ends);
                    extended += 1;
                }
                if !born && extended == 0 {
                    continue;
                }
                if let Some(join) = &ours.join {
                    tokens += 1;
                    if kept.has_token(&node.name) {
                        files.push((node.name.clone(), join.token.clone()));
                    }
                }
                ours.issued_at = Some(kept.spec.issued_at);
                ours.control_planes = kept.spec.list(Role::ControlPlane);
                ours.etcd_nodes = kept.spec.list(Role::Etcd);
                if born {
                    ours.formation = Some(formation.clone());
                }
                SeedDocuments::new(&node.name, &user_data, kept.network_config(node))?
            }
            None if born => {
                let given = Given {
                    pki: &pki,
                    permit: Some(&permit),
                    without: &without,
                    tokens: &[],
                    own_token: None,
                    certificate_key: None,
                    disk: None,
                };
                seed::documents(&kept.spec, &checked, node, &given)?
            }
            None => continue,
        };
        new.push((node, documents));
    }
    let nodes = kept.write_seeds(&new)?;
    for (name, token) in &files {
        kept.write_token(name, token)?;
    }
    Ok(Permitted {
        name: kept.spec.name.clone(),
        nodes,
        without,
        ends,
        tokens,
        told: files.into_iter().map(|f| f.0).collect(),
    })
}

/// Names of the list, of which a strict majority is left.
fn without(kept: &Kept, role: Role, said: &[String]) -> Result<Vec<String>, ClusterError> {
    let help = "name control planes (or etcd nodes, where etcd has its own) that are dead on arrival";
    let mut names = BTreeSet::new();
    for name in said {
        if kept.node(name, help)?.role != role {
            return Err(ClusterError::Refused {
                option: "--without",
                value: name.clone(),
                cause: match role {
                    Role::Etcd => "this cluster's etcd nodes are what is born, and it is none".to_owned(),
                    _ => "control planes are what is born, and it is none".to_owned(),
                },
                help: format!(
                    "name one of: {}",
                    kept.spec.of(role).map(|n| n.name.as_str()).collect::<Vec<_>>().join(", ")
                ),
            });
        }
        names.insert(name.clone());
    }
    let refused = |cause: &str, help: &str| ClusterError::Refused {
        option: "--without",
        value: said.join(", "),
        cause: cause.to_owned(),
        help: help.to_owned(),
    };
    may_go_without(kept.spec.method, kept.spec.of(role).count(), names.len())
        .map_err(|cause| refused(cause, WITHOUT_HELP))?;
    if kept.spec.upload_certs
        && kept.spec.of(role).any(|n| names.contains(&n.name) && kept.spec.holds_keys(n))
    {
        return Err(refused(
            "it alone has the CAs' keys (--upload-certs)",
            "mend that machine, or make a new cluster without --upload-certs",
        ));
    }
    Ok(names.into_iter().collect())
}

impl fmt::Display for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "New permit for cluster \"{}\"\n", self.name)?;
        seeds(f, &self.nodes)?;
        writeln!(f)?;
        if !self.without.is_empty() {
            writeln!(
                f,
                "The cluster may be born without {}, if it does not answer: your word that it holds no data of this cluster.",
                self.without.join(", ")
            )?;
        }
        writeln!(
            f,
            "Give every one of these nodes its new seed: they form only with one and the same permit."
        )?;
        if self.tokens > 0 {
            writeln!(
                f,
                "The tokens of {} nodes that join hold until then, too: the same tokens, in new seeds of all who know them.",
                self.tokens
            )?;
        }
        if !self.told.is_empty() {
            writeln!(
                f,
                "The cluster, once it is born, is to be told those of {}: tokens/NODE.json.",
                self.told.join(", ")
            )?;
        }
        write!(f, "The cluster must be born before {}.", until(self.ends))
    }
}
