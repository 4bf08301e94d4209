//! The textbook way of the cluster's keys: one control plane has them in its seed and uploads them (kubeadm's
//! `--upload-certs`); the others have a token and the certificate key, and fetch them before they join.
//!
//! kubeadm keeps them two hours in the Secret kube-system/kubeadm-certs. The one that has them uploads them again whenever
//! a listed control plane is blank: nobody types it anew.

use super::api::Api;
use super::{Formation, files, guest, perform, phases};
use nodeimg_contract::fault::Fault;
use nodeimg_init_core::formation::{Answer, Standing};
use nodeimg_init_core::kubeadm::{self, Discovery};
use std::path::Path;
use std::time::Duration;

const SECRET: &str = "/api/v1/namespaces/kube-system/secrets/kubeadm-certs";
const LIMIT: Duration = Duration::from_secs(300);

/// Uploads them if somebody needs them and they are not there.
pub fn keep(f: &Formation<'_>) -> Result<(), Fault> {
    let config = &f.config;
    let has_both = config.pki.is_some() && config.join.as_ref().is_some_and(|j| j.certificate_key.is_some());
    if !has_both || !somebody_is_blank(f) {
        return Ok(());
    }
    let found = Api::connect(config)?.get(SECRET)?;
    match found.status {
        404 => phases::upload_certs(f),
        _ if found.is_success() => Ok(()),
        _ => Err(found.fault(SECRET)),
    }
}

fn somebody_is_blank(f: &Formation<'_>) -> bool {
    let blank = |answer: &Answer| {
        matches!(
            answer,
            Answer::Said { standing: Standing::Blank { .. } | Standing::Member { holds: false, .. }, .. }
        )
    };
    f.desk.ask_all(&perform::others(f)).values().any(blank)
}

/// Whether they can be fetched now; else what to wait for.
pub fn are_there(f: &Formation<'_>) -> Result<(), String> {
    let answer = guest::ask(f, SECRET)?;
    match answer.status {
        _ if answer.is_success() => Ok(()),
        // Before the first upload nobody may read it.
        403 | 404 => Err(
            "the cluster's keys are not uploaded yet: the control plane that has them does it once it is \
                          steady and hears this node"
                .into(),
        ),
        status => Err(format!("{SECRET}: the API server says {status}")),
    }
}

/// Has kubeadm fetch them into its folder.
pub fn fetch(f: &Formation<'_>) -> Result<(), Fault> {
    const OBJECT: &str = "kubeadm join, control-plane-prepare download-certs";
    let not_rendered = |e: kubeadm::NotRendered| phases::failed(OBJECT, e.to_string());
    f.reporter.line(OBJECT);
    files::folder(phases::RUN, 0o700)?;
    let (discovery, join) =
        (Path::new(phases::RUN).join("discovery.conf"), Path::new(phases::RUN).join("join.yaml"));
    let kubeconfig = kubeadm::discovery_kubeconfig(&f.config).map_err(not_rendered)?;
    files::write(&discovery, kubeconfig.as_bytes(), 0o600)?;
    let by_file = discovery.display().to_string();
    let text =
        kubeadm::join_configuration(&f.config, Discovery::File(&by_file), None).map_err(not_rendered)?;
    files::write(&join, text.as_bytes(), 0o600)?;
    phases::kubeadm(f, OBJECT, kubeadm::download_certs_arguments(&join.display().to_string()), LIMIT)?;
    files::remove(&join)?;
    files::remove(&discovery)
}
