//! A dead member is removed from a healthy control plane: etcd's list, the cluster's record, the Node object.

use super::super::api::{Api, Method};
use super::super::book::Book;
use super::super::etcd::Etcd;
use super::{config, refused};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::etcd_gateway::Member;
use nodeimg_init_core::formation::ClusterRecord;
use nodeimg_init_core::node_config::NodeConfig;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Writers of the cluster's record are few: a conflict that stays is no conflict.
const TRIES: u32 = 5;
/// How etcd refuses while members are not connected, as it counts: for five seconds after one has come back, too.
const NOT_YET: &str = "unhealthy cluster";
/// How long that is waited for.
const CONNECTED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Removes it; a member that answers only by `alive`. `wanted`: a node name, an address or an id of etcd's member list. Gives
/// what was done, a line each.
pub fn remove_member(wanted: &str, alive: bool) -> Result<Vec<String>, Fault> {
    let config = config()?;
    let own = config.address.ok_or_else(|| refused("this node is no control plane".into()))?;
    let etcd = Etcd::connect().map_err(refused)?;
    // Without a quorum nothing can be removed, and this says so soonest.
    let list = etcd.members(own).map_err(|why| {
        refused(format!(
            "etcd of this node says: {why}; if its majority is lost for good, there is \"nodeinit recover\""
        ))
    })?;
    let book = Book::own(&config)?;
    let record = book.read()?;
    let chosen = member_of(wanted, &list.members, record.as_ref());
    if wanted == config.name.value.as_str() || chosen.is_some_and(|m| m.address == own) {
        return Err(refused("that is this node: run \"nodeinit reset\"".into()));
    }
    let mut done = Vec::new();
    if let Some(member) = chosen {
        if is_healthy(&etcd, member.address) && !alive {
            return Err(refused(format!(
                "{wanted} answers at {}: run \"nodeinit reset\" there, or say --alive",
                member.address
            )));
        }
        let rest = list.members.iter().filter(|m| m.id != member.id && !m.learner);
        let (healthy, sick): (Vec<_>, Vec<_>) = rest.partition(|m| is_healthy(&etcd, m.address));
        if !is_majority(healthy.len(), healthy.len() + sick.len()) {
            let sick: Vec<_> = sick.iter().map(|m| format!("{} at {}", named(m), m.address)).collect();
            return Err(refused(format!(
                "without {wanted} too few members are healthy; mend {} first",
                sick.join(" or ")
            )));
        }
        take_out(&[own], |own| etcd.remove(own, member.id)).map_err(refused)?;
        done.push(format!("etcd's member {:x} ({}) is removed", member.id, named(member)));
    }
    let name = chosen.map(|m| m.name.as_str()).filter(|n| !n.is_empty()).unwrap_or(wanted);
    if forget(&book, name)? {
        done.push(format!("{name} is no more in the cluster's record"));
    }
    if let Book::Api(api) = &book
        && delete_node(api, name)?
    {
        done.push(format!("Node {name} is deleted"));
    }
    if done.is_empty() {
        return Err(refused(format!("the cluster knows no \"{wanted}\"")));
    }
    Ok(done)
}

/// Asks one voter after another to take a member out, until one does.
pub fn take_out(voters: &[IpAddr], mut ask: impl FnMut(IpAddr) -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut said = Vec::new();
        for voter in voters {
            match ask(*voter) {
                Ok(()) => return Ok(()),
                Err(why) => said.push(format!("etcd at {voter} says: {why}")),
            }
        }
        let said = said.join("; ");
        if !said.contains(NOT_YET) || begun.elapsed() >= CONNECTED {
            return Err(said);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The member of a name, an address or an id. The record binds a name to an id; a name without one is the member of that
/// name, or one at the recorded address that has no name yet. Never one that another name has taken over.
fn member_of<'a>(wanted: &str, members: &'a [Member], record: Option<&ClusterRecord>) -> Option<&'a Member> {
    if let Ok(address) = wanted.parse::<IpAddr>() {
        return members.iter().find(|m| m.address == address);
    }
    let recorded = record.and_then(|r| r.members().get(wanted));
    let bound = recorded.and_then(|r| r.member).and_then(|id| members.iter().find(|m| m.id == id));
    let by_name = || members.iter().find(|m| m.name == wanted && !wanted.is_empty());
    let unnamed =
        || members.iter().find(|m| m.name.is_empty() && recorded.is_some_and(|r| r.address == m.address));
    let by_id = || members.iter().find(|m| format!("{:x}", m.id) == wanted.to_ascii_lowercase());
    bound.or_else(by_name).or_else(unnamed).or_else(by_id)
}

fn named(member: &Member) -> String {
    if member.name.is_empty() { member.address.to_string() } else { member.name.clone() }
}

/// Whether the healthy ones are a quorum of the voters that are left.
fn is_majority(healthy: usize, voters: usize) -> bool {
    healthy > voters / 2
}

/// It has a leader, and so a quorum.
pub fn is_healthy(etcd: &Etcd, address: IpAddr) -> bool {
    etcd.status(address).is_ok_and(|s| s.leader != 0)
}

/// Takes a name out of the cluster's record.
pub fn forget(book: &Book, name: &str) -> Result<bool, Fault> {
    for _ in 0..TRIES {
        let Some(record) = book.read()? else { return Ok(false) };
        if !record.members().contains_key(name) {
            return Ok(false);
        }
        if book.write(&record.without_member(name))? {
            return Ok(true);
        }
    }
    // An etcd member may be removed by now: this is no refusal.
    Err(Fault {
        code: Code::JoinBlocked,
        object: "the cluster's record".into(),
        cause: format!("somebody else wrote it {TRIES} times in between"),
        help: "run the command again: what is done already is passed over".into(),
    })
}

/// Deletes a Node object.
pub fn delete_node(api: &Api, name: &str) -> Result<bool, Fault> {
    let path = format!("/api/v1/nodes/{name}");
    let answer = api.call(&path, Method::Delete)?;
    match answer.status {
        404 => Ok(false),
        _ if answer.is_success() => Ok(true),
        _ => Err(answer.fault(&path)),
    }
}

/// Addresses of the other nodes with etcd, or of the other control planes where etcd runs elsewhere: those of the cluster's
/// record, and those of the seed's list.
pub fn others(config: &NodeConfig) -> Vec<IpAddr> {
    let recorded = Book::own(config).and_then(|book| book.read()).ok().flatten();
    let current = recorded.iter().flat_map(|r| r.members().values()).map(|m| m.address);
    let list = config.birth_list();
    let listed = if list.is_empty() { &config.control_planes.value } else { list };
    let mut all: Vec<_> =
        current.chain(listed.iter().map(|n| n.address)).filter(|a| Some(*a) != config.address).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn member(id: u64, name: &str, last: u8) -> Member {
        Member { id, name: name.into(), address: IpAddr::from([192, 0, 2, last]), learner: false }
    }

    fn record(members: serde_json::Value) -> ClusterRecord {
        let map = json!({
            "metadata": {"name": "nodeimg", "namespace": "kube-public"},
            "data": {"schema": "1", "birth": "b".repeat(64), "done": "", "members": members.to_string()},
        });
        ClusterRecord::from_json(map.to_string().as_bytes()).expect("a record")
    }

    /// cp3's member went by other means, cp4 has its address now.
    #[test]
    fn nobody_is_taken_for_whose_address_he_has() {
        let incarnation = |n: u8| format!("{n:032x}");
        let stale = record(json!({
            "cp3": {"address": "192.0.2.3", "incarnation": incarnation(3)},
            "cp4": {"address": "192.0.2.3", "incarnation": incarnation(4), "member": 4},
        }));
        let members = [member(1, "cp1", 1), member(4, "cp4", 3)];
        let id = |wanted: &str| member_of(wanted, &members, Some(&stale)).map(|m| m.id);
        assert_eq!(id("cp3"), None);
        assert_eq!(id("cp4"), Some(4));
        assert_eq!(id("192.0.2.3"), Some(4), "said by address");
        assert_eq!(stale.owner_of(4, IpAddr::from([192, 0, 2, 3])).map(|(name, _)| name), Some("cp4"));
    }

    #[test]
    fn etcd_is_asked_again_while_a_member_has_only_come_back() {
        let voters = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut answers = [Err("etcdserver: unhealthy cluster"), Err("no answer"), Ok(())]
            .map(|a| a.map_err(str::to_owned))
            .into_iter();
        assert_eq!(take_out(&voters, |_| answers.next().expect("an answer")), Ok(()));
        let mut asked = Vec::new();
        let why = take_out(&voters, |voter| {
            asked.push(voter);
            Err("member not found".into())
        });
        assert_eq!(asked, voters, "each once");
        assert!(why.is_err_and(|why| why.contains("192.0.2.1") && why.contains("192.0.2.2")));
    }

    /// Of three with one dead both others, of five with two dead the three, of five with one dead three of the four.
    #[test]
    fn two_dead_of_five_go_one_after_another() {
        let left = [
            ((2, 2), true),
            ((1, 2), false),
            ((3, 4), true),
            ((2, 4), false),
            ((3, 3), true),
            ((2, 3), true),
        ];
        for ((healthy, voters), may) in left {
            assert_eq!(is_majority(healthy, voters), may, "{healthy} of {voters}");
        }
        assert!(is_majority(1, 1));
    }

    #[test]
    fn a_learner_without_a_name_is_found_by_record_address_or_id() {
        let members = [member(1, "cp1", 1), member(0xab, "", 3)];
        let known = record(json!({"cp3": {"address": "192.0.2.3", "incarnation": format!("{:032x}", 3)}}));
        let id = |wanted: &str| member_of(wanted, &members, Some(&known)).map(|m| m.id);
        assert_eq!(
            (id("cp3"), id("192.0.2.3"), id("AB"), id("cp9")),
            (Some(0xab), Some(0xab), Some(0xab), None)
        );
        assert_eq!(member_of("ab", &members, None).map(|m| m.id), Some(0xab), "without a record");
        assert_eq!(id(""), None, "no name is nobody's");
    }
}
