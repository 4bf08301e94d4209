//! A suite's package indexes, with its updates and security updates.
//!
//! Takes a mirror and a suite. Gives [`Indexes`]: every Packages file by the digest in a Release that Debian's keys
//! signed. A suite's updates and security archives count where they are served; where not, a note says so. Packages
//! files stay in the cache by their digest.

use crate::Fetch;
use crate::download::{DownloadError, Expected};
use crate::http::HttpError;
use crate::mirror::Mirror;
use crate::release::{About, Keys, ReleaseError, SignedRelease};
use jiff::Timestamp;
use nodeimg_plan::debian::{IndexError, Indexes, PackageIndex, Release};
use nodeimg_plan::lock::Archive;
use nodeimg_plan::profile::{Component, Suite};
use nodeimg_progress::Outcome;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest Packages file that is believed, packed or not, bytes.
const LARGEST_INDEX: u64 = 256 << 20;

/// Indexes that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The mirror lacks the suite.
    #[error(
        "the mirror \"{mirror}\" does not serve suite \"{suite}\"\nhelp: give another one with --mirror URL"
    )]
    NoSuite {
        /// The mirror.
        mirror: String,
        /// The suite.
        suite: String,
    },
    /// A request failed.
    #[error(transparent)]
    Http(HttpError),
    /// A Release is not used.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A Packages file did not come.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The Release names no Packages file.
    #[error(
        "\"{url}\" names no package index for \"{component}\"\nhelp: leave the component out of the profile, or give another mirror with --mirror URL"
    )]
    NoIndex {
        /// The Release.
        url: String,
        /// The component.
        component: &'static str,
    },
    /// A Packages file cannot be unpacked.
    #[error("package index \"{}\" cannot be unpacked", path.display())]
    Unpack {
        /// The file in the cache.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A Packages file cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// One suite of one archive that belongs to what a profile calls its suite.
struct Part {
    archive: Archive,
    codename: String,
    label: &'static str,
    /// Whether there is no image without it.
    needed: bool,
}

fn parts(suite: Suite) -> [Part; 3] {
    let part = |archive, ending: &str, label, needed| Part {
        archive,
        codename: format!("{}{ending}", suite.as_str()),
        label,
        needed,
    };
    [
        part(Archive::Debian, "", "Debian", true),
        part(Archive::Debian, "-updates", "Debian", false),
        part(Archive::DebianSecurity, "-security", "Debian-Security", false),
    ]
}

/// The indexes of `suite`. `now` is this machine's time, for the validity of signatures and Release files.
pub fn indexes(
    fetch: Fetch<'_>,
    mirror: &Mirror,
    suite: Suite,
    components: &[Component],
    keys: &Keys,
    now: Timestamp,
) -> Result<Indexes, ArchiveError> {
    let step = fetch.progress.step("package indexes");
    let mut releases = Vec::new();
    for part in parts(suite) {
        let Some(root) = mirror.root(part.archive) else { continue };
        let url = format!("{root}/dists/{}/InRelease", part.codename);
        let bytes = match fetch.client.get(&url, crate::release::LONGEST as u64) {
            Ok(bytes) => bytes,
            Err(HttpError::Missing { .. }) if part.needed => {
                return Err(ArchiveError::NoSuite { mirror: root.to_owned(), suite: part.codename });
            }
            Err(HttpError::Missing { .. }) => {
                step.note(&format!("\"{root}\" does not serve {}: going on without it", part.codename));
                continue;
            }
            Err(e) => return Err(ArchiveError::Http(e)),
        };
        let about = About { label: part.label, codename: &part.codename };
        let release = SignedRelease::check(&bytes, &url, keys, about, now)?;
        releases.push((part, root, url, release));
    }
    let mut wanted = Vec::new();
    for (part, root, url, release) in &releases {
        for component in components {
            match packages_file(release, *component) {
                Some(found) => wanted.push((part, *root, release, found)),
                None if part.needed => {
                    return Err(ArchiveError::NoIndex { url: url.clone(), component: component.as_str() });
                }
                None => {}
            }
        }
    }
    step.set_total(wanted.iter().map(|(.., (_, file))| file.size).sum());
    let mut outcome = Outcome::Cached;
    let mut parsed = Vec::new();
    for (part, root, release, (path, file)) in wanted {
        if fetch.cache.blob(&file.sha256).is_none() {
            outcome = Outcome::Built;
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let place =
            if release.by_hash { format!("{folder}/by-hash/SHA256/{}", file.sha256) } else { path.clone() };
        let url = format!("{root}/dists/{}/{place}", part.codename);
        let expected = Expected { sha256: &file.sha256, size: file.size };
        let blob = fetch.blob(&url, expected, &|bytes| step.add(bytes))?;
        let text =
            unpack(&blob, &path).map_err(|source| ArchiveError::Unpack { path: blob.clone(), source })?;
        let index = PackageIndex::parse(&format!("{} {path}", part.codename), part.archive, &text)?;
        parsed.push((Release { codename: part.codename.clone(), date: release.date }, index));
    }
    let indexes = Indexes::new(suite.as_str(), parsed);
    step.finish(outcome);
    Ok(indexes)
}

/// The Packages file of a component, in the best packed form that there is.
fn packages_file(
    release: &SignedRelease,
    component: Component,
) -> Option<(String, &crate::release::ReleaseFile)> {
    [".xz", ".gz", ""].iter().find_map(|ending| {
        let path = format!("{}/binary-amd64/Packages{ending}", component.as_str());
        let file = release.file(&path).filter(|file| file.size <= LARGEST_INDEX)?;
        Some((path, file))
    })
}

/// Unpacks by the name's ending, up to a bound.
fn unpack(blob: &Path, path: &str) -> io::Result<String> {
    let file = File::open(blob)?;
    let reader: Box<dyn Read> = match path {
        path if path.ends_with(".xz") => Box::new(liblzma::read::XzDecoder::new(file)),
        path if path.ends_with(".gz") => Box::new(flate2::read::GzDecoder::new(io::BufReader::new(file))),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    reader.take(LARGEST_INDEX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_INDEX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {LARGEST_INDEX} bytes"),
        ));
    }
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))
}
