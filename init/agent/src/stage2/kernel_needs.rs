//! What Kubernetes wants of a kernel: modules, sysctls, no swap.
//!
//! Sources: kubeadm's system verification, the kubelet's `protectKernelDefaults` (pkg/kubelet/cm,
//! setupKernelTunables), kube-proxy in nftables mode, flannel's vxlan.

use crate::machine;
use crate::modules::Modules;
use crate::report::Reporter;
use std::path::Path;

/// Loaded at once; a container may not load one itself.
const MODULES: [&str; 24] = [
    "overlay",
    "br_netfilter",
    "bridge",
    "veth",
    "vxlan",
    "nf_conntrack",
    "nf_tables",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_chain_nat",
    "nft_compat",
    "nft_fib_inet",
    "nft_numgen",
    "nft_reject_inet",
    "xt_comment",
    "xt_mark",
    "xt_conntrack",
    "xt_MASQUERADE",
    "xt_nat",
    "xt_addrtype",
    "xt_multiport",
    "xt_statistic",
    "dummy",
];

/// Those that a node cannot do without.
const NEEDED: [&str; 3] = ["overlay", "br_netfilter", "nf_tables"];

const SYSCTLS: [(&str, &str); 17] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/bridge/bridge-nf-call-ip6tables", "1"),
    // Pods reach Services by other ways than they are answered.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // The kubelet's kernel defaults.
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
    // Many pods on one kernel.
    ("kernel/pid_max", "4194304"),
    ("vm/max_map_count", "262144"),
    ("fs/inotify/max_user_instances", "8192"),
    ("fs/inotify/max_user_watches", "524288"),
    ("fs/file-max", "2097152"),
];

fn load_modules(reporter: &Reporter) {
    let mut modules = Modules::by_name();
    for name in MODULES {
        if let Err(e) = modules.load(name)
            && NEEDED.contains(&name)
        {
            reporter.warn(e.to_string());
        }
    }
}

/// Provides them. What cannot be had is a warning: the part that needs it tells by itself what does not work.
pub fn provide(reporter: &Reporter) {
    let shared = machine::namespace().is_some();
    if !shared {
        load_modules(reporter);
    }
    for (key, value) in SYSCTLS {
        // The other ones are the host's.
        if shared && !key.starts_with("net/") {
            continue;
        }
        let path = Path::new("/proc/sys").join(key);
        // A kernel without IPv6 or bridges has nothing to set there.
        if path.exists()
            && let Err(e) = std::fs::write(&path, value)
        {
            reporter.warn(format!("sysctl {} could not be set: {e}", key.replace('/', ".")));
        }
    }
    if std::fs::read_to_string("/proc/swaps").is_ok_and(|t| t.lines().count() > 1) {
        reporter.warn("swap is on: the kubelet refuses to start with it");
    }
}
