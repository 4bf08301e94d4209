//! Which mirror to fetch from.
//!
//! Takes what the person said (flag, environment, profile) and this machine's apt configuration. Gives a [`Mirror`].
//! Reads apt's files; asks the network only for the Release of a source that apt has not fetched yet. Nothing here is
//! trusted: what a mirror serves is checked against Debian's keys later.

use crate::apt_sources::{AptSource, LONGEST, list_name, origin_and_label, parse_deb822, parse_one_line};
use crate::http::Client;
use crate::release;
use nodeimg_plan::lock::Archive;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian's archives are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    debian: String,
    security: Option<String>,
    /// Who named it, for messages.
    pub named_by: NamedBy,
}

/// Who named a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// `--mirror`.
    Flag,
    /// `NODEIMG_MIRROR`.
    Environment,
    /// The profile's `[os] mirror`.
    Profile,
    /// This machine's apt sources.
    Apt,
}

/// What the person said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Named<'a> {
    /// `--mirror`.
    pub flag: Option<&'a str>,
    /// `NODEIMG_MIRROR`.
    pub environment: Option<&'a str>,
    /// The profile's.
    pub profile: Option<&'a str>,
}

/// Where apt keeps its configuration and its lists.
#[derive(Debug, Clone)]
pub struct AptFolders {
    /// `/etc/apt`.
    pub configuration: PathBuf,
    /// `/var/lib/apt/lists`.
    pub lists: PathBuf,
}

/// No mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Nobody named one.
    #[error(
        "no mirror known: {looked_at}\nhelp: give one with --mirror URL (the folder that holds `dists` and `pool`), set NODEIMG_MIRROR, or write `mirror = \"URL\"` below [os] in the profile"
    )]
    None {
        /// What was looked at.
        looked_at: String,
    },
    /// Not a URL.
    #[error(
        "{by} names the mirror \"{url}\", which is no http or https URL\nhelp: give the folder that holds `dists` and `pool`, for example http://MIRROR/debian"
    )]
    NoUrl {
        /// Who named it.
        by: NamedBy,
        /// What was said.
        url: String,
    },
}

impl std::fmt::Display for NamedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NamedBy::Flag => "--mirror",
            NamedBy::Environment => "NODEIMG_MIRROR",
            NamedBy::Profile => "the profile",
            NamedBy::Apt => "this machine's apt configuration",
        })
    }
}

impl AptFolders {
    /// Those of the machine whose root folder is `root`.
    pub fn of(root: &Path) -> Self {
        Self { configuration: root.join("etc/apt"), lists: root.join("var/lib/apt/lists") }
    }
}

impl Mirror {
    /// The archive at `url`, its security archive beside it: `…/debian` and `…/debian-security`.
    pub fn at(url: &str, named_by: NamedBy) -> Result<Self, MirrorError> {
        let url = url.trim_end_matches('/');
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if !rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(MirrorError::NoUrl { by: named_by, url: url.to_owned() });
        }
        Ok(Self { debian: url.to_owned(), security: Some(format!("{url}-security")), named_by })
    }
    /// The root of an archive, without a slash at the end.
    pub fn root(&self, archive: Archive) -> Option<&str> {
        match archive {
            Archive::Debian => Some(&self.debian),
            Archive::DebianSecurity => self.security.as_deref(),
        }
    }
}

/// The mirror that the flag names, else the environment, else the profile, else this machine's apt.
pub fn discover(named: Named<'_>, apt: &AptFolders, client: &Client) -> Result<Mirror, MirrorError> {
    let words = [
        (named.flag, NamedBy::Flag),
        (named.environment, NamedBy::Environment),
        (named.profile, NamedBy::Profile),
    ];
    if let Some((url, by)) =
        words.into_iter().find_map(|(url, by)| Some((url.filter(|u| !u.is_empty())?, by)))
    {
        return Mirror::at(url, by);
    }
    let sources = sources(&apt.configuration);
    let (mut debian, mut security) = (None, None);
    for source in &sources {
        if debian.is_some() && (security.is_some() || !sources.iter().any(|s| s.uri.ends_with("-security"))) {
            break;
        }
        match origin(source, apt, client) {
            Some((origin, label)) if origin == "Debian" && label == "Debian" => {
                debian = debian.or(Some(source.uri.clone()));
            }
            Some((origin, label)) if origin == "Debian" && label == "Debian-Security" => {
                security = security.or(Some(source.uri.clone()));
            }
            _ => {}
        }
    }
    match debian {
        Some(debian) => {
            let security = security.or_else(|| Some(format!("{debian}-security")));
            Ok(Mirror { debian, security, named_by: NamedBy::Apt })
        }
        None => Err(MirrorError::None {
            looked_at: match sources.len() {
                0 => format!("\"{}\" has no apt sources", apt.configuration.display()),
                n => format!("none of the {n} apt sources of this machine has a Release with Origin Debian"),
            },
        }),
    }
}

/// All sources of apt's configuration, in apt's order of files.
fn sources(configuration: &Path) -> Vec<AptSource> {
    let mut files = vec![configuration.join("sources.list")];
    let parts = fs::read_dir(configuration.join("sources.list.d")).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(parts);
    let mut all: Vec<AptSource> = Vec::new();
    for file in files {
        let parse: fn(&str) -> Vec<AptSource> = match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => parse_deb822,
            Some("list") => parse_one_line,
            _ => continue,
        };
        if fs::metadata(&file).is_ok_and(|m| m.len() <= LONGEST as u64) {
            let found = fs::read_to_string(&file).map(|text| parse(&text)).unwrap_or_default();
            all.extend(found.into_iter().filter(|source| !all.contains(source)).collect::<Vec<_>>());
        }
    }
    all
}

/// What a source's Release says of its origin: apt's own copy of it, else asked for.
fn origin(source: &AptSource, apt: &AptFolders, client: &Client) -> Option<(String, String)> {
    let list = apt.lists.join(list_name(source));
    let small = fs::metadata(&list).is_ok_and(|m| m.len() <= release::LONGEST as u64);
    let text = if small { fs::read_to_string(&list).ok() } else { None };
    let text = text.or_else(|| {
        let url = format!("{}/dists/{}/InRelease", source.uri, source.suite);
        client.get(&url, release::LONGEST as u64).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    })?;
    origin_and_label(&text)
}
