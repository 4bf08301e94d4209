//! Records: on the etcd file system, on the state partition, in the cluster.

use super::api::Api;
use super::{Formation, files};
use nodeimg_contract::birth::Incarnation;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::formation::{ClusterRecord, Event, NodeRecord, Record, RecordFile};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// [`NodeRecord`] on the state partition.
const NODE_RECORD: &str = "/var/lib/nodeimg/formation.json";
/// etcd's own folder of data.
const ETCD_MEMBER: &str = "/var/lib/etcd/member";
const MAX_BYTES: u64 = 1 << 20;

/// What both file systems hold, and a random incarnation for a blank node.
pub fn read() -> Result<Event, Fault> {
    let record = files::read(paths::RECORD, MAX_BYTES)?;
    let node = files::read(NODE_RECORD, MAX_BYTES)?;
    Ok(Event::Disks {
        record: RecordFile::read(record.as_deref(), Record::from_bytes),
        node: RecordFile::read(node.as_deref(), NodeRecord::from_bytes),
        etcd_data: Path::new(ETCD_MEMBER).exists(),
        fresh: fresh()?,
    })
}

fn fresh() -> Result<Incarnation, Fault> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0u8; 16];
    File::open(source).and_then(|mut f| f.read_exact(&mut bytes)).map_err(|e| files::failed(source, &e))?;
    Ok(Incarnation(hex::encode(bytes)))
}

pub fn write_record(record: &Record) -> Result<(), Fault> {
    files::folder(paths::ETCD, 0o700)?;
    write(paths::RECORD, record.to_bytes())
}

pub fn write_node_record(node: &NodeRecord) -> Result<(), Fault> {
    write(NODE_RECORD, node.to_bytes())
}

fn write<E: std::error::Error>(path: &str, bytes: Result<Vec<u8>, E>) -> Result<(), Fault> {
    let path = Path::new(path);
    let bytes = bytes.map_err(|e| files::failed(path, &std::io::Error::other(e.to_string())))?;
    if let Some(folder) = path.parent() {
        files::folder(folder, 0o700)?;
        // The folder's own name must be on the disk before the record in it counts.
        if let Some(above) = folder.parent() {
            File::open(above).and_then(|f| f.sync_all()).map_err(|e| files::failed(above, &e))?;
        }
    }
    files::write(path, &bytes, 0o600)
}

fn path() -> String {
    format!("/api/v1/namespaces/{}/configmaps/{}", ClusterRecord::NAMESPACE, ClusterRecord::NAME)
}

/// The cluster's record; `None`: there is none.
pub fn read_cluster_record(f: &Formation<'_>) -> Result<Option<ClusterRecord>, Fault> {
    let answer = Api::connect(&f.config)?.get(&path())?;
    match answer.status {
        200 => ClusterRecord::from_json(&answer.body).map(Some).map_err(|e| Fault {
            code: Code::RecordMismatch,
            object: format!("ConfigMap {}/{}", ClusterRecord::NAMESPACE, ClusterRecord::NAME),
            cause: e.to_string(),
            help: "restore the ConfigMap; nothing is applied to the cluster before".into(),
        }),
        404 => Ok(None),
        _ => Err(answer.fault(&path())),
    }
}

/// Creates the record, or replaces it.
pub fn write_cluster_record(f: &Formation<'_>, record: &ClusterRecord) -> Result<(), Fault> {
    let body = record.to_json().map_err(|e| Fault {
        code: Code::RecordMismatch,
        object: path(),
        cause: e.to_string(),
        help: "report this as a bug".into(),
    })?;
    let api = Api::connect(&f.config)?;
    let answer = api.put(&path(), &body)?;
    let answer = if answer.status == 404 {
        api.post(&format!("/api/v1/namespaces/{}/configmaps", ClusterRecord::NAMESPACE), &body)?
    } else {
        answer
    };
    if answer.is_success() { Ok(()) } else { Err(answer.fault(&path())) }
}
