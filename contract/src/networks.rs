//! Networks of pods and services, and the ports that a node needs itself: kubeadm's bounds.

use std::ops::RangeInclusive;

/// kubeadm has no default; flannel's and most guides'.
pub const DEFAULT_POD: &str = "10.244.0.0/16";
/// kubeadm's default.
pub const DEFAULT_SERVICE: &str = "10.96.0.0/12";

/// Ports of a control plane on which etcd, the kubelet, the controller manager or the scheduler listen.
pub const NODE_PORTS: [u16; 6] = [2379, 2380, 2381, 10250, 10257, 10259];

/// Prefix lengths of a pod network: node masks are /24 and /64, at most 2^16 nodes.
pub fn pod_lengths(v4: bool) -> RangeInclusive<u8> {
    if v4 { 8..=24 } else { 48..=64 }
}

/// Prefix lengths of a service network: at most 2^20 services, 16 at least.
pub fn service_lengths(v4: bool) -> RangeInclusive<u8> {
    if v4 { 12..=28 } else { 108..=124 }
}
