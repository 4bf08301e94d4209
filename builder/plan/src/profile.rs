//! The profile: the TOML file in which a person says what an image is.
//!
//! Takes its text. Gives a [`Profile`] in which every word has been checked, or a [`ProfileError`] that shows each wrong
//! place with its line, what was expected and the nearest names. Reads no file; paths in a profile are relative to the
//! project folder and are looked at by whoever uses them.

mod check;
mod document;

use crate::debian::Root;
use crate::lock::LockedModule;
use crate::source::{Problem, SourceText};
use nodeimg_contract::image::Role;
use std::ops::Range;

/// A checked profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name: the file's, without folder and extension.
    pub name: String,
    /// The role that the image takes.
    pub role: Role,
    /// `[os]`.
    pub os: OsProfile,
    /// `[kubernetes]`.
    pub kubernetes: KubernetesProfile,
    /// `[images] extra`: more container images to bake.
    pub extra_images: Vec<String>,
    /// `[static-pods] dir`: a folder of manifests, relative to the project folder.
    pub static_pods: Option<String>,
    /// `[[addon]]`, in the order in which they are applied.
    pub addons: Vec<String>,
    /// `[overlay] dirs`: folders laid over the root, the last one on top; relative to the project folder.
    pub overlays: Vec<String>,
    /// `[output] formats`, without repetition, sorted.
    pub formats: Vec<Format>,
    source: SourceText,
}

/// `[os]`: the Debian side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsProfile {
    /// Debian suite.
    pub suite: Suite,
    /// Parts of the archive that packages may come from, sorted; `main` is always among them.
    pub components: Vec<Component>,
    /// Packages that are asked for; what they depend on comes along.
    pub packages: Vec<PackageWish>,
    /// Globs over paths of the root (without leading slash) that are left out; `!GLOB` keeps what a default of the
    /// builder would leave out.
    pub exclude: Vec<String>,
    /// A mirror, `http://` or `https://`, up to and with the archive's folder.
    pub mirror: Option<String>,
}

/// `[kubernetes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesProfile {
    /// Without `v`, for example `1.36.3`.
    pub version: String,
    /// Its place in the profile, bytes.
    pub version_span: Range<usize>,
    /// Where programs and images come from.
    pub origin: Origin,
}

/// One entry of `os.packages`, `NAME` or `NAME=VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageWish {
    /// What is asked for.
    pub root: Root,
    /// Its place in the profile, bytes.
    pub span: Range<usize>,
}

/// A Debian suite that images are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// Debian 13.
    Trixie,
}

/// A part of the Debian archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Debian itself.
    Main,
    /// Firmware and microcode without source.
    NonFreeFirmware,
}

/// Where a payload comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Built from source.
    Source,
}

/// A form in which an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// One EFI program that holds kernel, initrd and command line.
    Uki,
    /// Kernel, initrd and command line as files.
    Files,
}

impl Suite {
    /// Debian's codename.
    pub fn as_str(self) -> &'static str {
        match self {
            Suite::Trixie => "trixie",
        }
    }
}

impl Component {
    /// Debian's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Main => "main",
            Component::NonFreeFirmware => "non-free-firmware",
        }
    }
}

impl Origin {
    /// The word in the profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Source => "source",
        }
    }
}

impl Format {
    /// The word in the profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Uki => "uki",
            Format::Files => "files",
        }
    }
}

/// A profile that cannot be used. Its text shows every wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rendered}")]
pub struct ProfileError {
    rendered: String,
    /// Line of the first wrong place, from 1.
    pub line: usize,
    /// Column of the first wrong place in characters, from 1.
    pub column: usize,
}

impl Profile {
    /// More text than any profile has, bytes.
    pub const LONGEST: usize = 1 << 20;

    /// Parses and checks a profile. `file_name` is its path as the person gave it; its stem becomes the name.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ProfileError> {
        let source = SourceText::new(file_name, text);
        if text.len() > Self::LONGEST {
            let long = format!("the profile is longer than {} bytes", Self::LONGEST);
            let source = SourceText::new(file_name, "");
            return Err(ProfileError::new(&source, &[Problem::at(0..0, long)]));
        }
        let document = document::parse(text).map_err(|problem| ProfileError::new(&source, &[problem]))?;
        check::profile(document, source)
    }
    /// Refuses a version of Kubernetes that is not the one that the payload's `modules` build.
    pub fn check_payload(&self, modules: &[LockedModule]) -> Result<(), ProfileError> {
        let wanted = &self.kubernetes.version;
        let built = modules.iter().find(|module| module.name == "kubernetes");
        let built = built.map_or("", |module| module.version.trim_start_matches('v'));
        if built == wanted {
            return Ok(());
        }
        let title = format!("Kubernetes \"{wanted}\" is not what this nodeimg builds");
        let problem = Problem::at(self.kubernetes.version_span.clone(), title);
        Err(self.error(&[problem.help(format!("it builds \"{built}\""))]))
    }
    /// The file's name, as the person gave it.
    pub fn file_name(&self) -> &str {
        self.source.name()
    }
    /// An error that shows these problems in the profile's text.
    pub fn error(&self, problems: &[Problem]) -> ProfileError {
        ProfileError::new(&self.source, problems)
    }
}

impl ProfileError {
    fn new(source: &SourceText, problems: &[Problem]) -> Self {
        let first = problems.iter().map(|p| p.span.start).min().unwrap_or(0);
        let (line, column) = source.line_column(first);
        let rendered: Vec<String> = problems.iter().map(|p| source.render(p)).collect();
        Self { rendered: rendered.join("\n\n"), line, column }
    }
}
