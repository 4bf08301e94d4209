//! The majority of etcd's disks is gone for good: this node goes on alone with what it has, as a birth of its own.

use super::super::etcd::Etcd;
use super::super::{files, records};
use super::{MAX_BYTES, Request, config, refused};
use nodeimg_contract::birth::{Birth, Permit};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::paths;
use nodeimg_init_core::formation::{EtcdData, Record};
use std::path::Path;

/// Asks PID 1 for it. Refused while etcd has a leader: then nothing is lost.
pub fn recover() -> Result<Vec<String>, Fault> {
    let config = config()?;
    let own = config.address.ok_or_else(|| refused("this node has no etcd".into()))?;
    if Etcd::connect().is_ok_and(|etcd| etcd.status(own).is_ok_and(|s| s.leader != 0)) {
        return Err(refused("etcd has a leader: there is nothing to recover".into()));
    }
    if records::etcd_data(Path::new(paths::ETCD)) != EtcdData::Present {
        return Err(refused("this node's etcd holds no data: run it on one that has".into()));
    }
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
    Request::Recover(Box::new(recovered)).write()?;
    Ok(vec![
        format!(
            "at its next boot this node goes on alone, as birth {}",
            id.chars().take(12).collect::<String>()
        ),
        format!("a snapshot is kept in {}", super::carry_out::SNAPSHOTS),
        "wipe the disks of the other control planes, then boot them: they join".into(),
    ])
}
