//! kubeadm: as few processes as can be, with configuration files that only root can read.

use super::{Formation, certs, files};
use crate::machine;
use crate::process::ProcessError;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::Role;
use nodeimg_init_core::etcd_gateway;
use nodeimg_init_core::formation::{EtcdMember, EtcdStart};
use nodeimg_init_core::hidden::hidden;
use nodeimg_init_core::kubeadm::{self, Discovery, Phase, Variant};
use nodeimg_init_core::pki;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// kubeadm's kubeconfig of an administrator.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The one that RBAC does not bind; gone after birth.
pub const SUPER_ADMIN: &str = "/etc/kubernetes/super-admin.conf";
const KUBERNETES: &str = "/etc/kubernetes";
/// The kubelet's credentials until it has its own.
pub const BOOTSTRAP_KUBELET_CONF: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// The kubelet's own.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
const ETCD_MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
const KUBELET: &str = "/var/lib/kubelet";
/// Configuration files of this boot, mode 0600.
pub const RUN: &str = "/run/nodeimg/kubeadm";
/// An empty folder as PATH: kubeadm looks there for a service manager, and waits for one that does not answer.
pub const NO_PROGRAMS: &str = "/run/nodeimg/kubeadm/no-programs";
/// Certificates and files take half a second of a real CPU.
const LOCAL_LIMIT: Duration = Duration::from_secs(180);
/// The cluster's steps wait for the API server inside kubeadm, 5 min a call.
const CLUSTER_LIMIT: Duration = Duration::from_secs(900);
/// Discovery and one phase.
const JOIN_LIMIT: Duration = Duration::from_secs(300);
const MAX_BYTES: u64 = 1 << 20;

/// Writes everything that the kubelet needs to start this node's static pods. What an earlier try left half written is
/// removed first: no kubelet has run on it.
pub fn render(f: &Formation<'_>, start: &EtcdStart) -> Result<(), Fault> {
    clear()?;
    authorities(f)?;
    let joins = match start {
        EtcdStart::Joins { members, .. } => members.iter().map(|m| initial_member(f, m)).collect(),
        _ => Vec::new(),
    };
    let variant = match start {
        EtcdStart::Born(birth) => Variant::StaticEtcd(birth),
        EtcdStart::Joins { .. } => Variant::JoiningEtcd { members: &joins },
        EtcdStart::External(_) => Variant::WithoutEtcd,
    };
    if f.config.role.value == Role::Etcd {
        let object = "kubeadm certs, etcd";
        run(
            f,
            object,
            |file| kubeadm::etcd_arguments(&[Phase::Certs, Phase::Etcd], file),
            variant,
            LOCAL_LIMIT,
        )?;
        let kubelet = kubeadm::kubelet_configuration(&f.config).map_err(|e| failed(object, e.to_string()))?;
        files::folder(KUBELET, 0o700)?;
        files::write(kubeadm::KUBELET_CONFIG, for_this_machine(kubelet).as_bytes(), 0o600)?;
    } else {
        init(f, &Phase::LOCAL, variant, LOCAL_LIMIT)?;
        let server = kubeadm::local_api(&f.config);
        let local = kubeadm::with_server(&files::text(KUBELET_CONF, MAX_BYTES)?, &server)
            .map_err(|e| failed("kubelet.conf", e.to_string()))?;
        files::write(KUBELET_CONF, local.as_bytes(), 0o600)?;
    }
    f.memory.credentials.set(true);
    sync()
}

/// Everything that was written for the kubelet is on the disk.
pub fn sync() -> Result<(), Fault> {
    files::sync_file_system(KUBERNETES)?;
    files::sync_file_system(KUBELET)
}

/// What nodeinit's own questions to a running cluster need, on a node that has rendered nothing yet: certificates and
/// kubeconfigs, made anew in every boot, for the seed may be another one.
pub fn credentials(f: &Formation<'_>) -> Result<(), Fault> {
    if has_credentials(f) {
        return Ok(());
    }
    clear()?;
    authorities(f)?;
    if f.config.role.value == Role::Etcd {
        let certs = |file: &str| kubeadm::etcd_arguments(&[Phase::Certs], file);
        run(f, "kubeadm certs", certs, Variant::WithoutEtcd, LOCAL_LIMIT)?;
    } else {
        init(f, &[Phase::Certs, Phase::Kubeconfig], Variant::WithoutEtcd, LOCAL_LIMIT)?;
    }
    f.memory.credentials.set(true);
    Ok(())
}

/// Whether [`credentials`] has nothing to do.
pub fn has_credentials(f: &Formation<'_>) -> bool {
    f.memory.credentials.get() || f.memory.opened.get().is_some()
}

pub fn clear() -> Result<(), Fault> {
    files::empty(KUBERNETES)?;
    files::empty(Path::new(KUBELET).join("pki"))
}

/// The seed's CAs and keys, or those that another control plane uploaded.
pub fn authorities(f: &Formation<'_>) -> Result<(), Fault> {
    if f.config.fetches_keys() {
        return certs::fetch(f);
    }
    files::folder(Path::new(pki::DIR), 0o700)?;
    files::folder(Path::new(pki::DIR).join("etcd"), 0o700)?;
    for file in pki::files(&f.config) {
        files::keep(Path::new(pki::DIR).join(file.path), file.content.as_bytes(), file.mode)?;
    }
    Ok(())
}

/// Name and peer URL for `--initial-cluster`. etcd compares URLs with the running members'; a name that is not known yet
/// is this node's own, or needs to be no other's.
fn initial_member(f: &Formation<'_>, member: &EtcdMember) -> (String, String) {
    let name = match member {
        m if Some(m.address) == f.config.address => f.config.name.value.to_string(),
        m if m.name.is_empty() => format!("{:x}", m.id),
        m => m.name.clone(),
    };
    (name, etcd_gateway::peer_url(member.address))
}

/// etcd has started well before: from now on an empty data folder is refused by etcd itself.
pub fn settle_etcd() -> Result<(), Fault> {
    let manifest = files::text(ETCD_MANIFEST, MAX_BYTES)?;
    let settled =
        kubeadm::with_existing_state(&manifest).map_err(|e| failed(ETCD_MANIFEST, e.to_string()))?;
    if settled == manifest { Ok(()) } else { files::write(ETCD_MANIFEST, settled.as_bytes(), 0o600) }
}

/// The phases that talk to the cluster, and this node's own last ones. With the default admin.conf, so that kubeadm binds the administrators' group.
pub fn publish(f: &Formation<'_>, phases: &[Phase]) -> Result<(), Fault> {
    init(f, phases, Variant::Cluster { now: crate::clock::now() }, CLUSTER_LIMIT)
}

/// Uploads the CAs and keys that lie in kubeadm's folder.
pub fn upload_certs(f: &Formation<'_>) -> Result<(), Fault> {
    let variant = Variant::Cluster { now: crate::clock::now() };
    run(f, "kubeadm upload-certs", kubeadm::upload_certs_arguments, variant, CLUSTER_LIMIT)
}

fn init(f: &Formation<'_>, phases: &[Phase], variant: Variant<'_>, limit: Duration) -> Result<(), Fault> {
    let names: Vec<_> = phases.iter().map(|p| p.text()).collect();
    let object = format!("kubeadm {}", names.join(", "));
    run(f, &object, |file| kubeadm::init_arguments(phases, file), variant, limit)
}

fn for_this_machine(documents: String) -> String {
    match machine::namespace() {
        Some(namespace) => kubeadm::for_namespace(&documents, namespace.cgroups),
        None => documents,
    }
}

fn run(
    f: &Formation<'_>,
    object: &str,
    arguments: impl FnOnce(&str) -> Vec<String>,
    variant: Variant<'_>,
    limit: Duration,
) -> Result<(), Fault> {
    f.reporter.line(object);
    let text =
        kubeadm::configuration(&f.config, &f.image, variant).map_err(|e| failed(object, e.to_string()))?;
    let text = for_this_machine(text);
    let file: PathBuf = Path::new(RUN).join(match variant {
        Variant::Cluster { .. } => "cluster.yaml",
        Variant::StaticEtcd(_) | Variant::JoiningEtcd { .. } | Variant::WithoutEtcd => "local.yaml",
    });
    let by_file = arguments(&file.display().to_string());
    for_a_while(&[(&file, &text)], || kubeadm(f, object, by_file, limit))
}

/// Has files while something is done: they hold tokens, keys, the certificate key, and go, whatever comes of it.
fn for_a_while<T>(all: &[(&Path, &str)], work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let write = |(path, text): &(&Path, &str)| {
        path.parent().map_or(Ok(()), |folder| files::folder(folder, 0o700))?;
        files::write(path, text.as_bytes(), 0o600)
    };
    let done = all.iter().try_for_each(write).and_then(|()| work());
    // Each of them, whether or not another one can be removed.
    let removed: Vec<_> = all.iter().map(|(path, _)| files::remove(path)).collect();
    let done = done?;
    removed.into_iter().collect::<Result<Vec<()>, _>>().map(|_| done)
}

/// One phase of kubeadm's join, by the seed's token.
pub fn join(
    f: &Formation<'_>,
    object: &str,
    arguments: impl FnOnce(&str) -> Vec<String>,
    patches: Option<&str>,
) -> Result<(), Fault> {
    let not_rendered = |e: kubeadm::NotRendered| failed(object, e.to_string());
    f.reporter.line(object);
    let (discovery, file) = (Path::new(RUN).join("discovery.conf"), Path::new(RUN).join("join.yaml"));
    let kubeconfig = kubeadm::discovery_kubeconfig(&f.config).map_err(not_rendered)?;
    let by_file = discovery.display().to_string();
    let text =
        kubeadm::join_configuration(&f.config, Discovery::File(&by_file), patches).map_err(not_rendered)?;
    let arguments = arguments(&file.display().to_string());
    for_a_while(&[(&discovery, &kubeconfig), (&file, &text)], || kubeadm(f, object, arguments, JOIN_LIMIT))
}

/// One kubeadm process.
fn kubeadm(f: &Formation<'_>, object: &str, arguments: Vec<String>, limit: Duration) -> Result<(), Fault> {
    files::folder(NO_PROGRAMS, 0o700)?;
    let mut command = Command::new("/usr/bin/kubeadm");
    command.args(arguments).env_clear().env("PATH", NO_PROGRAMS);
    f.processes.check(command, limit).map(drop).map_err(|e| failed(object, said(&e)))
}

pub fn failed(object: &str, cause: String) -> Fault {
    Fault {
        code: Code::KubeadmFailed,
        object: object.into(),
        cause,
        help:
            "correct what kubeadm names (\"nodeinit explain\" shows what it was told); nodeinit runs it again"
                .into(),
    }
}

/// kubeadm's complaint without what may be a secret: its own messages name none, a Go error may quote a request.
pub fn said(e: &ProcessError) -> String {
    hidden(&e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_with_secrets_go_whatever_comes_of_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, other) = (dir.path().join("run/a.yaml"), dir.path().join("run/b.yaml"));
        let both = [(one.as_path(), "token: a"), (other.as_path(), "token: b")];
        let left = || std::fs::read_dir(dir.path().join("run")).expect("a folder").count();
        let there = || {
            let mode = std::fs::metadata(&one).expect("there").permissions().mode();
            assert_eq!(
                (mode & 0o777, std::fs::read_to_string(&other).expect("there")),
                (0o600, "token: b".into())
            );
        };
        assert_eq!(
            for_a_while(&both, || {
                there();
                Ok(())
            }),
            Ok(())
        );
        assert_eq!(left(), 0);
        let fault = failed("kubeadm", "it failed".into());
        assert_eq!(for_a_while(&both, || Err::<(), _>(fault.clone())), Err(fault));
        assert_eq!(left(), 0);
        // The second cannot be written: the first goes as well, and nothing is done.
        std::fs::create_dir_all(other.join("in the way")).expect("a folder");
        let done = for_a_while(&both, || -> Result<(), Fault> { panic!("it is not done") });
        assert!(done.is_err() && !one.exists());
    }

    #[test]
    fn a_complaint_has_no_secrets() {
        let key = "0123456789abcdef".repeat(4);
        let e = ProcessError::Failed {
            program: "kubeadm".into(),
            status: crate::process::Exit::Code(1),
            complaint: format!("certificateKey={key}\ttoken:abcdef.0123456789abcdef; no such host"),
        };
        let said = said(&e);
        assert!(!said.contains(&key) && !said.contains("0123456789abcdef"), "{said}");
        assert!(said.contains("no such host") && said.contains("certificateKey="), "{said}");
    }
}
