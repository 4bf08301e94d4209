//! `InRelease`: the signed list of a suite's indexes.
//!
//! Takes its bytes, the keys that may sign it, what it must be about, and the time. Gives a [`SignedRelease`] that only
//! a good signature can make: digests by path, and dates. Format: RFC 9580 section 7 (cleartext signature), Debian's
//! repository format (deb822 below it).

use deb822_fast::borrowed::iter_paragraphs_borrowed;
use jiff::Timestamp;
use sequoia_openpgp as openpgp;
use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, SystemTime};

use openpgp::parse::Parse;
use openpgp::parse::stream::{MessageLayer, MessageStructure, VerificationHelper, VerifierBuilder};
use openpgp::policy::StandardPolicy;
use openpgp::{Cert, KeyHandle};

/// More bytes than any InRelease has.
pub const LONGEST: usize = 4 << 20;
/// How far a Release's `Date` may lie ahead of this machine's clock.
const CLOCK_SLACK: Duration = Duration::from_secs(600);

const ARCHIVE: &[u8] = include_bytes!("../keys/debian-archive-trixie-automatic.gpg");
const SECURITY: &[u8] = include_bytes!("../keys/debian-archive-trixie-security-automatic.gpg");
const STABLE: &[u8] = include_bytes!("../keys/debian-archive-trixie-stable.gpg");

/// Keys that may sign a Release file.
#[derive(Debug, Clone)]
pub struct Keys {
    certs: Vec<Cert>,
}

/// What a Release file must say about itself.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// `Label`, `Debian` or `Debian-Security`.
    pub label: &'a str,
    /// `Codename`, for example `trixie-updates`.
    pub codename: &'a str,
}

/// A Release file whose signature was good and whose dates hold.
#[derive(Debug, Clone)]
pub struct SignedRelease {
    /// `Date`, seconds since 1970.
    pub date: u64,
    /// Whether files can be fetched by their digest's name.
    pub by_hash: bool,
    files: BTreeMap<String, ReleaseFile>,
}

/// A file that a Release names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Bytes.
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// A Release file that is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// No key of ours signed these bytes.
    #[error(
        "\"{url}\" has no good signature of Debian's archive keys\n  expected a signature by one of {}\n  got      {}\nhelp: nothing of it was used; try another mirror with --mirror URL",
        expected.join(", "),
        got.join("; ")
    )]
    Signature {
        /// Where from.
        url: String,
        /// Fingerprints of the keys.
        expected: Vec<String>,
        /// What is wrong with each signature.
        got: Vec<String>,
    },
    /// Not a signed text at all.
    #[error(
        "\"{url}\" is no signed text: {reason}\nhelp: nothing of it was used; does the mirror serve Debian?"
    )]
    NotSigned {
        /// Where from.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Too old.
    #[error(
        "\"{url}\" was valid until {valid_until}, now it is {now}\nhelp: the mirror is not kept up to date: give another one with --mirror URL; or this machine's clock is wrong"
    )]
    Expired {
        /// Where from.
        url: String,
        /// Its end.
        valid_until: Timestamp,
        /// The time it was compared with.
        now: Timestamp,
    },
    /// From the future.
    #[error("\"{url}\" was made on {date}, now it is {now}\nhelp: check this machine's clock")]
    NotYet {
        /// Where from.
        url: String,
        /// Its date.
        date: Timestamp,
        /// The time it was compared with.
        now: Timestamp,
    },
    /// About something else.
    #[error(
        "\"{url}\": {field} is \"{got}\", expected \"{expected}\"\nhelp: nothing of it was used; does the mirror serve this suite of Debian?"
    )]
    Other {
        /// Where from.
        url: String,
        /// Which field.
        field: &'static str,
        /// What it says.
        got: String,
        /// What it should say.
        expected: String,
    },
    /// Signed, and yet not readable.
    #[error(
        "\"{url}\": {field} is missing or wrong\nhelp: nothing of it was used; try another mirror with --mirror URL"
    )]
    Field {
        /// Where from.
        url: String,
        /// Which field.
        field: &'static str,
    },
}

impl Keys {
    /// Debian's archive keys for trixie, shipped with nodeimg (folder `keys`).
    pub fn debian() -> Self {
        Self::from_bytes(&[ARCHIVE, SECURITY, STABLE])
    }
    /// Keys in OpenPGP's binary form; what is no key is left out, so that it signs nothing.
    pub fn from_bytes(files: &[&[u8]]) -> Self {
        Self { certs: files.iter().filter_map(|bytes| Cert::from_bytes(bytes).ok()).collect() }
    }
    /// Their fingerprints.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certs.iter().map(|cert| cert.fingerprint().to_string()).collect()
    }
}

impl SignedRelease {
    /// Checks signature, subject and dates. `url` is for messages, `now` is this machine's time.
    pub fn check(
        bytes: &[u8],
        url: &str,
        keys: &Keys,
        about: About<'_>,
        now: Timestamp,
    ) -> Result<Self, ReleaseError> {
        let text = signed_text(bytes, url, keys, now)?;
        Self::parse(&text, url, about, now)
    }

    /// The file at this path below the suite's folder.
    pub fn file(&self, path: &str) -> Option<&ReleaseFile> {
        self.files.get(path)
    }

    /// Reads a text whose signature was good.
    fn parse(text: &str, url: &str, about: About<'_>, now: Timestamp) -> Result<Self, ReleaseError> {
        let wrong = |field| ReleaseError::Field { url: url.to_owned(), field };
        let paragraph =
            iter_paragraphs_borrowed(text).next().and_then(Result::ok).ok_or_else(|| wrong("the text"))?;
        let single = |name: &'static str| paragraph.get_single(name).map(str::trim);
        let expected = [("Origin", "Debian"), ("Label", about.label), ("Codename", about.codename)];
        for (field, expected) in expected {
            let got = single(field).ok_or_else(|| wrong(field))?;
            if got != expected {
                let (url, got, expected) = (url.to_owned(), shorten(got), expected.to_owned());
                return Err(ReleaseError::Other { url, field, got, expected });
            }
        }
        let date = single("Date").and_then(timestamp).ok_or_else(|| wrong("Date"))?;
        let slack = jiff::SignedDuration::try_from(CLOCK_SLACK).unwrap_or_default();
        if date > now.saturating_add(slack).unwrap_or(now) {
            return Err(ReleaseError::NotYet { url: url.to_owned(), date, now });
        }
        if let Some(valid_until) = single("Valid-Until") {
            let valid_until = timestamp(valid_until).ok_or_else(|| wrong("Valid-Until"))?;
            if valid_until < now {
                return Err(ReleaseError::Expired { url: url.to_owned(), valid_until, now });
            }
        }
        let mut files = BTreeMap::new();
        for line in
            paragraph.get("SHA256").ok_or_else(|| wrong("SHA256"))?.iter().filter(|l| !l.trim().is_empty())
        {
            let mut words = line.split_whitespace();
            let (Some(sha256), Some(size), Some(path), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong("SHA256"));
            };
            let size = size.parse().map_err(|_| wrong("SHA256"))?;
            if !nodeimg_plan::debian::is_sha256(sha256) {
                return Err(wrong("SHA256"));
            }
            files.insert(path.to_owned(), ReleaseFile { size, sha256: sha256.to_owned() });
        }
        let date = u64::try_from(date.as_second()).map_err(|_| wrong("Date"))?;
        Ok(Self { date, by_hash: single("Acquire-By-Hash") == Some("yes"), files })
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

/// `Sat, 12 Sep 2026 07:55:41 UTC`, as RFC 9110 writes times, with UTC for GMT.
fn timestamp(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"))?;
    let civil = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S", text).ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The text below the signature; none of it is looked at before a signature was good.
fn signed_text(bytes: &[u8], url: &str, keys: &Keys, now: Timestamp) -> Result<String, ReleaseError> {
    let not_signed =
        |reason: String| ReleaseError::NotSigned { url: url.to_owned(), reason: shorten(&reason) };
    if bytes.len() > LONGEST {
        return Err(not_signed(format!("it is longer than {LONGEST} bytes")));
    }
    let time: SystemTime = now.into();
    let policy = StandardPolicy::at(time);
    let mut judge = Judge { keys, verdict: Verdict::default() };
    let mut content = Vec::new();
    let outcome = VerifierBuilder::from_bytes(bytes)
        .and_then(|builder| builder.with_policy(&policy, time, &mut judge))
        .and_then(|mut verifier| {
            Ok(verifier.read_to_end(&mut content).map(|_| verifier.message_processed())?)
        });
    match (outcome, judge.verdict) {
        (Ok(true), Verdict { good: true, .. }) => {
            String::from_utf8(content).map_err(|_| not_signed("it is not UTF-8".to_owned()))
        }
        (_, Verdict { good: false, bad, seen: true }) => {
            Err(ReleaseError::Signature { url: url.to_owned(), expected: keys.fingerprints(), got: bad })
        }
        (Err(e), _) => Err(not_signed(e.to_string())),
        (Ok(_), _) => Err(not_signed("it has no signature".to_owned())),
    }
}

#[derive(Default)]
struct Verdict {
    good: bool,
    seen: bool,
    bad: Vec<String>,
}

/// Says yes when one signature is good (Debian signs with several keys, some of which are older than ours).
struct Judge<'a> {
    keys: &'a Keys,
    verdict: Verdict,
}

impl VerificationHelper for &mut Judge<'_> {
    fn get_certs(&mut self, _ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self.keys.certs.clone())
    }
    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else { continue };
            for result in results {
                self.verdict.seen = true;
                match result {
                    Ok(_) => self.verdict.good = true,
                    Err(e) => self.verdict.bad.push(e.to_string().chars().take(200).collect()),
                }
            }
        }
        match self.verdict.good {
            true => Ok(()),
            false => Err(std::io::Error::other("no good signature").into()),
        }
    }
}
