//! Downloads from a server that behaves, breaks off, lies or has nothing.

use crate::loopback::{Reply, Server};
use nodeimg_cache::Cache;
use nodeimg_fetch::Fetch;
use nodeimg_fetch::download::{DownloadError, Expected};
use nodeimg_fetch::http::{Client, HttpError};
use nodeimg_progress::Progress;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

struct Bench {
    _folder: tempfile::TempDir,
    cache: Cache,
    progress: Progress,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let cache = Cache::open(folder.path()).expect("cache");
        Self { _folder: folder, cache, progress: Progress::silent(), client: Client::direct() }
    }
    fn get(&self, url: &str, body: &[u8]) -> Result<PathBuf, DownloadError> {
        let fetch = Fetch { client: &self.client, cache: &self.cache, progress: &self.progress };
        let sha256 = digest(body);
        fetch.blob(url, Expected { sha256: &sha256, size: body.len() as u64 }, &|_| {})
    }
    /// What an earlier run left.
    fn left(&self, body: &[u8], bytes: &[u8]) {
        fs::write(self.cache.partial(&digest(body)), bytes).expect("partial file");
    }
    fn has(&self, body: &[u8]) -> bool {
        self.cache.blob(&digest(body)).is_some()
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn body() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn a_file_comes_once_and_then_out_of_the_cache() {
    let (bench, body) = (Bench::new(), body());
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::range(&served, request.from));
    let path = bench.get(&server.url, &body).expect("download");
    assert_eq!(fs::read(path).expect("blob"), body);
    bench.get(&server.url, &body).expect("cached");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_broken_connection_goes_on_where_it_stopped() {
    let (bench, body) = (Bench::new(), body());
    let served = body.clone();
    let server = Server::start(move |request, before| match before {
        0 | 1 => Reply::range(&served, request.from).cut(400_000),
        _ => Reply::range(&served, request.from),
    });
    let path = bench.get(&server.url, &body).expect("download");
    assert_eq!(fs::read(path).expect("blob"), body);
    let from: Vec<_> = server.seen().iter().map(|r| r.from.unwrap_or(0)).collect();
    assert_eq!(from.len(), 3);
    assert!(from[0] == 0 && from[1] > 0 && from[2] > from[1], "{from:?}");
}

#[test]
fn what_a_killed_run_left_is_continued_and_told_as_progress() {
    let (bench, body) = (Bench::new(), body());
    bench.left(&body, &body[..1_000_000]);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::range(&served, request.from));
    let fetch = Fetch { client: &bench.client, cache: &bench.cache, progress: &bench.progress };
    let told = Cell::new(0);
    let sha256 = digest(&body);
    let expected = Expected { sha256: &sha256, size: body.len() as u64 };
    fetch.blob(&server.url, expected, &|n| told.set(told.get() + n)).expect("download");
    assert_eq!(server.seen()[0].from, Some(1_000_000));
    assert_eq!(told.get(), body.len() as u64);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let (bench, body) = (Bench::new(), body());
    bench.left(&body, &body[..10]);
    let served = body.clone();
    let server = Server::start(move |_, _| Reply::whole(&served));
    let path = bench.get(&server.url, &body).expect("download");
    assert_eq!(fs::read(path).expect("blob"), body);
}

#[test]
fn rubbish_of_an_earlier_run_is_thrown_away() {
    for rubbish in [vec![7; 1000], vec![7; 2_000_000], vec![7; 1_200_000]] {
        let (bench, body) = (Bench::new(), body());
        bench.left(&body, &rubbish);
        let served = body.clone();
        let server = Server::start(move |request, _| Reply::range(&served, request.from));
        let path = bench.get(&server.url, &body).expect("download");
        assert_eq!(fs::read(path).expect("blob"), body);
    }
}

#[test]
fn a_range_that_the_server_does_not_have_begins_anew() {
    let (bench, body) = (Bench::new(), body());
    bench.left(&body, &body[..10]);
    let served = body.clone();
    let server = Server::start(move |request, _| match request.from {
        Some(_) => Reply::status(416),
        None => Reply::whole(&served),
    });
    bench.get(&server.url, &body).expect("download");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn other_bytes_are_refused_and_nothing_of_them_is_kept() {
    let (bench, body) = (Bench::new(), body());
    let mut other = body.clone();
    other[77] ^= 1;
    let got = digest(&other);
    let server = Server::start(move |request, _| Reply::range(&other, request.from));
    let error = bench.get(&server.url, &body).expect_err("refused");
    let text = error.to_string();
    assert!(matches!(error, DownloadError::Digest { .. }), "{error:?}");
    assert!(text.contains(&digest(&body)) && text.contains(&got) && text.contains("help:"), "{text}");
    assert!(!bench.has(&body));
    assert_eq!(fs::metadata(bench.cache.partial(&digest(&body))).expect("partial").len(), 0);
}

#[test]
fn more_or_fewer_bytes_than_expected_are_refused() {
    for change in [-1i64, 1, 500_000] {
        let (bench, body) = (Bench::new(), body());
        let mut other = body.clone();
        other.resize((body.len() as i64 + change) as usize, 0);
        let server = Server::start(move |_, _| Reply::whole(&other));
        let error = bench.get(&server.url, &body).expect_err("refused");
        assert!(matches!(error, DownloadError::Size { .. }), "{change}: {error:?}");
        assert!(!bench.has(&body));
    }
}

#[test]
fn a_missing_file_is_told_at_once_and_a_tired_server_is_asked_again() {
    let (bench, body) = (Bench::new(), body());
    let server = Server::start(|_, _| Reply::status(404));
    let error = bench.get(&server.url, &body).expect_err("missing");
    assert!(matches!(error, DownloadError::Http(HttpError::Missing { status: 404, .. })), "{error:?}");
    assert_eq!(server.seen().len(), 1);
    let served = body.clone();
    let server = Server::start(move |request, before| match before {
        0 => Reply::status(503),
        1 => Reply::status(429),
        _ => Reply::range(&served, request.from),
    });
    bench.get(&server.url, &body).expect("third time");
    let server = Server::start(|_, _| Reply::status(500));
    let error = bench.get(&server.url, b"other").expect_err("never");
    assert!(matches!(error, DownloadError::Http(HttpError::Network { tries: 5, .. })), "{error:?}");
}

#[test]
fn a_document_has_a_limit() {
    let server = Server::start(|_, _| Reply::whole(&[b'x'; 1000]));
    let client = Client::direct();
    assert_eq!(client.get(&server.url, 1000).expect("document").len(), 1000);
    let error = client.get(&server.url, 999).expect_err("too large");
    assert!(matches!(error, HttpError::TooLarge { limit: 999, .. }), "{error:?}");
}

#[test]
fn a_full_disk_says_so() {
    // A file system of its own that is full needs root; a device that always is full does not.
    let (bench, body) = (Bench::new(), body());
    std::os::unix::fs::symlink("/dev/full", bench.cache.partial(&digest(&body))).expect("link");
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::range(&served, request.from));
    let error = bench.get(&server.url, &body).expect_err("full");
    assert!(matches!(error, DownloadError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("the next run goes on"), "{error}");
    assert!(!bench.has(&body));
}
