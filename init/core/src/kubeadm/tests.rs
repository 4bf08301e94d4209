use super::*;

#[test]
fn one_process_runs_the_phases_that_were_named() {
    let arguments = init_arguments(&[Phase::UploadConfig, Phase::Addon], "/run/nodeimg/kubeadm/cluster.yaml");
    let skip = arguments.iter().find_map(|a| a.strip_prefix("--skip-phases=")).expect("skipped phases");
    let skipped: Vec<_> = skip.split(',').collect();
    assert!(!skipped.contains(&"upload-config") && !skipped.contains(&"addon"));
    for phase in
        ["preflight", "certs", "kubelet-start", "wait-control-plane", "upload-certs", "show-join-command"]
    {
        assert!(skipped.contains(&phase), "{phase}");
    }
}

#[test]
fn an_etcd_node_makes_no_certificate_but_etcds() {
    let arguments = etcd_arguments(&[Phase::Certs, Phase::Etcd], "/run/nodeimg/kubeadm/local.yaml");
    let skip = arguments.iter().find_map(|a| a.strip_prefix("--skip-phases=")).expect("skipped phases");
    let skipped: Vec<_> = skip.split(',').collect();
    for phase in ["certs/ca", "certs/apiserver", "certs/sa", "control-plane", "kubelet-start", "kubeconfig"] {
        assert!(skipped.contains(&phase), "{phase}");
    }
    for phase in ["certs", "etcd", "certs/etcd-ca", "certs/etcd-server", "certs/etcd-healthcheck-client"] {
        assert!(!skipped.contains(&phase), "{phase}");
    }
}
