//! What nodeinit decides: seed, node config, formation.
//!
//! Takes bytes and typed values, gives typed values and actions. Pure: no files, no sockets, no clock, no environment;
//! the agent (`init/agent`) does what is decided here.

// What a node is handed must never end it: nothing that panics on a value stands outside tests.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod addon;
pub mod consent;
pub mod dhcp;
pub mod etcd_gateway;
pub mod etcd_wal;
pub mod formation;
pub mod hidden;
pub mod kubeadm;
pub mod modalias;
pub mod network;
pub mod nocloud;
pub mod node_config;
pub mod partition_table;
pub mod peer;
pub mod pki;
pub mod resolv;
pub mod seed;
pub mod template;
