//! Where a cluster keeps its record: in a ConfigMap, or, when etcd runs on nodes of its own, in etcd itself, for those nodes
//! reach no API server.

use super::api::Api;
use super::etcd::Etcd;
use super::look::Way;
use super::{external, records};
use nodeimg_contract::fault::Fault;
use nodeimg_contract::image::Role;
use nodeimg_init_core::formation::ClusterRecord;
use nodeimg_init_core::node_config::NodeConfig;
use std::net::IpAddr;

/// The place, and through whom it is read and written.
pub enum Book {
    /// The ConfigMap, through an API server.
    Api(Api),
    /// etcd's own key, through a member.
    Etcd(Etcd, IpAddr),
}

impl Book {
    /// Through this node's own API server, or its own etcd.
    pub fn own(config: &NodeConfig) -> Result<Self, Fault> {
        match (config.role.value, config.address) {
            (Role::Etcd, Some(own)) => Self::in_etcd(own),
            _ => Api::connect(config).map(Self::Api),
        }
    }

    /// Through a member, while this node is none.
    pub fn through(config: &NodeConfig, way: Way) -> Result<Self, Fault> {
        match config.role.value {
            Role::Etcd => Self::in_etcd(way.etcd),
            _ => Api::at(config, way.api).map(Self::Api),
        }
    }

    /// Through an etcd member, whatever this node's role.
    pub fn in_etcd(at: IpAddr) -> Result<Self, Fault> {
        Ok(Self::Etcd(Etcd::connect().map_err(|why| external::fault_at(at, why))?, at))
    }

    /// The record; `None`: there is none.
    pub fn read(&self) -> Result<Option<ClusterRecord>, Fault> {
        match self {
            Book::Api(api) => records::read_through(api),
            Book::Etcd(etcd, at) => etcd.record(*at).map_err(|why| external::fault_at(*at, why)),
        }
    }

    /// Whether it was written; `false`: somebody wrote it in between.
    pub fn write(&self, record: &ClusterRecord) -> Result<bool, Fault> {
        match self {
            Book::Api(api) => records::write_through(api, record),
            Book::Etcd(etcd, at) => {
                etcd.write_record(*at, record).map_err(|why| external::fault_at(*at, why))
            }
        }
    }
}
