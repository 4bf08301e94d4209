//! Ways out of a cluster, by an operator's command: a dead member removed, this node reset, a lost majority recovered.
//!
//! The command does what concerns the cluster; what concerns this node's own disks is asked for in a file that is synced,
//! and done by PID 1 at the next boot, before anything of the cluster runs. That file goes last, so that a power cut at any
//! moment leaves the work to be done again, never half done.

mod carry_out;
mod recover;
mod remove;
mod reset;
mod whole_log;

pub use carry_out::carry_out;
pub use recover::recover;
pub use remove::remove_member;
pub use reset::reset;

use super::files;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::formation::Record;
use nodeimg_init_core::node_config::NodeConfig;
use serde_json::{Value, json};
use std::path::Path;

/// What PID 1 does at the next boot.
const REQUEST: &str = "/var/lib/nodeimg/request.json";
/// This boot's NodeConfig.
const SHOWN: &str = "/run/nodeimg/node-config.json";
const MAX_BYTES: u64 = 1 << 20;

/// What an operator asked for.
enum Request {
    /// Clear everything of the cluster from this node.
    Reset,
    /// Go on alone, as this record says; with what the log holds beyond the database, or without.
    Recover { record: Box<Record>, log: bool },
}

impl Request {
    fn write(&self) -> Result<(), Fault> {
        let value = match self {
            Request::Reset => json!({ "schema": 1, "request": "reset" }),
            Request::Recover { record, log } => {
                let bytes = record.to_bytes().map_err(|e| refused(e.to_string()))?;
                let record: Value = serde_json::from_slice(&bytes).map_err(|e| refused(e.to_string()))?;
                json!({ "schema": 1, "request": "recover", "record": record, "log": log })
            }
        };
        files::write(REQUEST, value.to_string().as_bytes(), 0o600)
    }

    /// `None`: nothing was asked for.
    fn read() -> Result<Option<Self>, Fault> {
        let Some(bytes) = files::read(REQUEST, MAX_BYTES)? else { return Ok(None) };
        Self::parse(&bytes).map(Some).ok_or_else(|| Fault {
            code: Code::RecordMismatch,
            object: REQUEST.into(),
            cause: "it is not what this nodeinit writes".into(),
            help: "boot the image that wrote it, or remove the file".into(),
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        if value.get("schema")?.as_u64()? != 1 {
            return None;
        }
        match value.get("request")?.as_str()? {
            "reset" => Some(Request::Reset),
            "recover" => {
                let record = Record::from_bytes(value.get("record")?.to_string().as_bytes()).ok()?;
                let log = value.get("log").is_none_or(|log| log != false);
                record.recovered_from().is_some().then(|| Request::Recover { record: Box::new(record), log })
            }
            _ => None,
        }
    }

    fn forget() -> Result<(), Fault> {
        files::remove(REQUEST)?;
        match Path::new(REQUEST).parent() {
            Some(folder) => files::sync_file_system(folder),
            None => Ok(()),
        }
    }
}

/// What this node runs as.
fn config() -> Result<NodeConfig, Fault> {
    let bytes = files::read(SHOWN, MAX_BYTES)?.ok_or_else(|| refused("this node has no seed yet".into()))?;
    NodeConfig::from_cache(&bytes).map_err(|e| refused(e.to_string()))
}

/// A command that is not carried out: the text is what an operator reads.
fn refused(cause: String) -> Fault {
    Fault { code: Code::JoinBlocked, object: "the command".into(), cause, help: "nothing was changed".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_carried_out() {
        assert!(matches!(Request::parse(br#"{"schema":1,"request":"reset"}"#), Some(Request::Reset)));
        for other in [
            &b""[..],
            b"{}",
            br#"{"schema":2,"request":"reset"}"#,
            br#"{"schema":1,"request":"recover","record":{}}"#,
        ] {
            assert!(Request::parse(other).is_none());
        }
    }
}
