//! A dead member is removed from a healthy control plane: etcd's list, the cluster's record, the Node object.

use super::super::api::{Api, Method};
use super::super::book::Book;
use super::super::etcd::Etcd;
use super::super::records;
use super::{config, refused};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::node_config::NodeConfig;
use std::net::IpAddr;

/// Writers of the cluster's record are few: a conflict that stays is no conflict.
const TRIES: u32 = 5;

/// Removes it; a member that answers only by `alive`. Gives what was done, a line each.
pub fn remove_member(name: &str, alive: bool) -> Result<Vec<String>, Fault> {
    let config = config()?;
    if name == config.name.value.as_str() {
        return Err(refused("that is this node: run \"nodeinit reset\"".into()));
    }
    let own = config.address.ok_or_else(|| refused("this node is no control plane".into()))?;
    let etcd = Etcd::connect().map_err(refused)?;
    // Without a quorum nothing can be removed, and this says so soonest.
    let list = etcd.members(own).map_err(|why| {
        refused(format!(
            "etcd of this node says: {why}; if its majority is lost for good, there is \"nodeinit recover\""
        ))
    })?;
    let book = Book::own(&config)?;
    let recorded = book.read()?;
    let address = recorded.as_ref().and_then(|r| r.members().get(name)).map(|m| m.address);
    let mut done = Vec::new();
    let is_it = |m: &&nodeimg_init_core::etcd_gateway::Member| m.name == name || Some(m.address) == address;
    if let Some(member) = list.members.iter().find(is_it) {
        let healthy = |address: IpAddr| etcd.status(address).is_ok_and(|s| s.leader != 0);
        if healthy(member.address) && !alive {
            return Err(refused(format!(
                "{name} answers at {}: run \"nodeinit reset\" there, or say --alive",
                member.address
            )));
        }
        let sick = list.members.iter().find(|m| m.id != member.id && !m.learner && !healthy(m.address));
        if let Some(sick) = sick {
            return Err(refused(format!("another member, {}, is not healthy: mend it first", sick.name)));
        }
        etcd.remove(own, member.id).map_err(|why| refused(format!("etcd says: {why}")))?;
        done.push(format!("etcd's member {:x} ({name}) is removed", member.id));
    }
    if forget(&book, name)? {
        done.push(format!("{name} is no more in the cluster's record"));
    }
    if let Book::Api(api) = &book
        && delete_node(api, name)?
    {
        done.push(format!("Node {name} is deleted"));
    }
    if done.is_empty() {
        return Err(refused(format!("the cluster knows no \"{name}\"")));
    }
    Ok(done)
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

/// An API server of another control plane, and the address of another voter; for a node that goes.
pub fn others(config: &NodeConfig) -> Vec<IpAddr> {
    let recorded = Api::connect(config).and_then(|api| records::read_through(&api)).ok().flatten();
    let current = recorded.iter().flat_map(|r| r.members().values()).map(|m| m.address);
    let listed = config.control_planes.iter().map(|n| n.address);
    let mut all: Vec<_> = current.chain(listed).filter(|a| Some(*a) != config.address).collect();
    all.sort_unstable();
    all.dedup();
    all
}
