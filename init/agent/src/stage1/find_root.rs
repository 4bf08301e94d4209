//! The two partitions whose names are the halves of the root hash.

use crate::block::{self, Block};
use nodeimg_contract::verity::RootHash;
use nodeimg_init_core::partition_table::{self, WANTED};
use std::collections::BTreeMap;

/// Data and hash tree of the root.
pub struct Found {
    /// Carries the file system.
    pub data: Block,
    /// Carries the hash tree.
    pub tree: Block,
}

/// Looks at every disk once; the error says what was seen, for a person.
pub fn scan(hash: &RootHash) -> Result<Found, String> {
    let devices = block::all();
    let by_parent: BTreeMap<(String, u32), &Block> =
        devices.iter().filter_map(|b| Some((b.partition_of.clone()?, b))).collect();
    let (root, verity) = (hash.root_partuuid(), hash.verity_partuuid());
    let (mut data, mut tree) = (None, None);
    let mut seen = Vec::new();
    for disk in devices.iter().filter(|b| b.partition_of.is_none()) {
        let Ok(start) = disk.read(0, WANTED) else { continue };
        let Ok(partitions) = partition_table::parse(&start, disk.sector()) else {
            seen.push(format!("{} has no partition table", disk.name));
            continue;
        };
        seen.push(format!("{} has other partitions", disk.name));
        for p in partitions {
            let Some(device) = by_parent.get(&(disk.name.clone(), p.number)) else { continue };
            if p.uuid == root {
                data.get_or_insert_with(|| (*device).clone());
            } else if p.uuid == verity {
                tree.get_or_insert_with(|| (*device).clone());
            }
        }
    }
    match (data, tree) {
        (Some(data), Some(tree)) => Ok(Found { data, tree }),
        (Some(data), None) => Err(format!("{} carries the root, but no partition its hash tree", data.name)),
        (None, Some(tree)) => Err(format!("{} carries the hash tree, but no partition the root", tree.name)),
        (None, None) if seen.is_empty() => Err("the kernel shows no disk at all".to_owned()),
        (None, None) => {
            seen.truncate(16);
            Err(seen.join(", "))
        }
    }
}
