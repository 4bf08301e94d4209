//! `addon.toml`: what an add-on brings.
//!
//! Takes text from the sealed root, gives [`Addon`]. The paths in it are checked: nothing is written outside the CNI
//! folder, whatever an add-on says.

use serde::Deserialize;

/// Largest size of `addon.toml` in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// An add-on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addon {
    /// Its name, the folder's too.
    pub name: String,
    /// Images that its manifests name; the builder bakes them.
    #[serde(default)]
    pub images: Vec<String>,
    /// CNI configuration that it brings.
    #[serde(default)]
    pub cni: Option<Cni>,
}

/// A CNI conflist that is rendered from an env file whenever that file appears or changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cni {
    /// Template, a file beside `addon.toml`.
    pub template: String,
    /// The env file, an absolute path.
    pub env: String,
    /// Name of the conflist below `/etc/cni/net.d`.
    pub conflist: String,
}

/// An `addon.toml` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddonError {
    /// Not TOML, or not the keys that there are.
    #[error("not a valid addon.toml: {0}")]
    Malformed(String),
    /// A path that leaves its folder, or is none.
    #[error("\"{key}\" is not {expected}")]
    Path {
        /// Which key.
        key: &'static str,
        /// What stands there in a good one.
        expected: &'static str,
    },
}

/// Parses `addon.toml`.
pub fn parse(text: &str) -> Result<Addon, AddonError> {
    if text.len() > MAX_BYTES {
        return Err(AddonError::Malformed(format!("larger than {MAX_BYTES} bytes")));
    }
    let addon: Addon = toml::from_str(text).map_err(|e| AddonError::Malformed(e.message().to_owned()))?;
    let file_name = |s: &str| {
        !s.is_empty()
            && !s.starts_with('.')
            && s.len() <= 128
            && !s.chars().any(|c| c == '/' || c.is_control())
    };
    let path = |key, expected| Err(AddonError::Path { key, expected });
    if !file_name(&addon.name) {
        return path("name", "a folder's name");
    }
    if let Some(cni) = &addon.cni {
        if !file_name(&cni.template) {
            return path("cni.template", "the name of a file beside addon.toml");
        }
        if !file_name(&cni.conflist) || !cni.conflist.ends_with(".conflist") {
            return path("cni.conflist", "a file name that ends with \".conflist\"");
        }
        if !cni.env.starts_with("/run/") || cni.env.split('/').any(|part| part == "..") {
            return path("cni.env", "a path below /run");
        }
    }
    Ok(addon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "name = \"net\"\nimages = [\"a/b:1\"]\n[cni]\ntemplate = \"cni.conflist.tmpl\"\nenv = \"/run/net/subnet.env\"\nconflist = \"10-net.conflist\"\n";

    #[test]
    fn paths_stay_where_they_belong() {
        assert_eq!(parse(GOOD).expect("good").cni.expect("cni").conflist, "10-net.conflist");
        for (from, to) in [
            ("10-net.conflist\"", "../x.conflist\""),
            ("/run/net", "/run/../etc"),
            ("/run/net", "/etc"),
            ("\"cni.conflist.tmpl\"", "\"/etc/shadow\""),
            ("name = \"net\"", "name = \"..\""),
            ("images", "imagez"),
        ] {
            assert!(parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
