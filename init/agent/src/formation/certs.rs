//! The textbook way of the cluster's keys: one control plane has them in its seed and uploads them (kubeadm's
//! `--upload-certs`); the others have a token and the certificate key, and fetch them before they join.
//!
//! kubeadm keeps them two hours in the Secret kube-system/kubeadm-certs. The one that has them uploads them again whenever
//! a listed control plane is blank: nobody types it anew.
//!
//! Takes the seed's `join`, gives files below `/etc/kubernetes/pki`. May touch these and, by kubeadm, that Secret; the
//! certificate key itself goes into kubeadm's configuration file alone.

use super::api::Api;
use super::{Formation, guest, perform, phases};
use nodeimg_contract::fault::Fault;
use nodeimg_init_core::formation::{Answer, Standing};
use nodeimg_init_core::kubeadm;

const SECRET: &str = "/api/v1/namespaces/kube-system/secrets/kubeadm-certs";

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
    phases::join(f, OBJECT, kubeadm::download_certs_arguments, None)
}
