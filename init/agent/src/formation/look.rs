//! One look at a cluster that exists, through its members: etcd's list, the ConfigMap, the Node object, versions; and the
//! changes of membership that follow from it.

use super::api::Api;
use super::etcd::Etcd;
use super::silence::{self, Suspect};
use super::{Formation, certs, nodes, phases, records};
use nodeimg_contract::birth::BirthId;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::image::Role;
use nodeimg_init_core::etcd_gateway::{self as gateway, MemberList};
use nodeimg_init_core::formation::{ClusterRecord, ClusterView, EtcdMember, Event, NodeSeen, Silence};
use nodeimg_init_core::kubeadm;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Through whom the last look went.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// A voter.
    pub etcd: IpAddr,
    /// A member whose API server answers.
    pub api: IpAddr,
}

/// Looks. Whatever keeps it from seeing is told, and is no fault of this node.
pub fn look(f: &Formation<'_>) -> Result<Event, Fault> {
    if f.config.fetches_keys()
        && !phases::has_credentials(f)
        && let Err(why) = certs::are_there(f)
    {
        return Ok(Event::ClusterHidden(why));
    }
    phases::credentials(f)?;
    Ok(match view(f) {
        Ok((view, way)) => {
            f.memory.way.set(Some(way));
            Event::ClusterSeen(Box::new(view))
        }
        Err(why) => {
            f.memory.way.set(None);
            Event::ClusterHidden(why)
        }
    })
}

fn view(f: &Formation<'_>) -> Result<(ClusterView, Way), String> {
    let etcd = Etcd::connect()?;
    let (through, list) = first(candidates(f), |address| etcd.members(address))?;
    let (members, ailments) = with_health(&etcd, &list);
    let voters = || members.iter().filter(|m| !m.learner && Some(m.address) != f.config.address);
    let others = voters().filter(|m| m.healthy);
    if others.clone().next().is_none() {
        let ails = |m: &EtcdMember| ailments.get(&m.id).map(|why| format!("{}: {why}", m.who()));
        let said: Vec<_> = voters().filter_map(ails).collect();
        return Err(format!("no other voter of etcd is healthy: {}", said.join("; ")));
    }
    let (server, (record, adopted, node, version)) =
        first(others.map(|m| m.address), |address| match f.config.role.value {
            // Where no API server runs nothing is known of Nodes and versions.
            Role::Etcd => {
                etcd.record(address).map(|r| (r, None, NodeSeen::Absent, f.image.kubernetes.clone()))
            }
            _ => at_api(f, address),
        })?;
    if let Some(record) = &record {
        f.desk.watches(record);
    }
    let name = f.config.name.value.as_str();
    let is_own = |m: &&EtcdMember| m.name == name || Some(m.address) == f.config.address;
    let stale = members.iter().find(is_own);
    let recorded = || record.as_ref().and_then(|r| r.incarnation_of(name));
    let left_behind = members.iter().find(|m| m.learner && !m.healthy && !is_own(m));
    let view = ClusterView {
        node,
        quiet: match (stale, &record, recorded()) {
            (Some(member), Some(record), Some(incarnation)) => {
                let suspect = Suspect { member, name, incarnation };
                silence::quiet(f, record, &suspect, &members, || node)
            }
            _ => Duration::ZERO,
        },
        learner: match (left_behind, &record) {
            (Some(learner), Some(record)) => {
                // Who cannot be looked up may be well.
                let seen = |name: &str| Api::at(&f.config, server).and_then(|api| nodes::seen(&api, name));
                let node = |name: &str| seen(name).unwrap_or(NodeSeen::Ready);
                silence::of_learner(f, record, learner, &members, node)
            }
            _ => Silence::default(),
        },
        answers_at_stale_address: stale
            .is_some_and(|m| Some(m.address) != f.config.address && silence::answers(f, m.address)),
        skew: kubeadm::skew(&version, &f.image.kubernetes, f.config.role.value),
        record,
        adopted,
        members,
        ailments,
    };
    Ok((view, Way { etcd: through, api: server }))
}

/// Where members may be: through whom the last look went, the current list, members that have asked, the seed's list;
/// never here.
fn candidates(f: &Formation<'_>) -> Vec<IpAddr> {
    let last = f.memory.way.get().map(|way| way.etcd);
    let current = f.desk.control_planes().into_iter().map(|n| n.address);
    let listed = f.config.birth_list().iter().map(|n| n.address);
    let mut seen = BTreeSet::new();
    let asked = f.desk.askers().into_iter().map(|n| n.address);
    let all = last.into_iter().chain(current).chain(asked).chain(listed);
    all.filter(|a| Some(*a) != f.config.address && seen.insert(*a)).collect()
}

/// The first that answers; or what each said.
fn first<T>(
    addresses: impl IntoIterator<Item = IpAddr>,
    ask: impl Fn(IpAddr) -> Result<T, String>,
) -> Result<(IpAddr, T), String> {
    let mut said = Vec::new();
    for address in addresses {
        match ask(address) {
            Ok(answer) => return Ok((address, answer)),
            Err(why) => said.push(format!("{address}: {why}")),
        }
    }
    Err(if said.is_empty() { "no member is known".into() } else { said.join("; ") })
}

/// The list, and what ails whom, by id.
fn with_health(etcd: &Etcd, list: &MemberList) -> (Vec<EtcdMember>, BTreeMap<u64, String>) {
    let ailment = |address: IpAddr| match etcd.status(address) {
        Err(why) => Some(why),
        Ok(status) => status.ailment(list.cluster),
    };
    let mut ailments = BTreeMap::new();
    let members = std::thread::scope(|scope| {
        let asked: Vec<_> = list
            .members
            .iter()
            .map(|m| (m, std::thread::Builder::new().spawn_scoped(scope, || ailment(m.address))))
            .collect();
        let mut members = Vec::new();
        for (m, thread) in asked {
            let unasked = || Some("it could not be asked: no thread".into());
            let ailment = thread.ok().and_then(|t| t.join().ok()).unwrap_or_else(unasked);
            let healthy = ailment.is_none();
            ailments.extend(ailment.map(|why| (m.id, why)));
            let (id, name, address, learner) = (m.id, m.name.clone(), m.address, m.learner);
            members.push(EtcdMember { id, name, address, learner, healthy });
        }
        members
    });
    (members, ailments)
}

/// Record, name of a cluster without one, Node object and version, by the word of one API server.
type Told = (Option<ClusterRecord>, Option<BirthId>, NodeSeen, String);

fn at_api(f: &Formation<'_>, address: IpAddr) -> Result<Told, String> {
    let told = |fault: Fault| fault.cause;
    let api = Api::at(&f.config, address).map_err(told)?;
    let record = records::read_through(&api).map_err(told)?;
    let adopted = match record {
        None => records::adopted(&api).map_err(told)?,
        Some(_) => None,
    };
    let node = nodes::seen(&api, f.config.name.value.as_str()).map_err(told)?;
    let answer = api.get("/version").map_err(told)?;
    let version = super::versions::told(&answer);
    Ok((record, adopted, node, version))
}

/// Removes an earlier incarnation of this node, or a learner that was left behind. What etcd complains of is looked at anew.
pub fn remove(f: &Formation<'_>, id: u64) -> Event {
    f.reporter.line(format!(
        "etcd's member {id:x} is removed: an earlier life of this node, a dead learner, or its own that cannot begin"
    ));
    changed(f, change(f, |etcd, through| etcd.remove(through, id)))
}

/// Adds this node as a learner.
pub fn add_learner(f: &Formation<'_>) -> Event {
    let added = change(f, |etcd, through| {
        let own = f.config.address.ok_or("this node has no address")?;
        etcd.add_learner(through, own)
    });
    changed(f, added)
}

/// Has this node's member made a voter.
pub fn promote(f: &Formation<'_>) -> Event {
    let promoted = change(f, |etcd, through| {
        let list = etcd.members(through)?;
        let own = list.members.iter().find(|m| Some(m.address) == f.config.address);
        let own = own.ok_or("etcd does not list this node")?;
        if !own.learner {
            return Ok(());
        }
        match etcd.promote(through, own.id) {
            Err(why) if gateway::is_voter_already(&why) => Ok(()),
            promoted => promoted,
        }
    });
    match promoted {
        Ok(()) => {
            f.reporter.line("etcd has taken this node as a voter");
            Event::Promoted
        }
        Err(why) => Event::NotPromoted(why),
    }
}

fn change(f: &Formation<'_>, change: impl Fn(&Etcd, IpAddr) -> Result<(), String>) -> Result<(), String> {
    let way = f.memory.way.get().ok_or("no member has answered yet")?;
    change(&Etcd::connect()?, way.etcd)
}

fn changed(f: &Formation<'_>, result: Result<(), String>) -> Event {
    match result {
        Ok(()) => Event::MembersChanged,
        Err(why) => lost(f, format!("etcd says: {why}")),
    }
}

/// The member through which the last look went does not do what it is asked: the next look begins anew, and is through
/// whoever answers.
pub fn lost(f: &Formation<'_>, why: String) -> Event {
    f.memory.way.set(None);
    Event::ClusterHidden(why)
}
