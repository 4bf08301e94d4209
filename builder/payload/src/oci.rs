//! Configuration and manifest of a single-layer image, as bytes with their digests.
//!
//! Takes a layer's digest and an image's description. Gives the two JSON documents. Pure: field order is the order of
//! the structs below, no map is iterated, no clock is read.
//!
//! Source of the format: OCI image-spec, config.md and manifest.md.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::layer::LayerDigest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A JSON document and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// The bytes that the digest is of.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn of(document: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(document).expect("strings and numbers always serialize");
        Self { sha256: hex::encode(Sha256::digest(&bytes)), bytes }
    }

    /// `sha256:…`, as manifests name it.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }
}

/// The two documents of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// What runs, and the layer's diff ID.
    pub config: Blob,
    /// What belongs together.
    pub manifest: Blob,
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
pub fn rfc3339(epoch: u64) -> String {
    let seconds = i64::try_from(epoch).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Writes the documents of an image that has this one layer; `created` is RFC 3339.
pub fn documents(layer: &LayerDigest, entrypoint: &[String], created: &str) -> Documents {
    let layer_digest = format!("sha256:{}", layer.sha256);
    let config = Blob::of(&Config {
        created,
        architecture: "amd64",
        os: "linux",
        config: Run { env: [PATH], entrypoint, working_dir: "/" },
        rootfs: RootFs { kind: "layers", diff_ids: [&layer_digest] },
        history: [History { created, created_by: "nodeimg" }],
    });
    let manifest = Blob::of(&Manifest {
        schema_version: 2,
        media_type: MANIFEST,
        config: Descriptor { media_type: CONFIG, digest: &config.digest(), size: config.bytes.len() as u64 },
        layers: [Descriptor { media_type: LAYER, digest: &layer_digest, size: layer.size }],
    });
    Documents { config, manifest }
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: Run<'a>,
    rootfs: RootFs<'a>,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    env: [&'a str; 1],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    working_dir: &'a str,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: [&'a str; 1],
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Documents {
        let layer = LayerDigest { sha256: "ab".repeat(32), size: 1536 };
        documents(&layer, &["/pause".to_owned()], "2026-01-01T00:00:00Z")
    }

    #[test]
    fn dates_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_786_000_000), "2026-08-06T07:06:40Z");
    }

    #[test]
    fn two_writings_are_the_same_bytes() {
        assert_eq!(example(), example());
    }

    #[test]
    fn the_documents_read_as_oci() {
        let documents = example();
        let config: serde_json::Value = serde_json::from_slice(&documents.config.bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", "ab".repeat(32)));
        assert_eq!(config["config"]["Entrypoint"][0], "/pause");
        let manifest: serde_json::Value = serde_json::from_slice(&documents.manifest.bytes).unwrap();
        assert_eq!(manifest["config"]["digest"], documents.config.digest());
        assert_eq!(manifest["config"]["size"], documents.config.bytes.len());
        assert_eq!(manifest["layers"][0]["size"], 1536);
        assert_eq!(documents.manifest.sha256, hex::encode(Sha256::digest(&documents.manifest.bytes)));
    }
}
