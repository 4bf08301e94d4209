//! The configuration of a node that is a namespace of a lab: what its kernel, which is the host's, does not let it do.

use nodeimg_contract::machine::Cgroups;

/// Adds to rendered documents: kube-proxy leaves `nf_conntrack_max` alone (read-only in a network namespace), and on
/// cgroup v1 the kubelet does not refuse to start (`failCgroupV1`, KubeletConfiguration v1beta1).
pub fn for_namespace(documents: &str, cgroups: Cgroups) -> String {
    let changed = documents.split("---\n").map(|document| {
        let is = |kind: &str| {
            let named = document.lines().find_map(|line| line.strip_prefix("kind: "));
            named.is_some_and(|named| named.trim_matches(['"', '\'']) == kind)
        };
        let more = if is("KubeletConfiguration") && cgroups == Cgroups::V1 {
            "failCgroupV1: false\n"
        } else if is("KubeProxyConfiguration") {
            "conntrack:\n  maxPerCore: 0\n"
        } else {
            ""
        };
        format!("{document}{more}")
    });
    changed.collect::<Vec<_>>().join("---\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelet_and_kube_proxy_get_a_word_each() {
        let documents = "kind: \"ClusterConfiguration\"\n---\nkind: 'KubeletConfiguration'\n---\nkind: \"KubeProxyConfiguration\"\n";
        assert_eq!(
            for_namespace(documents, Cgroups::V1),
            "kind: \"ClusterConfiguration\"\n---\nkind: 'KubeletConfiguration'\nfailCgroupV1: false\n---\n\
             kind: \"KubeProxyConfiguration\"\nconntrack:\n  maxPerCore: 0\n"
        );
        assert!(!for_namespace(documents, Cgroups::V2).contains("failCgroupV1"));
    }
}
