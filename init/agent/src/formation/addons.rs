//! Add-ons: data from the sealed root, filled and applied once a cluster; and CoreDNS without a DNS server to ask.

use super::api::{Api, kubeconfig_file};
use super::{Formation, files, phases, prepare};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::{kubeadm, template};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const RUN: &str = "/run/nodeimg/addons";
const MAX_BYTES: u64 = 4 << 20;
const LIMIT: Duration = Duration::from_secs(300);
const COREFILE: &str = "/api/v1/namespaces/kube-system/configmaps/coredns";

/// Fills an add-on's manifests and applies them, in one process.
pub fn apply(f: &Formation<'_>, name: &str) -> Result<(), Fault> {
    f.reporter.line(format!("add-on {name}"));
    let folder = Path::new(paths::ADDONS).join(name);
    let values = template::node_values(&f.config, &f.image);
    let mut documents = Vec::new();
    for file in prepare::names(&folder)? {
        let path = folder.join(&file);
        if file.ends_with(".yaml") {
            documents.push(files::text(&path, MAX_BYTES)?);
        } else if file.ends_with(".yaml.tmpl") {
            let text = files::text(&path, MAX_BYTES)?;
            documents.push(
                template::fill(&text, &values)
                    .map_err(|e| failed(&path.display().to_string(), e.to_string()))?,
            );
        }
    }
    if documents.is_empty() {
        return Err(failed(&folder.display().to_string(), "there is no manifest in it".into()));
    }
    files::folder(RUN, 0o700)?;
    let file: PathBuf = Path::new(RUN).join(format!("{name}.yaml"));
    files::write(&file, documents.join("\n---\n").as_bytes(), 0o600)?;
    let mut command = Command::new("/usr/bin/kubectl");
    command
        .arg("apply")
        .arg("--server-side")
        .arg("--force-conflicts")
        .arg("--field-manager=nodeimg")
        .arg(format!("--kubeconfig={}", kubeconfig_file()))
        .arg(format!("--server={}", kubeadm::local_api(&f.config)))
        .arg("--cache-dir=/run/nodeimg/addons/cache")
        .arg("--filename")
        .arg(&file)
        .env_clear();
    f.processes.check(command, LIMIT).map_err(|e| failed(name, phases::said(&e)))?;
    files::empty(RUN)
}

/// Takes `forward` out of the Corefile that kubeadm has just made. CoreDNS has not started yet: its pods wait for the
/// node to be Ready, which the add-ons after this step bring about.
pub fn core_dns_without_forward(f: &Formation<'_>) -> Result<(), Fault> {
    let api = Api::connect(&f.config)?;
    let answer = api.get(COREFILE)?;
    if !answer.is_success() {
        return Err(answer.fault(COREFILE));
    }
    let unexpected = || failed("coredns", "its ConfigMap has no Corefile".into());
    let mut map: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|_| unexpected())?;
    let corefile = map.pointer_mut("/data/Corefile").ok_or_else(unexpected)?;
    let text = kubeadm::without_forward(corefile.as_str().ok_or_else(unexpected)?);
    *corefile = text.into();
    let answer = api.put(COREFILE, map.to_string().as_bytes())?;
    if answer.is_success() { Ok(()) } else { Err(answer.fault(COREFILE)) }
}

fn failed(object: &str, cause: String) -> Fault {
    Fault {
        code: Code::AddonFailed,
        object: object.into(),
        cause,
        help: "correct the add-on's manifests and build the image again; nodeinit tries again".into(),
    }
}
