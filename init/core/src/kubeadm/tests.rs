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
