//! Who votes in etcd, as this node knows it. After a start without a quorum etcd answers nobody: what was seen last is kept
//! on the state partition, under the birth of its cluster.
//!
//! Asks the own etcd and nobody else; may touch its one file. What is kept is as old as the last round with a quorum
//! ([`super::watch`]): a node that was off while the cluster grew knows the older list.

use super::etcd::Etcd;
use super::files;
use nodeimg_contract::birth::BirthId;
use nodeimg_contract::fault::Fault;
use nodeimg_init_core::formation::Listed;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;

const KEPT: &str = "/var/lib/nodeimg/voters.json";
const MAX_BYTES: u64 = 64 << 10;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    birth: BirthId,
    voters: Vec<Listed>,
}

/// Keeps what the own etcd says now.
pub fn keep(own: IpAddr, birth: &BirthId) -> Result<(), Fault> {
    match said(own) {
        Some(voters) => write(Path::new(KEPT), Kept { birth: birth.clone(), voters }),
        None => Ok(()),
    }
}

/// As etcd says it; else as it was kept for this birth. Empty: nobody knows.
pub fn known(own: IpAddr, birth: Option<&BirthId>) -> Vec<Listed> {
    let kept = || read(Path::new(KEPT)).filter(|kept| Some(&kept.birth) == birth).map(|kept| kept.voters);
    said(own).or_else(kept).unwrap_or_default()
}

fn said(own: IpAddr) -> Option<Vec<Listed>> {
    let voters = Etcd::connect().and_then(|etcd| etcd.remembered_voters(own)).ok()?;
    (!voters.is_empty()).then_some(voters)
}

fn read(path: &Path) -> Option<Kept> {
    let bytes = files::read(path, MAX_BYTES).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Nothing is written that is there already.
fn write(path: &Path, kept: Kept) -> Result<(), Fault> {
    if read(path).as_ref() == Some(&kept) {
        return Ok(());
    }
    let failed = |e: serde_json::Error| files::failed(path, &std::io::Error::other(e.to_string()));
    files::write(path, &serde_json::to_vec(&kept).map_err(failed)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("voters.json");
        assert_eq!(read(&path), None);
        let voter = |n: u8| Listed { name: format!("cp{n}"), address: IpAddr::from([192, 0, 2, n]) };
        let kept = |n| Kept { birth: BirthId("b".repeat(64)), voters: (1..=n).map(voter).collect() };
        write(&path, kept(3)).expect("written");
        assert_eq!(read(&path), Some(kept(3)));
        write(&path, kept(5)).expect("written");
        assert_eq!(read(&path), Some(kept(5)));
        std::fs::write(&path, "{\"birth\":").expect("torn");
        assert_eq!(read(&path), None, "what cannot be read says nothing");
        write(&path, kept(1)).expect("written");
        assert_eq!(read(&path), Some(kept(1)));
    }
}
