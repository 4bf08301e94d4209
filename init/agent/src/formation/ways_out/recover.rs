//! The majority of etcd's disks is gone for good: this node goes on alone with what it has, as a birth of its own.

use super::super::etcd::Etcd;
use super::super::{files, records};
use super::{MAX_BYTES, Request, config, refused, remove, whole_log};
use nodeimg_contract::birth::{Birth, Permit};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::paths;
use nodeimg_init_core::formation::{EtcdData, Record};
use std::path::Path;
use std::time::Duration;

/// Asks PID 1 for it. Refused while etcd has a leader anywhere: then nothing is lost, and two clusters would come of it.
/// Refused too while the log cannot be taken along, unless `log` says that it is given up.
pub fn recover(log: bool) -> Result<Vec<String>, Fault> {
    let config = config()?;
    let own = config.address.ok_or_else(|| refused("this node has no etcd".into()))?;
    if let Ok(etcd) = Etcd::connect() {
        let leads = |address| etcd.status(address).is_ok_and(|s| s.leader != 0);
        if leads(own) {
            return Err(refused("etcd has a leader: there is nothing to recover".into()));
        }
        if let Some(other) = remove::others(&config).into_iter().find(|a| leads(*a)) {
            let cause = format!(
                "etcd at {other} has a leader: the cluster lives, without this node. Mend what keeps this node from it, or \
                 let it join anew with \"nodeinit reset --yes\""
            );
            return Err(refused(cause));
        }
    }
    if records::etcd_data(Path::new(paths::ETCD)) != EtcdData::Present {
        return Err(refused("this node's etcd holds no data: run it on one that has".into()));
    }
    let kept = if log { Some(log_end()?) } else { None };
    let bytes = files::read(paths::RECORD, MAX_BYTES)?.unwrap_or_default();
    let record = Record::from_bytes(&bytes).map_err(|e| refused(e.to_string()))?;
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

/// The last entry of the log. etcd may write it at this moment: a damage that is one is there a second time.
fn log_end() -> Result<u64, Fault> {
    let member = Path::new(paths::ETCD).join("member");
    let (_, ending) = whole_log::ending(&member).or_else(|_| {
        std::thread::sleep(Duration::from_secs(1));
        whole_log::ending(&member)
    })?;
    Ok(ending.last)
}
