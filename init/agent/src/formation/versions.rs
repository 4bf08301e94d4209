//! Whether a worker's kubelet fits the cluster behind the endpoint, before it is set up and before it starts.
//!
//! Takes the API server's word (`/version`) and the image's version; gives a fault that names both. Starts and writes nothing.

use super::https::Answer;
use super::{Formation, guest};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::Role;
use nodeimg_init_core::kubeadm;

/// An API server's version; empty where it does not say one.
pub fn told(answer: &Answer) -> String {
    let version: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    version.get("gitVersion").and_then(|v| v.as_str()).unwrap_or_default().to_owned()
}

/// Whether the kubelet may serve the cluster behind the endpoint. Other roles are looked at where they join.
pub fn kubelet_fits(f: &Formation<'_>) -> Result<(), Fault> {
    if f.config.role.value != Role::Worker {
        return Ok(());
    }
    let fault = |code, object: String, cause, help: &str| Fault { code, object, cause, help: help.into() };
    let hidden = |cause| {
        let help = "look at the consoles of the control planes; nodeinit tries again";
        fault(Code::ApiNotReady, format!("https://{}/version", f.config.endpoint_text()), cause, help)
    };
    let answer = guest::ask(f, "/version").map_err(hidden)?;
    if !answer.is_success() {
        return Err(hidden(answer.message()));
    }
    match kubeadm::skew(&told(&answer), &f.image.kubernetes, Role::Worker) {
        None => Ok(()),
        Some(why) => Err(fault(
            Code::VersionSkew,
            "the image".into(),
            why,
            "boot an image of a version that fits, or upgrade the cluster first; the kubelet was not started",
        )),
    }
}
