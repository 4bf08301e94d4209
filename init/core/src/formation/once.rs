//! What is done once for a cluster, and what each control plane does last: behind the own API server, under the Lease, each
//! step recorded in the cluster's record and read again under the Lease before it is run.

use super::machine::{Lease, Run};
use super::wait::Wait;
use super::{Action, ClusterRecord, ClusterStep, NodeRecord, Refusal, Seeded};
use nodeimg_contract::birth::{BirthId, Participant};

/// What every control plane does once its API server is ready. `recovered`: the birth that this one takes the place of.
pub(super) fn once_per_cluster(
    seeded: &Seeded,
    run: &Run,
    node: &NodeRecord,
    birth: &BirthId,
    participants: &[Participant],
    recovered: Option<(&BirthId, &[Participant])>,
) -> Result<Action, Refusal> {
    let cluster = match &run.cluster {
        None => return Ok(Action::ReadClusterRecord),
        Some(cluster) => cluster,
    };
    if let Some(cluster) = cluster
        && let Some(action) = of_this_birth(cluster, birth, recovered)?
    {
        return Ok(action);
    }
    let pending = cluster.as_ref().map(|c| c.pending(seeded));
    let to_do = pending.as_ref().is_none_or(|p| !p.is_empty()) || !run.unrecorded.is_empty();
    let node_steps = || {
        (node.finished() != Some(birth)).then(|| {
            if run.node_steps_done {
                Action::WriteNodeRecord(node.with_finished(birth.clone()))
            } else {
                Action::RunNodeSteps
            }
        })
    };
    if to_do {
        return Ok(match (&run.lease, cluster) {
            (Lease::Unknown, _) => Action::HoldLease,
            (Lease::Elsewhere(holder), _) => {
                // The own label and taint need nobody else.
                let own = cluster.as_ref().and_then(|_| node_steps());
                own.unwrap_or_else(|| Action::Wait(Wait::Lease(holder.clone())))
            }
            (Lease::Held, None) => {
                Action::WriteClusterRecord(ClusterRecord::new(birth.clone(), participants))
            }
            (Lease::Held, Some(cluster)) if !run.unrecorded.is_empty() => {
                Action::WriteClusterRecord(cluster.with_done(&run.unrecorded))
            }
            (Lease::Held, Some(_)) => {
                Action::RunSteps(next_batch(pending.unwrap_or_default()).unwrap_or_default())
            }
        });
    }
    if let Some(action) = node_steps() {
        return Ok(action);
    }
    Ok(if !run.super_admin_removed {
        Action::RemoveSuperAdmin
    } else if !run.node_ready {
        Action::AwaitNode
    } else {
        Action::Steady
    })
}

/// What a node of an etcd of its own does once its etcd serves: the cluster's record is in etcd itself, and whichever
/// participant finds none writes the birth's. Later looks go on: a record of another birth is told.
pub(super) fn kept_by_etcd(
    run: &Run,
    birth: &BirthId,
    participants: &[Participant],
    recovered: Option<(&BirthId, &[Participant])>,
) -> Result<Action, Refusal> {
    Ok(match &run.cluster {
        None => Action::ReadClusterRecord,
        Some(None) if participants.is_empty() => Action::Wait(Wait::ClusterRecord),
        Some(None) => Action::WriteClusterRecord(ClusterRecord::new(birth.clone(), participants)),
        Some(Some(cluster)) => of_this_birth(cluster, birth, recovered)?.unwrap_or(Action::Steady),
    })
}

/// The record belongs to this birth; or it is written as the record of the birth that took its place.
fn of_this_birth(
    cluster: &ClusterRecord,
    birth: &BirthId,
    recovered: Option<(&BirthId, &[Participant])>,
) -> Result<Option<Action>, Refusal> {
    match recovered {
        _ if cluster.birth() == birth => Ok(None),
        Some((from, alone)) if cluster.birth() == from => {
            Ok(Some(Action::WriteClusterRecord(cluster.reborn(birth.clone(), alone))))
        }
        _ => Err(Refusal::another_birth(cluster.birth(), birth)),
    }
}

/// kubeadm's phases go together, in one process; everything else one by one.
fn next_batch(pending: Vec<ClusterStep>) -> Option<Vec<ClusterStep>> {
    let of_kubeadm = |s: &&ClusterStep| matches!(s, ClusterStep::Kubeadm(_));
    let together: Vec<_> = pending.iter().take_while(of_kubeadm).cloned().collect();
    if together.is_empty() { pending.into_iter().next().map(|s| vec![s]) } else { Some(together) }
}
