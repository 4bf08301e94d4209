//! What nodeinit decides: seed, node config, formation.
//!
//! Takes bytes and typed values, gives typed values and actions. Pure: no files, no sockets, no clock, no environment;
//! the agent (`init/agent`) does what is decided here.

pub mod addon;
pub mod consent;
pub mod dhcp;
pub mod formation;
pub mod kubeadm;
pub mod modalias;
pub mod network;
pub mod nocloud;
pub mod node_config;
pub mod partition_table;
pub mod pki;
pub mod resolv;
pub mod seed;
pub mod template;
