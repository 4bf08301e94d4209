//! One key of etcd: read through the quorum, written unless it has changed since.
//!
//! Keys and values are base64 in the gateway's JSON. A key that is not there has revision 0.

use super::{BadAnswer, number};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

/// Where an etcd on nodes of its own keeps the cluster's record, as the JSON of the ConfigMap that other clusters have.
/// Everything of Kubernetes lies below `/registry`.
pub const RECORD_KEY: &str = "/nodeimg/cluster";

/// `POST` with [`range`].
pub const RANGE: &str = "/v3/kv/range";
/// `POST` with [`put_if_unchanged`].
pub const TXN: &str = "/v3/kv/txn";

/// A key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The bytes.
    pub value: Vec<u8>,
    /// Revision of its last change.
    pub revision: u64,
}

#[derive(Deserialize)]
struct RangeAnswer {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}
#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
    mod_revision: String,
}
#[derive(Deserialize)]
struct TxnAnswer {
    #[serde(rename = "header")]
    _header: serde::de::IgnoredAny,
    #[serde(default)]
    succeeded: bool,
}

/// Body of [`RANGE`]: one key.
pub fn range(key: &str) -> String {
    json!({ "key": STANDARD.encode(key) }).to_string()
}

/// Reads the answer to [`RANGE`]; `None`: there is no such key.
pub fn kept(bytes: &[u8]) -> Result<Option<Kept>, BadAnswer> {
    let answer: RangeAnswer = serde_json::from_slice(bytes).map_err(|_| BadAnswer)?;
    let Some(found) = answer.kvs.into_iter().next() else { return Ok(None) };
    let value = STANDARD.decode(found.value).map_err(|_| BadAnswer)?;
    Ok(Some(Kept { value, revision: number(&found.mod_revision)? }))
}

/// Body of [`TXN`]: the value is put if the key still has this revision (0: is still not there).
pub fn put_if_unchanged(key: &str, value: &[u8], revision: u64) -> String {
    let key = STANDARD.encode(key);
    json!({
        "compare": [{ "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string() }],
        "success": [{ "request_put": { "key": key, "value": STANDARD.encode(value) } }],
    })
    .to_string()
}

/// Reads the answer to [`TXN`]: whether it was put.
pub fn was_put(bytes: &[u8]) -> Result<bool, BadAnswer> {
    serde_json::from_slice(bytes).map(|answer: TxnAnswer| answer.succeeded).map_err(|_| BadAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_read_and_written_as_the_gateway_has_it() {
        // As etcd 3.6 answers.
        let read = br#"{"header":{"cluster_id":"1","member_id":"2","revision":"7","raft_term":"2"},
            "kvs":[{"key":"L25vZGVpbWcvY2x1c3Rlcg==","create_revision":"3","mod_revision":"5","version":"2","value":"e30="}],"count":"1"}"#;
        assert_eq!(kept(read), Ok(Some(Kept { value: b"{}".to_vec(), revision: 5 })));
        assert_eq!(kept(br#"{"header":{"cluster_id":"1"}}"#), Ok(None));
        assert_eq!(kept(br#"{"kvs":[{"value":"!","mod_revision":"5"}]}"#), Err(BadAnswer));
        assert_eq!(was_put(br#"{"header":{},"succeeded":true,"responses":[{}]}"#), Ok(true));
        assert_eq!(was_put(br#"{"header":{},"responses":[]}"#), Ok(false));
        assert_eq!(was_put(b"{}"), Err(BadAnswer), "another answer than that to a transaction");
        assert!(range(RECORD_KEY).contains("L25vZGVpbWcvY2x1c3Rlcg=="));
        assert!(put_if_unchanged("k", b"v", 0).contains(r#""mod_revision":"0""#));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (kept(&bytes), was_put(&bytes));
        }
    }
}
