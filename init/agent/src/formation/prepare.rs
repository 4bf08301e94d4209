//! What must lie there before the kubelet starts, at every boot: names, resolv.conf for pods, the profile's static pods.

use super::{Formation, endpoint, files};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::{kubeadm, template};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const MAX_BYTES: u64 = 1 << 20;
/// Manifests of ours begin so, that those of an older image can be told from an operator's.
const PREFIX: &str = "nodeimg-";

pub fn before_the_kubelet(f: &Formation<'_>) -> Result<(), Fault> {
    endpoint::make_known(f)?;
    files::folder(paths::RUN, 0o755)?;
    files::write(kubeadm::KUBELET_RESOLV_CONF, kubeadm::kubelet_resolv_conf(&f.config).as_bytes(), 0o644)?;
    files::folder("/var/lib/kubelet", 0o700)?;
    files::folder(kubeadm::MANIFESTS, 0o700)?;
    static_pods(f, Path::new(paths::STATIC_PODS), Path::new(kubeadm::MANIFESTS))
}

/// Fills the profile's templates; manifests of ours that the image no longer has go away.
fn static_pods(f: &Formation<'_>, from: &Path, to: &Path) -> Result<(), Fault> {
    let values = template::node_values(&f.config, &f.image);
    let mut kept = BTreeSet::new();
    for name in names(from)? {
        let Some(stem) = name.strip_suffix(".tmpl").unwrap_or(&name).strip_suffix(".yaml") else { continue };
        let mut text = files::text(from.join(&name), MAX_BYTES)?;
        if name.ends_with(".tmpl") {
            text = template::fill(&text, &values).map_err(|e| Fault {
                code: Code::AddonFailed,
                object: from.join(&name).display().to_string(),
                cause: e.to_string(),
                help: "correct the template in the profile and build the image again".into(),
            })?;
        }
        let manifest = format!("{PREFIX}{stem}.yaml");
        files::folder(to, 0o700)?;
        if files::read(to.join(&manifest), MAX_BYTES)?.as_deref() != Some(text.as_bytes()) {
            files::write(to.join(&manifest), text.as_bytes(), 0o600)?;
        }
        kept.insert(manifest);
    }
    for name in names(to)? {
        if name.starts_with(PREFIX) && !kept.contains(&name) {
            files::remove(to.join(name))?;
        }
    }
    Ok(())
}

/// Names in a folder, sorted; none if there is no folder.
pub fn names(folder: &Path) -> Result<Vec<String>, Fault> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(files::failed(folder, &e)),
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
