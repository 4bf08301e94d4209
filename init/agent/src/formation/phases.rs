//! kubeadm: as few processes as can be, with configuration files that only root can read.

use super::{Formation, files};
use crate::process::ProcessError;
use nodeimg_contract::birth::Birth;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::kubeadm::{self, Phase, Variant};
use nodeimg_init_core::pki;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// kubeadm's kubeconfig of an administrator.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The one that RBAC does not bind; gone after birth.
pub const SUPER_ADMIN: &str = "/etc/kubernetes/super-admin.conf";
const KUBERNETES: &str = "/etc/kubernetes";
const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
const ETCD_MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
const KUBELET: &str = "/var/lib/kubelet";
/// Configuration files of this boot, mode 0600.
const RUN: &str = "/run/nodeimg/kubeadm";
/// An empty folder as PATH: kubeadm looks there for a service manager, and waits for one that does not answer.
const NO_PROGRAMS: &str = "/run/nodeimg/kubeadm/no-programs";
/// Certificates and files take half a second of a real CPU.
const LOCAL_LIMIT: Duration = Duration::from_secs(180);
/// The cluster's steps wait for the API server inside kubeadm, 5 min a call.
const CLUSTER_LIMIT: Duration = Duration::from_secs(900);
const MAX_BYTES: u64 = 1 << 20;

/// Writes everything that the kubelet needs to start this node's static pods, for this birth. What an earlier try left
/// half written is removed first: no kubelet has run on it.
pub fn render(f: &Formation<'_>, birth: &Birth) -> Result<(), Fault> {
    files::empty(KUBERNETES)?;
    files::empty(Path::new(KUBELET).join("pki"))?;
    files::folder(Path::new(pki::DIR), 0o700)?;
    files::folder(Path::new(pki::DIR).join("etcd"), 0o700)?;
    for file in pki::files(&f.config) {
        files::write(Path::new(pki::DIR).join(file.path), file.content.as_bytes(), file.mode)?;
    }
    run(f, &Phase::LOCAL, Variant::StaticEtcd(birth), LOCAL_LIMIT)?;
    let server = kubeadm::local_api(&f.config);
    let local = kubeadm::with_server(&files::text(KUBELET_CONF, MAX_BYTES)?, &server)
        .map_err(|e| failed("kubelet.conf", e.to_string()))?;
    files::write(KUBELET_CONF, local.as_bytes(), 0o600)?;
    files::sync_file_system(KUBERNETES)?;
    files::sync_file_system(KUBELET)
}

/// etcd has started well before: from now on an empty data folder is refused by etcd itself.
pub fn settle_etcd() -> Result<(), Fault> {
    let manifest = files::text(ETCD_MANIFEST, MAX_BYTES)?;
    let settled =
        kubeadm::with_existing_state(&manifest).map_err(|e| failed(ETCD_MANIFEST, e.to_string()))?;
    if settled == manifest { Ok(()) } else { files::write(ETCD_MANIFEST, settled.as_bytes(), 0o600) }
}

/// The phases that talk to the cluster. With the default admin.conf, so that kubeadm binds the administrators' group.
pub fn publish(f: &Formation<'_>, phases: &[Phase]) -> Result<(), Fault> {
    run(f, phases, Variant::Cluster { now: jiff::Timestamp::now() }, CLUSTER_LIMIT)
}

fn run(f: &Formation<'_>, phases: &[Phase], variant: Variant<'_>, limit: Duration) -> Result<(), Fault> {
    let names: Vec<_> = phases.iter().map(|p| p.text()).collect();
    let object = format!("kubeadm {}", names.join(", "));
    f.reporter.line(&object);
    let text =
        kubeadm::configuration(&f.config, &f.image, variant).map_err(|e| failed(&object, e.to_string()))?;
    files::folder(RUN, 0o700)?;
    files::folder(NO_PROGRAMS, 0o700)?;
    let file: PathBuf = Path::new(RUN).join(match variant {
        Variant::Cluster { .. } => "cluster.yaml",
        Variant::StaticEtcd(_) | Variant::JoiningEtcd { .. } | Variant::WithoutEtcd => "local.yaml",
    });
    files::write(&file, text.as_bytes(), 0o600)?;
    let mut command = Command::new("/usr/bin/kubeadm");
    command.args(kubeadm::init_arguments(phases, &file.display().to_string()));
    command.env_clear().env("PATH", NO_PROGRAMS);
    f.processes.check(command, limit).map_err(|e| failed(&object, said(&e)))?;
    files::remove(&file)
}

fn failed(object: &str, cause: String) -> Fault {
    Fault {
        code: Code::KubeadmFailed,
        object: object.into(),
        cause,
        help:
            "correct what kubeadm names (\"nodeinit explain\" shows what it was told); nodeinit runs it again"
                .into(),
    }
}

/// kubeadm's complaint without what might be a token: its own messages name none, a Go error may quote a request.
pub fn said(e: &ProcessError) -> String {
    let hide = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if nodeimg_init_core::node_config::is_bootstrap_token(bare) {
            "(secret)".to_owned()
        } else {
            word.to_owned()
        }
    };
    e.to_string().split(' ').map(hide).collect::<Vec<_>>().join(" ")
}
