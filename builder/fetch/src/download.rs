//! A file of known size and SHA-256, from the network into the cache.
//!
//! Takes URLs that should serve it. Gives the path of the blob. A download that was broken off goes on where it
//! stopped; the file is adopted only when all its bytes have been hashed and the digest is the expected one. Writes
//! below the cache's `tmp` and `blob`, nowhere else.

use crate::Fetch;
use crate::http::{Attempt, HttpError};
use nodeimg_cache::CacheError;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use ureq::http::{Response, StatusCode, header};

/// What a file must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Hexadecimal.
    pub sha256: &'a str,
    /// Bytes.
    pub size: u64,
}

/// A download that gave no file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The request did not work.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The cache did not work.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Other bytes than expected.
    #[error(
        "\"{url}\" is not what it should be\n  expected SHA-256 {expected}\n  got              {got}\nhelp: nothing of it was used; try another mirror with --mirror URL"
    )]
    Digest {
        /// Where from.
        url: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Another size than expected.
    #[error(
        "\"{url}\" is not what it should be\n  expected {expected} bytes\n  got      {got}\nhelp: nothing of it was used; try another mirror with --mirror URL"
    )]
    Size {
        /// Where from.
        url: String,
        /// What it should be.
        expected: u64,
        /// What it is, as far as the server told.
        got: u64,
    },
    /// No room.
    #[error(
        "the disk is full: cannot write \"{}\"\nhelp: make room or give another cache with --cache DIR; the next run goes on from here",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot write \"{}\"", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Fetch<'_> {
    /// The blob with these bytes: out of the cache, else from `url`. `told` hears of every byte that is newly there.
    pub fn blob(
        &self,
        url: &str,
        expected: Expected<'_>,
        told: &dyn Fn(u64),
    ) -> Result<PathBuf, DownloadError> {
        if let Some(path) = self.cache.blob(expected.sha256) {
            told(expected.size);
            return Ok(path);
        }
        let _lock = self.cache.lock(&format!("blob-{}", expected.sha256))?;
        if let Some(path) = self.cache.blob(expected.sha256) {
            told(expected.size);
            return Ok(path);
        }
        let path = self.cache.partial(expected.sha256);
        let mut partial = Partial::open(&path, expected)?;
        told(partial.length);
        self.client.retry(url, || partial.fill(self, url, expected, told))?;
        Ok(self.cache.adopt_blob(expected.sha256, &path)?)
    }
}

/// A file that grows to what is expected.
struct Partial<'a> {
    path: &'a Path,
    file: File,
    /// Of the bytes that are there.
    hash: Sha256,
    /// Bytes that are there.
    length: u64,
    /// Whether bytes of an earlier run or try are among them.
    resumed: bool,
}

impl<'a> Partial<'a> {
    fn open(path: &'a Path, expected: Expected<'_>) -> Result<Self, DownloadError> {
        let fail = |source| write_error(path, source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        let mut partial = Self { path, file, hash: Sha256::new(), length: 0, resumed: false };
        let length = partial.file.metadata().map_err(fail)?.len();
        if length > expected.size {
            partial.restart()?;
            return Ok(partial);
        }
        let mut buffer = vec![0; 1 << 18];
        let mut there = partial.file.try_clone().map_err(fail)?.take(length);
        loop {
            match there.read(&mut buffer).map_err(fail)? {
                0 => break,
                n => partial.take(&buffer, n),
            }
        }
        partial.resumed = partial.length > 0;
        Ok(partial)
    }

    fn take(&mut self, buffer: &[u8], n: usize) {
        self.hash.update(buffer.get(..n).unwrap_or(buffer));
        self.length += n as u64;
    }

    /// Forgets what is there.
    fn restart(&mut self) -> Result<(), DownloadError> {
        let fail = |source| write_error(self.path, source);
        self.file.set_len(0).map_err(fail)?;
        self.file.seek(SeekFrom::Start(0)).map_err(fail)?;
        self.hash = Sha256::new();
        self.length = 0;
        self.resumed = false;
        Ok(())
    }

    /// One try to get the rest and to check the whole.
    fn fill(
        &mut self,
        fetch: &Fetch<'_>,
        url: &str,
        expected: Expected<'_>,
        told: &dyn Fn(u64),
    ) -> Result<(), Attempt<DownloadError>> {
        if self.length < expected.size {
            let response = match fetch.client.request(url, self.length) {
                // The server cannot go on from there: from the start, then.
                Err(Attempt::Again(e)) if matches!(*e, ureq::Error::StatusCode(416)) => {
                    self.restart().map_err(Attempt::Stop)?;
                    return Err(Attempt::Again(e));
                }
                other => other?,
            };
            if self.length > 0 && !continues(&response, self.length) {
                self.restart().map_err(Attempt::Stop)?;
            }
            self.receive(response, url, expected, told)?;
        }
        let got = hex::encode(self.hash.clone().finalize());
        if got == expected.sha256 {
            return self.file.sync_data().map_err(|e| Attempt::Stop(write_error(self.path, e)));
        }
        let resumed = self.resumed;
        self.restart().map_err(Attempt::Stop)?;
        if resumed {
            // What an earlier run left may be what is wrong.
            return self.fill(fetch, url, expected, told);
        }
        Err(Attempt::Stop(DownloadError::Digest {
            url: url.to_owned(),
            expected: expected.sha256.to_owned(),
            got,
        }))
    }

    fn receive(
        &mut self,
        response: Response<ureq::Body>,
        url: &str,
        expected: Expected<'_>,
        told: &dyn Fn(u64),
    ) -> Result<(), Attempt<DownloadError>> {
        let size = |got| DownloadError::Size { url: url.to_owned(), expected: expected.size, got };
        if let Some(announced) = response.body().content_length() {
            let whole = self.length.saturating_add(announced);
            if whole != expected.size {
                let resumed = self.resumed;
                self.restart().map_err(Attempt::Stop)?;
                return if resumed {
                    self.again("its size changed")
                } else {
                    Err(Attempt::Stop(size(whole)))
                };
            }
        }
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(n) => n,
                Err(e) => {
                    self.resumed = self.length > 0;
                    return Err(Attempt::Again(Box::new(e.into())));
                }
            };
            if n == 0 {
                break;
            }
            if self.length + n as u64 > expected.size {
                let got = self.length + n as u64;
                self.restart().map_err(Attempt::Stop)?;
                return Err(Attempt::Stop(size(got)));
            }
            self.file
                .write_all(buffer.get(..n).unwrap_or(&buffer))
                .map_err(|e| Attempt::Stop(write_error(self.path, e)))?;
            self.take(&buffer, n);
            told(n as u64);
        }
        if self.length < expected.size {
            self.resumed = self.length > 0;
            return self.again("the connection ended early");
        }
        Ok(())
    }

    fn again(&self, why: &str) -> Result<(), Attempt<DownloadError>> {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, why.to_owned());
        Err(Attempt::Again(Box::new(ureq::Error::Io(error))))
    }
}

/// Whether an answer goes on exactly where the file ends (RFC 9110, 14.4: `bytes FIRST-LAST/SIZE`).
fn continues(response: &Response<ureq::Body>, from: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let first = range
        .strip_prefix("bytes ")
        .and_then(|r| r.split_once('-'))
        .and_then(|(first, _)| first.parse().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && first == Some(from)
}

fn write_error(path: &Path, source: io::Error) -> DownloadError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            DownloadError::DiskFull { path: path.to_owned() }
        }
        _ => DownloadError::Write { path: path.to_owned(), source },
    }
}
