//! The majority of etcd's disks is gone for good: this node goes on alone with what it has, as a birth of its own.

use super::super::etcd::Etcd;
use super::super::{files, records, voters};
use super::{MAX_BYTES, Request, config, refused, whole_log};
use crate::peer::Client;
use nodeimg_contract::birth::{Birth, Permit};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::paths;
use nodeimg_init_core::formation::{EtcdData, Heard, Listed, Record, Standing, majority_is_lost};
use nodeimg_init_core::node_config::{NodeConfig, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Asks PID 1 for it. Refused while the majority may live: two clusters would come of it. `lost`: names or addresses of
/// voters that are silent and whose disks are gone for good. Refused too while the log cannot be taken along, unless `log`
/// is false: then it is given up.
pub fn recover(log: bool, lost: &[String]) -> Result<Vec<String>, Fault> {
    let config = config()?;
    let own = config.address.ok_or_else(|| refused("this node has no etcd".into()))?;
    if records::etcd_data(Path::new(paths::ETCD)) != EtcdData::Present {
        return Err(refused("this node's etcd holds no data: run it on one that has".into()));
    }
    let bytes = files::read(paths::RECORD, MAX_BYTES)?.unwrap_or_default();
    let record = Record::from_bytes(&bytes).map_err(|e| refused(e.to_string()))?;
    if record.joining().is_some() && record.joined().is_none() {
        return Err(refused("this node was on its way to become a voter: its data may be a part of the cluster's. Run it on a voter".into()));
    }
    let others = others(&config, &record, own)?;
    majority_is_lost(&others, &lost.iter().cloned().collect()).map_err(|why| refused(why.to_string()))?;
    let kept = if log { Some(log_end()?) } else { None };
    let fresh = records::fresh()?;
    let permit = record.started().map(Birth::permit).cloned().or_else(|| config.permit.clone());
    let permit = permit.unwrap_or_else(|| Permit {
        cluster: config.cluster.value.to_string(),
        nonce: fresh.0.clone(),
        not_after: crate::clock::now(),
    });
    let recovered = record
        .recover(fresh, permit, config.name.value.to_string(), own)
        .ok_or_else(|| refused("this node never belonged to a cluster".into()))?;
    let id = recovered.cluster().map(|b| b.0).unwrap_or_default();
    Request::Recover { record: Box::new(recovered), log }.write()?;
    let taken = match kept {
        Some(last) => format!("everything in etcd's log is kept, up to its entry {last}"),
        None => "etcd's log is given up: the database goes on as it lies there".into(),
    };
    Ok(vec![
        taken,
        format!(
            "at its next boot this node goes on alone, as birth {}",
            id.chars().take(12).collect::<String>()
        ),
        format!("a snapshot is kept in {}", super::carry_out::SNAPSHOTS),
        "wipe the disks of the other control planes, then boot them: they join".into(),
    ])
}

/// Every other voter, and what was heard of it: etcd's word first, then nodeinit's.
fn others(config: &NodeConfig, record: &Record, own: IpAddr) -> Result<BTreeMap<Listed, Heard>, Fault> {
    let etcd = Etcd::connect();
    let leads = |address| etcd.as_ref().is_ok_and(|e| e.status(address).is_ok_and(|s| s.leader != 0));
    if leads(own) {
        return Err(refused("etcd has a leader: there is nothing to recover".into()));
    }
    let client = config.peer.as_ref().and_then(|identity| Client::new(identity, &config.name.value).ok());
    let mut heard = BTreeMap::new();
    for voter in voters(config, record, own) {
        let says = || {
            let name: NodeName = voter.name.parse().ok()?;
            client.as_ref()?.ask(voter.address, &name).ok().map(|hello| hello.standing)
        };
        let of = match leads(voter.address) {
            true => Heard::Leader,
            false => match (says(), record.cluster()) {
                (None | Some(Standing::CannotSay { .. }), _) | (_, None) => Heard::Silence,
                (Some(standing), Some(birth)) if standing.holds(&birth) => Heard::Data,
                (Some(_), Some(_)) => Heard::Nothing,
            },
        };
        heard.insert(voter, of);
    }
    Ok(heard)
}

/// As this node knows them; if it does not, the birth's participants and the seed's list.
fn voters(config: &NodeConfig, record: &Record, own: IpAddr) -> BTreeSet<Listed> {
    let mut all: BTreeSet<Listed> = voters::known(own, record.cluster().as_ref()).into_iter().collect();
    if all.is_empty() {
        let born = record.started().into_iter().flat_map(Birth::participants);
        all.extend(born.map(|p| Listed { name: p.name.clone(), address: p.address }));
        let listed = config.birth_list().iter();
        all.extend(listed.map(|n| Listed { name: n.name.to_string(), address: n.address }));
    }
    all.into_iter().filter(|v| v.address != own).collect()
}

/// The last entry of the log. etcd may write it at this moment: a damage that is one is there a second time.
fn log_end() -> Result<u64, Fault> {
    let member = Path::new(paths::ETCD).join("member");
    let (_, ending) = whole_log::ending(&member).or_else(|_| {
        std::thread::sleep(Duration::from_secs(1));
        whole_log::ending(&member)
    })?;
    Ok(ending.last)
}
