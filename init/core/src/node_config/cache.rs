//! The NodeConfig as it lies on the state partition, and what may not change against it.

use super::{NodeConfig, Problem};
use nodeimg_contract::fault::Code;
use nodeimg_contract::image::Role;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

const SCHEMA: u32 = 2;
/// Schema 1 is the one of a single control plane: what it lacks has defaults.
const OLDEST: u32 = 1;
const MAX_BYTES: usize = 4 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cached<T> {
    schema: u32,
    config: T,
}

fn own_address_field(role: Role) -> &'static str {
    match role {
        Role::Etcd => "nodeimg.etcdNodes (own address)",
        _ => "nodeimg.controlPlanes (own address)",
    }
}

fn shown(address: Option<IpAddr>) -> String {
    address.map(|a| a.to_string()).unwrap_or_default()
}

/// A cached NodeConfig that cannot be used. Never repeats its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCache {
    /// Not our JSON.
    #[error("the cached node config is damaged")]
    Damaged,
    /// From a newer nodeinit.
    #[error("the cached node config was written by a newer nodeimg (schema {0})")]
    Newer(u32),
}

impl NodeConfig {
    /// The bytes for the state partition. They hold private keys: the file's mode must be 0600.
    pub fn to_cache(&self) -> Result<Vec<u8>, BadCache> {
        serde_json::to_vec_pretty(&Cached { schema: SCHEMA, config: self }).map_err(|_| BadCache::Damaged)
    }

    /// Reads what [`NodeConfig::to_cache`] wrote.
    pub fn from_cache(bytes: &[u8]) -> Result<Self, BadCache> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        if bytes.len() > MAX_BYTES {
            return Err(BadCache::Damaged);
        }
        let version: Version = serde_json::from_slice(bytes).map_err(|_| BadCache::Damaged)?;
        if !(OLDEST..=SCHEMA).contains(&version.schema) {
            return Err(BadCache::Newer(version.schema));
        }
        let cached: Cached<NodeConfig> = serde_json::from_slice(bytes).map_err(|_| BadCache::Damaged)?;
        Ok(cached.config)
    }

    /// Compares with the NodeConfig of the first boot: role, name, cluster and etcd address may not change.
    pub fn unchanged_since(&self, first: &NodeConfig) -> Result<(), Vec<Problem>> {
        let fields = [
            ("nodeimg.role", first.role.value.to_string(), self.role.value.to_string()),
            ("hostname", first.name.value.to_string(), self.name.value.to_string()),
            ("nodeimg.cluster", first.cluster.value.to_string(), self.cluster.value.to_string()),
            (own_address_field(self.role.value), shown(first.address), shown(self.address)),
        ];
        let problems: Vec<_> = fields
            .into_iter()
            .filter(|(_, was, is)| was != is)
            .map(|(field, was, is)| Problem {
                code: Code::SeedImmutable,
                field: field.into(),
                cause: format!("it was \"{was}\" at the first boot and is \"{is}\" now"),
                help:
                    "put the old value back, or wipe the state disk (nodeimg.disk) to make this another node"
                        .into(),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
