//! Joining a cluster that exists: what a node without a part in its birth does with one look at it.
//!
//! Takes a [`ClusterView`] (one linearizable look through a voter), gives one [`Membership`]. One change at a time; the
//! caller looks again after each: claim the name in the cluster's record, be added, bind the member's id to the claim, and
//! only then start etcd. Claim and binding are writes that fail if the record has changed since the look, so that of two
//! machines that join under one name one alone starts the member. Never removes another's member that may be alive:
//! [`may_remove`] has the four conditions of the design, and a clone of a living node's seed meets at least one of them
//! unmet. (Its own, that cannot begin any more, a node removes by itself: [`super::member`].) They hold for a learner that somebody left
//! behind half-way as well: it has no vote, and would keep everybody else from joining.

use super::rules::Rules;
use super::wait::Wait;
use super::{ClusterRecord, Refusal, Seeded};
use nodeimg_contract::birth::{BirthId, Incarnation};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// No peer had contact with an incarnation for this long: it is taken for gone.
pub const QUIET: Duration = Duration::from_secs(60);

/// One member of etcd's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdMember {
    /// etcd's own id.
    pub id: u64,
    /// `--name`; empty before it has started.
    pub name: String,
    /// Host of its peer URL.
    pub address: IpAddr,
    /// Not a voter yet.
    pub learner: bool,
    /// It answered etcd's status call just now.
    pub healthy: bool,
}

impl EtcdMember {
    /// Its name; one that never published a name goes by its address.
    pub fn who(&self) -> String {
        if self.name.is_empty() { self.address.to_string() } else { self.name.clone() }
    }
}

/// What the API knows of the Node object of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeSeen {
    /// There is none.
    Absent,
    /// Ready is not True.
    NotReady,
    /// Its kubelet reports.
    Ready,
}

/// How much is heard of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Silence {
    /// For how long no healthy voter's nodeinit had contact with the incarnation that the ConfigMap has for it.
    pub quiet: Duration,
    /// Somebody answers at its address.
    pub answers: bool,
}

/// One look at a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// The ConfigMap; `None`: not published yet.
    pub record: Option<ClusterRecord>,
    /// Without a ConfigMap: the name of a cluster that nodeimg may not have made.
    pub adopted: Option<BirthId>,
    /// etcd's members, read through its quorum.
    pub members: Vec<EtcdMember>,
    /// Why a member does not count as healthy, by id; for people.
    pub ailments: BTreeMap<u64, String>,
    /// The Node object of this node's name.
    pub node: NodeSeen,
    /// For how long every healthy voter's nodeinit has watched and had no contact with the incarnation that the ConfigMap
    /// has under this node's name.
    pub quiet: Duration,
    /// Somebody else than this node answers at the stale member's address.
    pub answers_at_stale_address: bool,
    /// The same two of another node's learner, while etcd lists one.
    pub learner: Silence,
    /// The cluster's Kubernetes version fits this image as kubeadm's skew rules want it, or what it is.
    pub skew: Option<String>,
}

impl ClusterView {
    /// Whether this (running) cluster has another incarnation under a node's name, or no member for it.
    pub(super) fn has_replaced(&self, seeded: &Seeded, birth: &BirthId, incarnation: &Incarnation) -> bool {
        let listed = self.members.iter().any(|m| m.address == seeded.address || m.name == seeded.name);
        self.record.as_ref().is_some_and(|r| {
            r.birth() == birth && (!listed || r.incarnation_of(&seeded.name) != Some(incarnation))
        })
    }
    fn silence(&self) -> Silence {
        Silence { quiet: self.quiet, answers: self.answers_at_stale_address }
    }

    /// etcd's list by id, in order.
    pub(super) fn member_ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.members.iter().map(|m| m.id).collect();
        ids.sort_unstable();
        ids
    }
}

/// What follows from one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Remove this member: it is an earlier incarnation of this node, or a learner that somebody left behind.
    Remove(u64),
    /// Write this node's incarnation under its name into the ConfigMap, or bind its member to it.
    Claim(ClusterRecord),
    /// Add this node as a learner.
    AddLearner,
    /// This node is a learner, as this member, and may start (or has started) etcd.
    Learner(EtcdMember),
    /// This node is a voter, as this member; its etcd may not have begun.
    Voter(EtcdMember),
    /// This node's etcd was started, and its member is listed no more.
    Gone,
    /// Look again later.
    Wait(Wait),
}

/// Decides for a node whose record says that it joins `birth` as `incarnation`. `running`: its own etcd was started, so its
/// own object may be Ready.
pub fn membership(
    seeded: &Seeded,
    birth: &BirthId,
    incarnation: &Incarnation,
    running: bool,
    view: &ClusterView,
    rules: Rules,
) -> Result<Membership, Refusal> {
    if let Some(record) = view.record.as_ref().filter(|r| r.birth() != birth) {
        return Err(Refusal::another_birth(record.birth(), birth));
    }
    // Before anything is written: an image that does not fit leaves no trace in the cluster.
    if let Some(version) = &view.skew {
        return Err(Refusal::VersionSkew(version.clone()));
    }
    let Some(record) = &view.record else {
        return Ok(match &view.adopted {
            // Else this cluster has a birth, and its first control plane is about to write it down.
            Some(name) if name == birth && seeded.adopt => {
                Membership::Claim(ClusterRecord::adopted(birth.clone(), seeded, incarnation.clone()))
            }
            _ => Membership::Wait(Wait::ClusterRecord),
        });
    };
    let line = record.members().get(&seeded.name);
    let claimed = line.is_some_and(|l| l.incarnation == *incarnation);
    let bound = line.and_then(|l| l.member);
    let listed = view.members.iter().find(|m| m.address == seeded.address || m.name == seeded.name);
    if let Some(member) = listed {
        let mine = if member.learner { Membership::Learner } else { Membership::Voter }(member.clone());
        if !rules.members_are_checked || (!rules.unpublished_is_not_mine && member.name.is_empty()) {
            return Ok(mine);
        }
        return Ok(match bound {
            _ if !claimed && running => return Err(Refusal::Replaced),
            Some(id) if claimed && id == member.id => mine,
            // Added by this incarnation, or its own since the birth. Whoever claims the name in between makes this write
            // fail, so a member is never bound to two.
            None if claimed && rules.members_are_bound => {
                Membership::Claim(record.with_bound(&seeded.name, member.id))
            }
            None if claimed => mine,
            _ => match may_remove(view, member, view.silence(), rules) {
                Ok(()) => Membership::Remove(member.id),
                Err(why) => Membership::Wait(Wait::StaleMember(why)),
            },
        });
    }
    if running {
        return Ok(Membership::Gone);
    }
    if view.node == NodeSeen::Ready && rules.removal_is_careful {
        return Ok(Membership::Wait(Wait::NodeStillReady));
    }
    if !claimed || bound.is_some() {
        return Ok(Membership::Claim(record.with_member(&seeded.name, seeded.address, incarnation.clone())));
    }
    if let Some(learner) = view.members.iter().find(|m| m.learner) {
        if rules.removal_is_careful && may_remove(view, learner, view.learner, rules).is_ok() {
            return Ok(Membership::Remove(learner.id));
        }
        return Ok(Membership::Wait(Wait::Learner(learner.who())));
    }
    if let Some(sick) = view.members.iter().find(|m| !m.healthy) {
        let why = view.ailments.get(&sick.id).cloned().unwrap_or_else(|| "it does not answer".into());
        // One that never published its name has the one that the record has at its address.
        let known = record.members().iter().find(|(_, m)| m.address == sick.address && sick.name.is_empty());
        let who = known.map_or_else(|| sick.who(), |(name, _)| name.clone());
        return Ok(Membership::Wait(Wait::SickMember { who, why }));
    }
    Ok(Membership::AddLearner)
}

/// The four conditions for the removal of an earlier incarnation of this node, or of a learner that was left behind.
fn may_remove(view: &ClusterView, stale: &EtcdMember, silence: Silence, rules: Rules) -> Result<(), String> {
    if !rules.removal_is_careful {
        return Ok(());
    }
    if silence.answers {
        return Err(format!("somebody answers at its address {}", stale.address));
    }
    if stale.healthy {
        return Err("etcd reaches it".into());
    }
    if let Some(sick) = view.members.iter().find(|m| m.id != stale.id && !m.learner && !m.healthy) {
        return Err(format!("another member, {}, is not healthy", sick.who()));
    }
    if silence.quiet < QUIET {
        return Err(format!(
            "a control plane had contact with it {} s ago, or has watched for less than {} s",
            silence.quiet.as_secs(),
            QUIET.as_secs()
        ));
    }
    Ok(())
}
