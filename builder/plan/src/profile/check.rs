//! From words to meaning: every value of the document is checked, and all that is wrong is told at once.

use super::document::{Document, Word};
use super::{
    Component, Format, KubernetesProfile, Origin, OsProfile, PackageWish, Profile, ProfileError, Suite,
};
use crate::debian::{Root, Version, is_package_name, is_sha256};
use crate::nearest::{nearest, question};
use crate::source::{Problem, SourceText};
use nodeimg_contract::image::Role;
use std::collections::BTreeSet;

/// The profile format that this program reads.
const SCHEMA: i64 = 1;
/// More entries than any list of a profile has.
const MOST: usize = 4096;
/// Where the images lie that the builder makes itself.
const OWN_IMAGES: &str = "nodeimg.invalid/";

/// Words that a later version will take.
const LATER_FORMATS: [&str; 4] = ["iso", "raw", "pxe", "qcow2"];
const LATER_ORIGINS: [&str; 2] = ["release", "bundle"];
const LATER_COMPONENTS: [&str; 2] = ["contrib", "non-free"];
const LATER_SUITES: [&str; 3] = ["bookworm", "forky", "sid"];

pub(super) fn profile(document: Document, source: SourceText) -> Result<Profile, ProfileError> {
    let mut problems = Problems(Vec::new());
    let schema = *document.schema.get_ref();
    if schema != SCHEMA {
        let title = format!("schema {schema} is not known");
        problems.add(
            Problem::at(document.schema.span(), title)
                .help(format!("this nodeimg reads `schema = {SCHEMA}`")),
        );
    }
    let name = file_stem(source.name());
    if !is_package_name(name) {
        let title = format!("the file's name \"{name}\" cannot be an image's name");
        problems.add(
            Problem::at(0..0, title).help("rename it: lower-case letters, digits, `-`, `.`, then `.toml`"),
        );
    }
    let role = problems.word(
        &document.role,
        "role",
        &[
            ("control-plane", Role::ControlPlane),
            ("worker", Role::Worker),
            ("lb", Role::Lb),
            ("etcd", Role::Etcd),
        ],
        &[],
    );
    let suite = problems.word(&document.os.suite, "suite", &[("trixie", Suite::Trixie)], &LATER_SUITES);
    let known = [("main", Component::Main), ("non-free-firmware", Component::NonFreeFirmware)];
    let mut components: BTreeSet<Component> = document
        .os
        .components
        .iter()
        .filter_map(|word| problems.word(word, "component", &known, &LATER_COMPONENTS))
        .collect();
    components.insert(Component::Main);
    let origin =
        problems.word(&document.kubernetes.origin, "origin", &[("source", Origin::Source)], &LATER_ORIGINS);
    let formats: BTreeSet<Format> = document
        .output
        .formats
        .iter()
        .filter_map(|word| {
            let known = [("uki", Format::Uki), ("files", Format::Files)];
            problems.word(word, "format", &known, &LATER_FORMATS)
        })
        .collect();
    let packages = problems.packages(&document.os.packages);
    for glob in &document.os.exclude {
        problems.glob(glob);
    }
    if let Some(mirror) = &document.os.mirror {
        problems.mirror(mirror);
    }
    let version = problems.version(&document.kubernetes.version);
    for image in &document.images.extra {
        problems.image(image);
    }
    for dir in document.overlay.dirs.iter().chain(&document.static_pods.dir) {
        problems.folder(dir);
    }
    let addons: Vec<Word> = document.addon.into_iter().map(|addon| addon.name).collect();
    problems.addons(&addons);
    for list in
        [&document.os.packages, &document.os.exclude, &document.overlay.dirs, &document.images.extra, &addons]
    {
        if let Some(word) = list.get(MOST) {
            problems.add(Problem::at(word.span(), format!("more than {MOST} entries in one list")));
        }
    }
    match (problems.0.is_empty(), role, suite, origin) {
        (true, Some(role), Some(suite), Some(origin)) => Ok(Profile {
            name: name.to_owned(),
            role,
            os: OsProfile {
                suite,
                components: components.into_iter().collect(),
                packages,
                exclude: words(document.os.exclude),
                mirror: document.os.mirror.map(|m| m.into_inner().trim_end_matches('/').to_owned()),
            },
            kubernetes: KubernetesProfile {
                version,
                version_span: document.kubernetes.version.span(),
                origin,
            },
            extra_images: words(document.images.extra),
            static_pods: document.static_pods.dir.map(Word::into_inner),
            addons: words(addons),
            overlays: words(document.overlay.dirs),
            formats: formats.into_iter().collect(),
            source,
        }),
        _ => {
            problems.0.sort_by_key(|problem| problem.span.start);
            Err(ProfileError::new(&source, &problems.0))
        }
    }
}

fn words(list: Vec<Word>) -> Vec<String> {
    list.into_iter().map(Word::into_inner).collect()
}

/// `profiles/cplane.toml` -> `cplane`.
fn file_stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// What was found wrong so far.
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// A word out of a list; `later` holds words that are known and not there yet.
    fn word<T: Copy>(&mut self, word: &Word, what: &str, known: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = word.get_ref().as_str();
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let choice = format!("known: {}", names.join(", "));
        let problem = if later.contains(&text) {
            Problem::at(word.span(), format!("{what} \"{text}\": not yet"))
                .label("a later version will take it")
        } else {
            let near = nearest(text, names.iter().copied());
            Problem::at(word.span(), format!("unknown {what} \"{text}\"")).maybe_help(question(&near))
        };
        self.add(problem.help(choice));
        None
    }

    fn packages(&mut self, list: &[Word]) -> Vec<PackageWish> {
        let mut wishes: Vec<PackageWish> = Vec::new();
        for word in list.iter().take(MOST) {
            let text = word.get_ref();
            let (name, version) = match text.split_once('=') {
                Some((name, version)) => (name, Some(version)),
                None => (text.as_str(), None),
            };
            if !is_package_name(name) {
                let title = format!("\"{name}\" cannot be a Debian package's name");
                let help = "names are lower case: letters, digits, `+`, `-`, `.`; a version is given as NAME=VERSION";
                self.add(Problem::at(word.span(), title).help(help));
            } else if version.is_some_and(|version| Version::parse(version).is_none()) {
                let title = format!("\"{}\" cannot be a Debian version", version.unwrap_or(""));
                self.add(Problem::at(word.span(), title).help("for example 257.8-1~deb13u2"));
            } else if wishes.iter().any(|wish| wish.root.name == name) {
                self.add(Problem::at(word.span(), format!("package \"{name}\" is named twice")));
            } else {
                let root = Root { name: name.to_owned(), version: version.map(str::to_owned) };
                wishes.push(PackageWish { root, span: word.span() });
            }
        }
        wishes
    }

    fn version(&mut self, word: &Word) -> String {
        let text = word.get_ref();
        let number =
            |part: &str| !part.is_empty() && part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
        if text.split('.').count() != 3 || !text.split('.').all(number) {
            let help = match text.strip_prefix('v') {
                Some(rest) => format!("write it without `v`: \"{rest}\""),
                None => "three numbers, for example \"1.36.3\"".to_owned(),
            };
            self.add(Problem::at(word.span(), format!("\"{text}\" is not a Kubernetes version")).help(help));
        }
        text.clone()
    }

    /// `!GLOB` keeps what a default of the builder would leave out.
    fn glob(&mut self, word: &Word) {
        let text = word.get_ref();
        let glob = text.strip_prefix('!').unwrap_or(text);
        if let Err(e) = globset::Glob::new(glob) {
            self.add(
                Problem::at(word.span(), format!("\"{text}\" is not a glob")).label(e.kind().to_string()),
            );
        } else if glob.is_empty() || glob.starts_with('/') {
            let help = "write a path without leading slash; `*` matches within a name, `**` across folders";
            self.add(Problem::at(word.span(), "exclusions are relative to the node's root").help(help));
        }
    }

    fn mirror(&mut self, word: &Word) {
        let text = word.get_ref();
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let sound = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic())
        });
        if !sound {
            let help = "a URL with http or https, up to the folder that holds `dists` and `pool`";
            self.add(Problem::at(word.span(), format!("\"{text}\" is not a mirror")).help(help));
        }
    }

    /// Only what the builder makes itself, as long as nothing is pulled.
    fn image(&mut self, word: &Word) {
        let text = word.get_ref();
        let digest =
            text.rsplit_once("@sha256:").is_some_and(|(name, digest)| !name.is_empty() && is_sha256(digest));
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/:".contains(&b);
        if text.strip_prefix(OWN_IMAGES).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed)) {
            return;
        }
        self.add(match digest {
            true => Problem::at(
                word.span(),
                format!("image \"{text}\": images from registries are not yet taken"),
            )
            .help(format!("only images that the builder makes itself ({OWN_IMAGES}…) can be baked")),
            false => Problem::at(word.span(), format!("\"{text}\" does not name one image by its digest"))
                .help("write NAME@sha256:DIGEST"),
        });
    }

    /// A relative path that stays below the project folder.
    fn folder(&mut self, word: &Word) {
        let text = word.get_ref();
        let normal = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if text.len() > 1024 || !text.trim_end_matches('/').split('/').all(normal) {
            let title = format!("folder \"{text}\" does not stay in the project");
            let help = "give it relative to the project folder (the one that holds `profiles`), without `..`";
            self.add(Problem::at(word.span(), title).help(help));
        }
    }

    fn addons(&mut self, list: &[Word]) {
        for (at, word) in list.iter().enumerate().take(MOST) {
            let name = word.get_ref();
            if !is_package_name(name) {
                let title = format!("\"{name}\" cannot be an add-on's name");
                self.add(
                    Problem::at(word.span(), title)
                        .help("it names a folder: lower-case letters, digits, `-`"),
                );
            } else if list.iter().take(at).any(|earlier| earlier.get_ref() == name) {
                self.add(Problem::at(word.span(), format!("add-on \"{name}\" is named twice")));
            }
        }
    }
}
