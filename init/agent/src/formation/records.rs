//! Records: on the etcd file system, on the state partition, in the cluster.

use super::api::{Answer, Api};
use super::book::Book;
use super::{Formation, files};
use nodeimg_contract::birth::{BirthId, Incarnation};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::etcd_wal;
use nodeimg_init_core::formation::{ClusterRecord, EtcdData, Event, NodeRecord, Record, RecordFile};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// [`NodeRecord`] on the state partition.
const NODE_RECORD: &str = "/var/lib/nodeimg/formation.json";
/// etcd's own folder of data, below its data folder.
const MEMBER: &str = "member";
const MAX_BYTES: u64 = 1 << 20;

/// What both file systems hold, and a random incarnation for a blank node.
pub fn read() -> Result<Event, Fault> {
    let record = files::read(paths::RECORD, MAX_BYTES)?;
    let node = files::read(NODE_RECORD, MAX_BYTES)?;
    Ok(Event::Disks {
        record: RecordFile::read(record.as_deref(), Record::from_bytes),
        node: RecordFile::read(node.as_deref(), NodeRecord::from_bytes),
        etcd: etcd_data(Path::new(paths::ETCD)),
        fresh: fresh()?,
    })
}

/// What etcd's folder holds. Anything that cannot be read is data.
pub fn etcd_data(folder: &Path) -> EtcdData {
    let member = folder.join(MEMBER);
    match std::fs::symlink_metadata(&member) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => EtcdData::Absent,
        Ok(_) if is_unstarted(&member).unwrap_or(false) => EtcdData::Unstarted,
        Ok(_) if is_birth_alone(&member).unwrap_or(false) => EtcdData::Empty,
        _ => EtcdData::Present,
    }
}

/// No log (etcd renames a whole one into its place once it knows its cluster, and votes after that), and no snapshot. The
/// database is made before.
fn is_unstarted(member: &Path) -> std::io::Result<bool> {
    // What a link leads to may only be absent now: it is no folder of etcd's making.
    let is_there = |folder: &str| match std::fs::symlink_metadata(member.join(folder)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true),
    };
    if !std::fs::symlink_metadata(member)?.is_dir() || is_there("wal")? {
        return Ok(false);
    }
    if !is_there("snap")? {
        return Ok(true);
    }
    let names: Vec<_> = std::fs::read_dir(member.join("snap"))?
        .map(|e| e.map(|e| e.file_name()))
        .collect::<Result<_, _>>()?;
    Ok(names.iter().all(|name| name == "db"))
}

/// No snapshot, and a single segment of the log with nothing but the birth in it.
fn is_birth_alone(member: &Path) -> std::io::Result<bool> {
    let names = |folder: &str| -> std::io::Result<Vec<_>> {
        std::fs::read_dir(member.join(folder))?.map(|e| e.map(|e| e.path())).collect()
    };
    let ends = |path: &Path, with: &str| path.extension().is_some_and(|e| e == with);
    if names("snap")?.iter().any(|path| !path.ends_with("db")) {
        return Ok(false);
    }
    let log = names("wal")?;
    let segments: Vec<_> = log.iter().filter(|path| ends(path, "wal")).collect();
    let [segment] = segments.as_slice() else { return Ok(false) };
    let mut bytes = Vec::new();
    File::open(segment)?.take(etcd_wal::MAX_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(etcd_wal::is_birth_alone(&bytes))
}

/// A random one.
pub fn fresh() -> Result<Incarnation, Fault> {
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

/// Clears etcd's data, then the record, then the node record (which says that this goes on), each synced.
pub fn clear() -> Result<(), Fault> {
    let member = Path::new(paths::ETCD).join(MEMBER);
    match std::fs::remove_dir_all(&member) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(files::failed(&member, &e)),
        _ => files::sync_file_system(paths::ETCD)?,
    }
    for path in [paths::RECORD, NODE_RECORD] {
        files::remove(path)?;
        if let Some(folder) = Path::new(path).parent().filter(|f| f.exists()) {
            files::sync_file_system(folder)?;
        }
    }
    Ok(())
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

/// The ConfigMap's place in the API.
pub fn path() -> String {
    format!("{}/{}", folder(), ClusterRecord::NAME)
}

fn folder() -> String {
    format!("/api/v1/namespaces/{}/configmaps", ClusterRecord::NAMESPACE)
}

/// The cluster's record; `None`: there is none.
pub fn read_cluster_record(f: &Formation<'_>) -> Result<Option<ClusterRecord>, Fault> {
    let record = Book::own(&f.config)?.read()?;
    if let Some(record) = &record {
        f.desk.watches(record);
    }
    Ok(record)
}

/// The same, through an API server that is given.
pub fn read_through(api: &Api) -> Result<Option<ClusterRecord>, Fault> {
    parse(&api.get(&path())?)
}

/// The name of a cluster that nodeimg did not make.
pub fn adopted(api: &Api) -> Result<Option<BirthId>, Fault> {
    const NAMESPACE: &str = "/api/v1/namespaces/kube-system";
    let answer = api.get(NAMESPACE)?;
    if !answer.is_success() {
        return Err(answer.fault(NAMESPACE));
    }
    let namespace: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok(namespace.pointer("/metadata/uid").and_then(|uid| uid.as_str()).map(BirthId::adopted))
}

/// What an API server answered.
pub fn parse(answer: &Answer) -> Result<Option<ClusterRecord>, Fault> {
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

/// Creates the record, or replaces the one that was read; a joining node does so through a member.
pub fn write_cluster_record(f: &Formation<'_>, record: &ClusterRecord) -> Result<Event, Fault> {
    let book = match f.memory.way.get() {
        Some(way) => Book::through(&f.config, way)?,
        None => Book::own(&f.config)?,
    };
    Ok(if book.write(record)? {
        Event::ClusterRecordWritten(record.clone())
    } else {
        Event::ClusterRecordConflict
    })
}

/// Whether it was written; `false`: somebody wrote it in between.
pub fn write_through(api: &Api, record: &ClusterRecord) -> Result<bool, Fault> {
    let body = record.to_json().map_err(|e| Fault {
        code: Code::RecordMismatch,
        object: path(),
        cause: e.to_string(),
        help: "report this as a bug".into(),
    })?;
    let answer = match record.resource_version() {
        Some(_) => api.put(&path(), &body)?,
        None => api.post(&folder(), &body)?,
    };
    match answer.status {
        404 | 409 => Ok(false),
        _ if answer.is_success() => Ok(true),
        _ => Err(answer.fault(&path())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_data() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(etcd_data(dir.path()), EtcdData::Absent);
        let (snap, wal) = (dir.path().join("member/snap"), dir.path().join("member/wal"));
        std::fs::create_dir_all(&snap).expect("made");
        std::fs::write(snap.join("db"), "db").expect("written");
        std::fs::create_dir_all(dir.path().join("member/wal.tmp")).expect("made");
        assert_eq!(etcd_data(dir.path()), EtcdData::Unstarted, "no log yet");
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).expect("made");
        std::os::unix::fs::symlink("/nowhere", elsewhere.join(MEMBER)).expect("made");
        assert_eq!(etcd_data(&elsewhere), EtcdData::Present, "what it leads to is absent now");
        let old = snap.join("0000000000000002-0000000000000005.snap");
        std::fs::write(&old, "s").expect("written");
        assert_eq!(etcd_data(dir.path()), EtcdData::Present, "a snapshot, and its log is lost");
        std::fs::remove_file(&old).expect("removed");
        std::fs::create_dir_all(&wal).expect("made");
        assert_eq!(etcd_data(dir.path()), EtcdData::Present, "a log without its segment");
        std::fs::write(wal.join("0000000000000000-0000000000000000.wal"), [0; 4096]).expect("written");
        std::fs::write(wal.join("0.tmp"), [0; 64]).expect("written");
        assert_eq!(etcd_data(dir.path()), EtcdData::Empty);
        std::fs::write(snap.join("0000000000000002-0000000000000005.snap"), "s").expect("written");
        assert_eq!(etcd_data(dir.path()), EtcdData::Present, "a snapshot");
        std::fs::remove_dir_all(&snap).expect("removed");
        std::fs::write(wal.join("0000000000000001-0000000000000009.wal"), "").expect("written");
        assert_eq!(etcd_data(dir.path()), EtcdData::Present, "a second segment");
    }
}
