//! What `payload/payload.toml` says: which programs are compiled, with which flags, and which images are made of them.
//!
//! Takes the file's text. Gives a [`Description`] whose references hold: every program of an image is a program of a
//! module, no name stands twice, every path is absolute and plain. Never reads a file.

use std::collections::{BTreeMap, BTreeSet};

use nodeimg_contract::image::Role;
use serde::Deserialize;

/// The version of the file's format that this builder reads.
const SCHEMA: u32 = 1;

/// Everything that `payload.toml` describes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    schema: u32,
    /// The only Go compiler that may be used.
    pub toolchain: ToolchainPin,
    /// The Go modules, each a folder beside the file.
    #[serde(rename = "module")]
    pub modules: Vec<ModuleSpec>,
    /// The container images that are made of the programs.
    #[serde(rename = "image")]
    pub images: Vec<ImageSpec>,
}

/// A Go toolchain by version and by the checksum of its module (`h1:…`, as in go.sum).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainPin {
    /// Without the `go` in front: `1.26.8`.
    pub version: String,
    /// `h1:` and the base64 of the module's hash.
    pub sum: String,
}

impl ToolchainPin {
    /// The toolchain's module version for this builder's one platform.
    pub fn module_version(&self) -> String {
        format!("v0.0.1-go{}.linux-amd64", self.version)
    }
}

/// One Go module with the programs that are built in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleSpec {
    /// The folder that holds its go.mod.
    pub name: String,
    /// Upstream's module path.
    pub path: String,
    /// Upstream's version.
    pub version: String,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// String variables that the linker sets (`-X name=value`).
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// What is built.
    pub programs: Vec<ProgramSpec>,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramSpec {
    /// Its name, one in the whole payload.
    pub name: String,
    /// Its package; `.` is the module's own folder.
    pub package: String,
    /// Where it lies in the node's root; absent for programs that only images hold.
    pub node: Option<String>,
    /// On nodes of which roles; none: all. Says nothing about images.
    #[serde(default)]
    pub roles: Vec<Role>,
}

impl ProgramSpec {
    /// Its place in the root of a node of this role.
    pub fn node_of(&self, role: Role) -> Option<&str> {
        self.node.as_deref().filter(|_| is_for(&self.roles, role))
    }
}

fn is_for(roles: &[Role], role: Role) -> bool {
    roles.is_empty() || roles.contains(&role)
}

/// One image of a single layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Repository without tag.
    pub name: String,
    /// The tag that manifests name.
    pub tag: String,
    /// Who names it.
    #[serde(rename = "for")]
    pub wanted_by: WantedBy,
    /// Program -> path in the image.
    pub programs: BTreeMap<String, String>,
    /// What runs when the pod names no command.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Programs of Debian packages; their shared libraries come with them.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Baked on nodes of which roles; none: all.
    #[serde(default)]
    pub roles: Vec<Role>,
}

impl ImageSpec {
    /// Whether a node of this role runs it.
    pub fn is_for(&self, role: Role) -> bool {
        is_for(&self.roles, role)
    }

    /// Repository and tag, as a manifest writes it.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }

    /// Everything that decides the image beside its programs, in lines.
    pub(crate) fn facts(&self) -> String {
        let programs = self.programs.iter().map(|(program, path)| format!(" {program}={path}"));
        let (programs, entrypoint) = (programs.collect::<String>(), self.entrypoint.join(" "));
        let (reference, debian) = (self.reference(), self.debian.join(" "));
        format!("image {reference} for {:?}\n{programs}\n{entrypoint}\n{debian}\n", self.wanted_by)
    }
}

/// Who names an image, and thus when it is baked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum WantedBy {
    /// kubeadm's manifests and add-ons.
    Kubeadm,
    /// The add-on of this name.
    Addon(String),
    /// Tests, and people who want to see whether a service answers.
    Tests,
}

impl TryFrom<String> for WantedBy {
    type Error = String;
    fn try_from(word: String) -> Result<Self, String> {
        match (word.as_str(), word.strip_prefix("addon ")) {
            ("kubeadm", _) => Ok(Self::Kubeadm),
            ("tests", _) => Ok(Self::Tests),
            (_, Some(addon)) if !addon.is_empty() => Ok(Self::Addon(addon.to_owned())),
            _ => Err(format!("\"{word}\" is none of \"kubeadm\", \"tests\", \"addon NAME\"")),
        }
    }
}

/// What is wrong with the text of a `payload.toml`.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// Not TOML, or not of this shape.
    #[error("the payload's description cannot be read")]
    Syntax(#[from] toml::de::Error),
    /// A format of another time.
    #[error("the payload's description has schema {0}, this builder reads schema {SCHEMA}")]
    Schema(u32),
    /// A name that must be unique stands twice.
    #[error("the payload names \"{0}\" twice")]
    Twice(String),
    /// An image holds a program that no module builds.
    #[error("image \"{image}\" holds \"{program}\", which no module builds")]
    NoSuchProgram {
        /// The image's reference.
        image: String,
        /// The program's name.
        program: String,
    },
    /// A module's folder has no go.mod.
    #[error("the payload module \"{0}\" has no go.mod")]
    NoGoMod(String),
    /// A name or a path that could leave its place.
    #[error("the payload has \"{0}\" where a plain name or an absolute path without \"..\" is expected")]
    BadPath(String),
}

impl Description {
    /// Reads the text of a `payload.toml`.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        let description: Self = toml::from_str(text)?;
        if description.schema != SCHEMA {
            return Err(DescriptionError::Schema(description.schema));
        }
        description.check_names()?;
        description.check_images()?;
        Ok(description)
    }

    /// The module that builds `program`, and the program's own entry.
    pub fn program(&self, program: &str) -> Option<(&ModuleSpec, &ProgramSpec)> {
        self.modules.iter().find_map(|m| m.programs.iter().find(|p| p.name == program).map(|p| (m, p)))
    }

    fn check_names(&self) -> Result<(), DescriptionError> {
        let mut modules = BTreeSet::new();
        let mut programs = BTreeSet::new();
        for module in &self.modules {
            plain_name(&module.name)?;
            once(&mut modules, &module.name)?;
            for program in &module.programs {
                plain_name(&program.name)?;
                once(&mut programs, &program.name)?;
                program.node.as_deref().map_or(Ok(()), absolute_path)?;
            }
        }
        Ok(())
    }

    fn check_images(&self) -> Result<(), DescriptionError> {
        let mut references = BTreeSet::new();
        for image in &self.images {
            let reference = image.reference();
            for (program, path) in &image.programs {
                absolute_path(path)?;
                if self.program(program).is_none() {
                    return Err(DescriptionError::NoSuchProgram {
                        image: reference,
                        program: program.clone(),
                    });
                }
            }
            image.debian.iter().try_for_each(|path| absolute_path(path))?;
            once(&mut references, &reference)?;
        }
        Ok(())
    }
}

fn once(seen: &mut BTreeSet<String>, name: &str) -> Result<(), DescriptionError> {
    if seen.insert(name.to_owned()) { Ok(()) } else { Err(DescriptionError::Twice(name.to_owned())) }
}

fn plain_name(name: &str) -> Result<(), DescriptionError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        Ok(())
    } else {
        Err(DescriptionError::BadPath(name.to_owned()))
    }
}

fn absolute_path(path: &str) -> Result<(), DescriptionError> {
    match path.strip_prefix('/') {
        Some(rest) if rest.split('/').all(|part| !matches!(part, "" | "." | "..")) => Ok(()),
        _ => Err(DescriptionError::BadPath(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = include_str!("../../../payload/payload.toml");

    proptest! {
        #[test]
        fn a_description_with_one_part_replaced_is_an_answer(from in 0..OURS.len(), len in 0usize..40, by in ".{0,12}") {
            let to = (from + len).min(OURS.len());
            if OURS.is_char_boundary(from) && OURS.is_char_boundary(to) {
                let _ = Description::parse(&format!("{}{by}{}", &OURS[..from], &OURS[to..]));
            }
        }

        #[test]
        fn an_accepted_path_stays_where_it_is(path in "[/.a-z]{0,12}") {
            if absolute_path(&path).is_ok() {
                let plain = std::path::Path::new(&path).components().skip(1);
                prop_assert!(plain.into_iter().all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(nodeimg_tree::TreePath::parse(&path).unwrap().to_string(), path);
            }
        }
    }

    #[test]
    fn our_own_description_holds() {
        let description = Description::parse(OURS).unwrap();
        let (module, program) = description.program("kubelet").unwrap();
        assert_eq!(module.version, "v1.36.3");
        assert_eq!(program.node.as_deref(), Some("/usr/bin/kubelet"));
        assert_eq!(description.toolchain.module_version(), "v0.0.1-go1.26.8.linux-amd64");
        assert!(description.images.iter().any(|i| i.reference() == "nodeimg.invalid/k8s/etcd:3.6.8-0"));
    }

    #[test]
    fn a_role_has_what_it_runs() {
        let description = Description::parse(OURS).unwrap();
        let images = |role| {
            let mut names: Vec<_> =
                description.images.iter().filter(|i| i.is_for(role)).map(|i| &*i.name).collect();
            names.iter_mut().for_each(|n| *n = n.rsplit('/').next().unwrap());
            names
        };
        assert_eq!(images(Role::Etcd), ["etcd", "pause"]);
        assert_eq!(images(Role::Worker), ["kube-proxy", "coredns", "pause", "flannel", "probe"]);
        assert_eq!(images(Role::ControlPlane).len(), description.images.len());
        let place = |name, role| description.program(name).unwrap().1.node_of(role);
        assert_eq!(place("kubelet", Role::Etcd), Some("/usr/bin/kubelet"));
        assert_eq!((place("bridge", Role::Etcd), place("etcdctl", Role::Worker)), (None, None));
    }

    #[test]
    fn a_program_that_nobody_builds_is_named() {
        let text = OURS.replace("{ pause = \"/pause\" }", "{ paws = \"/pause\" }");
        let error = Description::parse(&text).unwrap_err().to_string();
        assert_eq!(
            error,
            "image \"nodeimg.invalid/k8s/pause:3.10.2\" holds \"paws\", which no module builds"
        );
    }

    #[test]
    fn refused_are_twins_escapes_and_unknown_words() {
        let twins = OURS.replace("name = \"kubectl\"", "name = \"kubelet\"");
        assert!(matches!(Description::parse(&twins), Err(DescriptionError::Twice(n)) if n == "kubelet"));
        let escape = OURS.replace("/usr/bin/kubelet", "/usr/../kubelet");
        assert!(matches!(Description::parse(&escape), Err(DescriptionError::BadPath(_))));
        let unknown = OURS.replace("for = \"tests\"", "for = \"fun\"");
        assert!(matches!(Description::parse(&unknown), Err(DescriptionError::Syntax(_))));
        let newer = OURS.replace("schema = 1", "schema = 2");
        assert!(matches!(Description::parse(&newer), Err(DescriptionError::Schema(2))));
    }
}
