//! `meta.db`: what containerd's metadata plugin knows of images, content and snapshots.
//!
//! Takes images and snapshots, gives the database's root bucket. Pure.
//!
//! Source of the format: containerd v2.3 `core/metadata` (buckets.go draws the schema; db.go has its version; images.go,
//! content.go, snapshot.go, leases.go write it), `core/images/labels.go` and `internal/cri/labels`.

use crate::bolt::Bucket;
use crate::encoding::{go_time, varint};
use crate::{NAMESPACE, SNAPSHOTTER, Snapshot, StoredImage};

/// Version of the schema `v1` (`dbVersion` in db.go): at this number containerd migrates nothing.
const DB_VERSION: u64 = 4;

/// The lease that holds all baked content and snapshots. It never expires: garbage collection must not even try to
/// remove what lies in the sealed root, whatever becomes of the image records.
pub const LEASE: &str = "nodeimg-baked";

/// Labels that the CRI plugin gives an image that it must list and the kubelet must not collect.
const IMAGE_LABELS: [(&str, &str); 2] =
    [("io.cri-containerd.image", "managed"), ("io.cri-containerd.pinned", "pinned")];

/// The root bucket.
pub(crate) fn database(images: &[StoredImage<'_>], snapshots: &[Snapshot], epoch: u64) -> Bucket {
    let mut root = Bucket::new();
    let schema = root.bucket("v1");
    schema.put("version", varint(DB_VERSION));
    let namespace = schema.bucket(NAMESPACE);
    for image in images {
        // The CRI plugin keeps a second record under the image's ID, which is its config's digest.
        for name in [image.reference.to_owned(), image.config.digest()] {
            put_image(namespace.bucket("images").bucket(name), image, epoch);
        }
        let content = namespace.bucket("content").bucket("blob");
        // Without the layers: as pulled with discard_unpacked_layers (ChildGCLabelsFilterLayers).
        let labels = [("containerd.io/gc.ref.content.config".to_owned(), image.config.digest())];
        put_blob(content.bucket(image.manifest.digest()), image.manifest.bytes.len(), labels, epoch);
        let labels = [(format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"), image.chain_id.to_owned())];
        put_blob(content.bucket(image.config.digest()), image.config.bytes.len(), labels, epoch);
    }
    for snapshot in snapshots {
        let snapshotter = namespace.bucket("snapshots").bucket(SNAPSHOTTER);
        snapshotter.sequence = snapshotter.sequence.max(snapshot.number);
        let bucket = snapshotter.bucket(snapshot.chain_id.as_str());
        put_times(bucket, epoch);
        bucket.put("name", backend_name(snapshot));
    }
    put_lease(namespace.bucket("leases").bucket(LEASE), images, snapshots, epoch);
    root
}

/// The snapshot's name in the snapshotter's own database (`createKey` in snapshot.go).
pub(crate) fn backend_name(snapshot: &Snapshot) -> String {
    format!("{NAMESPACE}/{}/{}", snapshot.number, snapshot.chain_id)
}

/// `createdat` and `updatedat`, as all of containerd's records have them (`boltutil.WriteTimestamps`).
pub(crate) fn put_times(bucket: &mut Bucket, epoch: u64) {
    bucket.put("createdat", go_time(epoch)).put("updatedat", go_time(epoch));
}

fn put_image(bucket: &mut Bucket, image: &StoredImage<'_>, epoch: u64) {
    put_times(bucket, epoch);
    for (key, value) in IMAGE_LABELS {
        bucket.bucket("labels").put(key, value);
    }
    let target = bucket.bucket("target");
    target.put("digest", image.manifest.digest());
    target.put("mediatype", image.media_type.as_str());
    target.put("size", varint(image.manifest.bytes.len() as u64));
}

fn put_blob(bucket: &mut Bucket, size: usize, labels: [(String, String); 1], epoch: u64) {
    put_times(bucket, epoch);
    for (key, value) in labels {
        bucket.bucket("labels").put(key, value);
    }
    bucket.put("size", varint(size as u64));
}

fn put_lease(bucket: &mut Bucket, images: &[StoredImage<'_>], snapshots: &[Snapshot], epoch: u64) {
    bucket.put("createdat", go_time(epoch));
    for image in images {
        let content = bucket.bucket("content");
        content.put(image.manifest.digest(), "").put(image.config.digest(), "");
    }
    for snapshot in snapshots {
        bucket.bucket("snapshots").bucket(SNAPSHOTTER).put(snapshot.chain_id.as_str(), "");
    }
}
