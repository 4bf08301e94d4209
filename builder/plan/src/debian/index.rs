//! Package indexes: the paragraphs of `Packages` files, by name.
//!
//! Takes the text of each index (its digest was checked against a signed Release). Gives packages by name, newest
//! first, and who provides what. Bounded: paragraphs, fields and names have limits; a paragraph that lacks what is
//! needed to fetch its package is an error that names it.

use super::relation::parse_dependencies;
use super::version::Version;
use crate::lock::Archive;
use deb822_fast::borrowed::{BorrowedParagraph, iter_paragraphs_borrowed};
use std::collections::HashMap;

/// The architecture that images are made for.
const ARCHITECTURE: &str = "amd64";
/// More paragraphs than any suite has (trixie has 69,000).
const MOST_PARAGRAPHS: usize = 400_000;
/// The largest .deb that is believed, bytes.
const LARGEST_DEB: u64 = 4 << 30;

/// One binary package of one index.
#[derive(Debug, Clone)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: Version,
    /// Which archive serves it.
    pub archive: Archive,
    /// Path below the archive's root, `pool/…`.
    pub path: String,
    /// Bytes of the .deb.
    pub size: u64,
    /// Of the .deb, hexadecimal.
    pub sha256: String,
    /// Kilobytes when unpacked, as its maker estimated; 0 when unknown.
    pub installed_kib: u64,
    /// Pre-Depends and Depends, as written.
    pub(super) depends: String,
    /// Provides, as written.
    pub(super) provides: String,
    /// Conflicts and Breaks, as written.
    pub(super) conflicts: String,
    /// Place of Priority in required, important, standard, optional, extra.
    pub(super) priority: u8,
}

/// The packages of one `Packages` file.
#[derive(Debug, Clone, Default)]
pub struct PackageIndex {
    packages: Vec<Package>,
}

/// What a Release file says that the lock needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Suite by its codename, for example `trixie-updates`.
    pub codename: String,
    /// Seconds since 1970 of its `Date`.
    pub date: u64,
}

/// The indexes of a suite with its updates, as one set of packages.
#[derive(Debug, Clone)]
pub struct Indexes {
    suite: String,
    releases: Vec<Release>,
    packages: Vec<Package>,
    by_name: HashMap<String, Vec<usize>>,
    providers: HashMap<String, Vec<(usize, Option<Version>)>>,
}

/// An index that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not deb822.
    #[error("package index of \"{index}\", after package \"{after}\": {reason}")]
    Syntax {
        /// Which index.
        index: String,
        /// The last package that was read.
        after: String,
        /// Why not.
        reason: String,
    },
    /// A paragraph lacks a field, or the field makes no sense.
    #[error("package index of \"{index}\", package \"{package}\": field {field} is missing or wrong")]
    Field {
        /// Which index.
        index: String,
        /// Which package; `?` without a name.
        package: String,
        /// Which field.
        field: &'static str,
    },
    /// Too many paragraphs.
    #[error("package index of \"{index}\" has more than {MOST_PARAGRAPHS} packages")]
    TooMany {
        /// Which index.
        index: String,
    },
}

impl PackageIndex {
    /// Parses a `Packages` file. `name` is for messages. Packages of other architectures are left out.
    pub fn parse(name: &str, archive: Archive, text: &str) -> Result<Self, IndexError> {
        let mut packages: Vec<Package> = Vec::new();
        for (count, paragraph) in iter_paragraphs_borrowed(text).enumerate() {
            if count == MOST_PARAGRAPHS {
                return Err(IndexError::TooMany { index: name.to_owned() });
            }
            let paragraph = paragraph.map_err(|e| IndexError::Syntax {
                index: name.to_owned(),
                after: packages.last().map_or_else(String::new, |p| p.name.clone()),
                reason: e.to_string().chars().take(120).collect(),
            })?;
            packages.extend(package(name, archive, &paragraph)?);
        }
        Ok(Self { packages })
    }
    /// Number of packages.
    pub fn len(&self) -> usize {
        self.packages.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }
}

/// The package of a paragraph; none when it is for another architecture.
fn package(
    index: &str,
    archive: Archive,
    paragraph: &BorrowedParagraph<'_>,
) -> Result<Option<Package>, IndexError> {
    let mut fields: [Option<String>; 13] = Default::default();
    const NAMES: [&str; 13] = [
        "Package",
        "Version",
        "Architecture",
        "Filename",
        "Size",
        "SHA256",
        "Pre-Depends",
        "Depends",
        "Provides",
        "Conflicts",
        "Breaks",
        "Priority",
        "Installed-Size",
    ];
    for field in paragraph.iter() {
        let Some(at) = NAMES.iter().position(|name| field.name().eq_ignore_ascii_case(name)) else {
            continue;
        };
        let value = match field.as_single_line() {
            Some(line) => line.trim_end().to_owned(),
            None => field.lines().join(" "),
        };
        if let Some(slot) = fields.get_mut(at) {
            *slot = Some(value);
        }
    }
    let [
        package,
        version,
        architecture,
        path,
        size,
        sha256,
        pre_depends,
        depends,
        provides,
        conflicts,
        breaks,
        priority,
        installed,
    ] = fields;
    let name = package.filter(|name| is_package_name(name));
    let shown = name.clone().unwrap_or_else(|| "?".to_owned());
    let wrong = |field| IndexError::Field { index: index.to_owned(), package: shown.clone(), field };
    let architecture = architecture.ok_or_else(|| wrong("Architecture"))?;
    if architecture != ARCHITECTURE && architecture != "all" {
        return Ok(None);
    }
    let both = |a: Option<String>, b: Option<String>| match (a, b) {
        (Some(a), Some(b)) => format!("{a}, {b}"),
        (a, b) => a.or(b).unwrap_or_default(),
    };
    let priorities = ["required", "important", "standard", "optional", "extra"];
    let priority = priority.and_then(|p| priorities.iter().position(|known| *known == p)).unwrap_or(4);
    Ok(Some(Package {
        name: name.ok_or_else(|| wrong("Package"))?,
        version: version.as_deref().and_then(Version::parse).ok_or_else(|| wrong("Version"))?,
        archive,
        path: path.filter(|path| is_pool_path(path)).ok_or_else(|| wrong("Filename"))?,
        size: size
            .and_then(|s| s.parse().ok())
            .filter(|s| (1..=LARGEST_DEB).contains(s))
            .ok_or_else(|| wrong("Size"))?,
        sha256: sha256.filter(|digest| is_sha256(digest)).ok_or_else(|| wrong("SHA256"))?,
        installed_kib: installed.and_then(|s| s.parse().ok()).unwrap_or(0),
        depends: both(pre_depends, depends),
        provides: provides.unwrap_or_default(),
        conflicts: both(conflicts, breaks),
        priority: priority as u8,
    }))
}

impl Indexes {
    /// Puts the indexes of a suite together. A `Provides` that cannot be read provides nothing.
    pub fn new(suite: &str, parts: Vec<(Release, PackageIndex)>) -> Self {
        let mut packages = Vec::with_capacity(parts.iter().map(|(_, index)| index.len()).sum());
        let mut releases = Vec::new();
        for (release, index) in parts {
            releases.push(release);
            packages.extend(index.packages);
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::with_capacity(packages.len());
        for (at, package) in packages.iter().enumerate() {
            by_name.entry(package.name.clone()).or_default().push(at);
        }
        let mut providers: HashMap<String, Vec<(usize, Option<Version>)>> = HashMap::new();
        for list in by_name.values_mut() {
            let version = |at: &usize| packages.get(*at).map(|p| (&p.version, std::cmp::Reverse(p.archive)));
            if list.len() > 1 {
                list.sort_by(|a, b| version(b).cmp(&version(a)));
            }
        }
        for (at, package) in packages.iter().enumerate().filter(|(_, p)| !p.provides.is_empty()) {
            let newest = by_name.get(&package.name).and_then(|list| list.first()) == Some(&at);
            if !newest {
                continue;
            }
            for relation in parse_dependencies(&package.provides).unwrap_or_default().into_iter().flatten() {
                let version = relation.constraint.map(|constraint| constraint.version);
                providers.entry(relation.name).or_default().push((at, version));
            }
        }
        Self { suite: suite.to_owned(), releases, packages, by_name, providers }
    }
    /// The suite's codename, for example `trixie`.
    pub fn suite(&self) -> &str {
        &self.suite
    }
    /// The Release files that the packages came from.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }
    /// Seconds since 1970: the newest `Date` of the Release files.
    pub fn newest_date(&self) -> u64 {
        self.releases.iter().map(|release| release.date).max().unwrap_or(0)
    }
    /// Number of packages of all indexes.
    pub fn len(&self) -> usize {
        self.packages.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }
    /// Every version of a name, newest first.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &Package> {
        self.by_name.get(name).into_iter().flatten().filter_map(|at| self.packages.get(*at))
    }
    /// The newest packages that provide a name, with the version that they provide, in order of priority and name.
    pub fn providers(&self, name: &str) -> Vec<(&Package, Option<&Version>)> {
        let list = self.providers.get(name).into_iter().flatten();
        let mut found: Vec<_> =
            list.filter_map(|(at, version)| Some((self.packages.get(*at)?, version.as_ref()))).collect();
        found.sort_by(|(a, _), (b, _)| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        found
    }
    /// Every name, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

/// Policy 5.6.7: lower case letters, digits, `+`, `-`, `.`; begins with a letter or digit. At most 128 bytes, and one
/// letter is enough (a profile's typing error should be told as an unknown name).
pub fn is_package_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 128
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || matches!(b, b'+' | b'-' | b'.'))
}

/// A path below an archive's root that stays in `pool/`: no empty, `.` or `..` parts, no odd characters.
pub fn is_pool_path(path: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_' | b'~' | b':' | b'%');
    path.len() <= 512
        && path.starts_with("pool/")
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed))
}

/// 64 lower-case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
