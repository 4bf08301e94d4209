//! A whole small archive on the loopback address: Release, indexes, lock, .debs.

use crate::loopback::{Reply, Server};
use crate::signer::{self, Signer};
use jiff::Timestamp;
use nodeimg_cache::Cache;
use nodeimg_fetch::archive::{self, ArchiveError};
use nodeimg_fetch::debs::{self, DebsError, FetchedDebs};
use nodeimg_fetch::http::Client;
use nodeimg_fetch::mirror::{Mirror, NamedBy};
use nodeimg_fetch::{Fetch, download::DownloadError};
use nodeimg_plan::debian::Indexes;
use nodeimg_plan::lock::{Lock, LockedPackage, SCHEMA, Set};
use nodeimg_plan::profile::{Component, Suite};
use nodeimg_progress::Progress;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;

const DATE: &str = "Sat, 21 Nov 2026 00:00:00 UTC";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn deb(name: &str) -> Vec<u8> {
    format!("the package {name}").repeat(1000).into_bytes()
}

fn packages(names: &[(&str, &str)]) -> Vec<u8> {
    let paragraph = |(name, version): &(&str, &str)| {
        let deb = deb(name);
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/main/{name}.deb\nSize: {}\n\
             SHA256: {}\n\n",
            deb.len(),
            digest(&deb)
        )
    };
    let text: String = names.iter().map(paragraph).collect();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(text.as_bytes()).expect("packed");
    xz.finish().expect("packed")
}

/// Adds a suite to an archive's files.
fn suite(
    files: &mut BTreeMap<String, Vec<u8>>,
    signer: &Signer,
    root: &str,
    label: &str,
    codename: &str,
    names: &[(&str, &str)],
) {
    let index = packages(names);
    let text = signer::release(label, codename, DATE, &[("main/binary-amd64/Packages.xz", &index)]);
    files.insert(format!("{root}/dists/{codename}/InRelease"), signer.sign(&text).into_bytes());
    let by_hash = format!("{root}/dists/{codename}/main/binary-amd64/by-hash/SHA256/{}", digest(&index));
    files.insert(by_hash, index);
    for (name, _) in names {
        files.insert(format!("{root}/pool/main/{name}.deb"), deb(name));
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    cache: Cache,
    progress: Progress,
    client: Client,
    signer: Signer,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let cache = Cache::open(folder.path()).expect("cache");
        let (progress, client) = (Progress::silent(), Client::direct());
        Self { _folder: folder, cache, progress, client, signer: Signer::new() }
    }
    fn fetch(&self) -> Fetch<'_> {
        Fetch { client: &self.client, cache: &self.cache, progress: &self.progress }
    }
    fn indexes(&self, server: &Server) -> Result<Indexes, ArchiveError> {
        let components = [Component::Main];
        archive::indexes(
            self.fetch(),
            &mirror(server),
            Suite::Trixie,
            &components,
            &self.signer.keys(),
            now(),
        )
    }
}

fn mirror(server: &Server) -> Mirror {
    Mirror::at(&format!("{}/debian/", server.url), NamedBy::Flag).expect("mirror")
}

/// A lock of these packages as an index names them.
fn lock(indexes: &Indexes, names: &[&str]) -> Lock {
    let package = |name: &&str| {
        let p = indexes.versions(name).next().expect("a package");
        LockedPackage {
            name: p.name.clone(),
            version: p.version.to_string(),
            archive: p.archive,
            path: p.path.clone(),
            size: p.size,
            sha256: p.sha256.clone(),
            sets: vec![Set::Image],
        }
    };
    Lock {
        schema: SCHEMA,
        inputs: "0".repeat(64),
        source_date_epoch: indexes.newest_date(),
        suite: "trixie".into(),
        go: None,
        modules: Vec::new(),
        packages: names.iter().map(package).collect(),
    }
}

#[test]
fn a_suite_with_its_security_updates_becomes_debs_in_the_cache() {
    let bench = Bench::new();
    let mut files = BTreeMap::new();
    suite(&mut files, &bench.signer, "/debian", "Debian", "trixie", &[("a", "1"), ("b", "1")]);
    let security = ("Debian-Security", "trixie-security");
    suite(&mut files, &bench.signer, "/debian-security", security.0, security.1, &[("b", "1+deb13u1")]);
    let server = Server::files(files);
    let indexes = bench.indexes(&server).expect("indexes");
    assert_eq!(indexes.releases().len(), 2, "trixie-updates is not served, and that is no error");
    let lock = lock(&indexes, &["a", "b"]);
    assert_eq!(lock.packages[1].version, "1+deb13u1");
    assert!(FetchedDebs::cached(&lock, &bench.cache).is_none());
    let fetched = debs::debs(bench.fetch(), &mirror(&server), &lock, "p.toml").expect("debs");
    assert_eq!(std::fs::read(fetched.path(&lock.packages[1])).expect("blob"), deb("b"));
    assert!(server.seen().iter().any(|r| r.path == "/debian-security/pool/main/b.deb"));
    let before = server.seen().len();
    debs::debs(bench.fetch(), &mirror(&server), &lock, "p.toml").expect("cached");
    assert_eq!(server.seen().len(), before, "what is in the cache is not asked for again");
}

#[test]
fn a_mirror_without_the_suite_is_told() {
    let bench = Bench::new();
    let error = bench.indexes(&Server::files(BTreeMap::new())).expect_err("no suite");
    assert!(matches!(error, ArchiveError::NoSuite { .. }), "{error:?}");
    assert!(error.to_string().contains("--mirror"), "{error}");
}

#[test]
fn an_index_that_is_not_the_signed_one_is_not_used() {
    let bench = Bench::new();
    let mut files = BTreeMap::new();
    suite(&mut files, &bench.signer, "/debian", "Debian", "trixie", &[("a", "1")]);
    for (path, bytes) in &mut files {
        if path.contains("by-hash") {
            bytes[10] ^= 1;
        }
    }
    let error = bench.indexes(&Server::files(files)).expect_err("refused");
    assert!(matches!(error, ArchiveError::Download(DownloadError::Digest { .. })), "{error:?}");
}

#[test]
fn files_that_the_mirror_dropped_are_named_all_at_once() {
    let bench = Bench::new();
    let mut files = BTreeMap::new();
    let names = [("a", "1"), ("b", "2"), ("c", "3")];
    suite(&mut files, &bench.signer, "/debian", "Debian", "trixie", &names);
    files.remove("/debian/pool/main/a.deb");
    files.remove("/debian/pool/main/c.deb");
    let server = Server::files(files);
    let lock = lock(&bench.indexes(&server).expect("indexes"), &["a", "b", "c"]);
    let error = debs::debs(bench.fetch(), &mirror(&server), &lock, "profiles/p.toml").expect_err("stale");
    match &error {
        DebsError::Stale { names, .. } => assert_eq!(names, &["a 1", "c 3"]),
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("nodeimg build --update profiles/p.toml"), "{error}");
    assert!(bench.cache.blob(&digest(&deb("b"))).is_some(), "what is there was fetched");
}

#[test]
fn a_changed_deb_stops_the_set() {
    let bench = Bench::new();
    let mut files = BTreeMap::new();
    suite(&mut files, &bench.signer, "/debian", "Debian", "trixie", &[("a", "1")]);
    let indexes = bench.indexes(&Server::files(files.clone())).expect("indexes");
    let lock = lock(&indexes, &["a"]);
    let server = Server::start(|_, _| Reply::whole(&vec![b'x'; deb("a").len()]));
    let error = debs::debs(bench.fetch(), &mirror(&server), &lock, "p.toml").expect_err("refused");
    assert!(matches!(error, DebsError::Download { source: DownloadError::Digest { .. }, .. }), "{error:?}");
    assert!(FetchedDebs::cached(&lock, &bench.cache).is_none());
}
