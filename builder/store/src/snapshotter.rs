//! `metadata.db`: the overlayfs snapshotter's own database.
//!
//! Takes snapshots, gives the database's root bucket. Pure.
//!
//! Source of the format: containerd v2.3 `core/snapshots/storage/bolt.go` (`putSnapshot`, `putUsage`); the kinds are
//! those of `core/snapshots/snapshotter.go`.

use crate::Snapshot;
use crate::bolt::Bucket;
use crate::encoding::{uvarint, varint};
use crate::meta::{backend_name, put_times};

/// `KindCommitted`.
const COMMITTED: u8 = 3;

/// The root bucket.
pub(crate) fn database(snapshots: &[Snapshot], epoch: u64) -> Bucket {
    let mut root = Bucket::new();
    let version = root.bucket("v1");
    // The snapshotter looks for its bucket of parents even where no snapshot has one.
    version.bucket("parents");
    let all = version.bucket("snapshots");
    for snapshot in snapshots {
        all.sequence = all.sequence.max(snapshot.number);
        let bucket = all.bucket(backend_name(snapshot));
        bucket.put("id", uvarint(snapshot.number)).put("kind", [COMMITTED]);
        bucket.put("inodes", varint(snapshot.inodes)).put("size", varint(snapshot.size));
        put_times(bucket, epoch);
    }
    root
}
