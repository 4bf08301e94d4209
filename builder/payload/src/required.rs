//! Which images a cluster will ask for, and whether all of them are baked.
//!
//! kubeadm's own list comes from the kubeadm that was just compiled, so that it cannot differ from what kubeadm writes
//! into its manifests. An add-on's list comes from the `image:` lines of its manifests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::PayloadError;

/// An image, and what asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// Repository and tag (or digest).
    pub reference: String,
    /// `kubeadm`, or the manifest that names it.
    pub by: String,
}

/// What `kubeadm config images list` says for this version and repository. Runs the program; it uses no network, since
/// the version is given.
pub fn by_kubeadm(kubeadm: &Path, version: &str, repository: &str) -> Result<Vec<Required>, PayloadError> {
    let failed = |reason: String| PayloadError::KubeadmList { program: kubeadm.to_owned(), reason };
    let mut command = Command::new(kubeadm);
    command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command.args([
        "config",
        "images",
        "list",
        "--kubernetes-version",
        version,
        "--image-repository",
        repository,
    ]);
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let list = String::from_utf8_lossy(&output.stdout);
    let required = list.lines().filter(|line| line.contains('/'));
    Ok(required
        .map(|line| Required { reference: line.trim().to_owned(), by: "kubeadm".to_owned() })
        .collect())
}

/// The images that a manifest's text names. By lines, not by YAML: templates are no YAML before they are filled.
pub fn by_manifest(name: &str, text: &str) -> Vec<Required> {
    let field = |line: &str| {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let value = line.strip_prefix("image:")?.split(" #").next().unwrap_or_default();
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let references: BTreeSet<String> = text.lines().filter_map(field).collect();
    references.into_iter().map(|reference| Required { reference, by: name.to_owned() }).collect()
}

/// Fails with every required image that is not among `baked`.
pub fn check(required: &[Required], baked: &[&str]) -> Result<(), PayloadError> {
    let missing: Vec<Required> =
        required.iter().filter(|image| !baked.contains(&image.reference.as_str())).cloned().collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PayloadError::NotBaked { missing, baked: baked.join("\n  ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_manifest_names_its_images_once() {
        let text = "spec:\n  initContainers:\n  - image: \"r/a:1\"\n    name: a\n  containers:\n  - name: b\n    image: r/b:2 # new\n    imagePullPolicy: Never\n  - image: 'r/a:1'\n    image:\n";
        let references: Vec<_> = by_manifest("m", text).into_iter().map(|r| r.reference).collect();
        assert_eq!(references, ["r/a:1", "r/b:2"]);
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer(text in "(image:|- |\"|'|#|\n| |.){0,30}") {
            prop_assert!(by_manifest("m", &text).iter().all(|image| !image.reference.is_empty()));
        }
    }

    #[test]
    fn what_is_missing_is_named_with_who_wants_it() {
        let required = by_manifest("flannel.yaml", "image: r/flannel:v2\n---\nimage: r/ok:1");
        check(&required, &["r/flannel:v2", "r/ok:1"]).unwrap();
        let error = check(&required, &["r/flannel:v1", "r/ok:1"]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(
            "an image is named but not baked: \"r/flannel:v2\" (by flannel.yaml)\nhelp: baked are:"
        ));
    }

    #[test]
    fn kubeadms_answer_is_read_and_its_failure_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            let path = folder.path().join("kubeadm");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let good = script("#!/bin/sh\necho \"$7/pause:1\"\necho warning\n");
        assert_eq!(by_kubeadm(&good, "v1", "r/k8s").unwrap()[0].reference, "r/k8s/pause:1");
        let bad = script("#!/bin/sh\necho no such version >&2\nexit 1\n");
        assert!(by_kubeadm(&bad, "v1", "r").unwrap_err().to_string().contains("no such version"));
    }
}
