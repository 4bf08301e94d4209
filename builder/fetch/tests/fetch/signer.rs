//! A key of a test's own, and Release texts signed by it.

use nodeimg_fetch::release::Keys;
use openpgp::cert::CertBuilder;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::serialize::stream::{Message, Signer as Sign};
use openpgp::{Cert, types::HashAlgorithm};
use sequoia_openpgp as openpgp;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::{Duration, SystemTime};

/// 2026-11-01, before every date that the tests use.
fn made() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_491_200)
}

/// A fresh key.
pub struct Signer {
    cert: Cert,
}

impl Signer {
    /// Made on the first of November 2026.
    pub fn new() -> Self {
        let builder = CertBuilder::general_purpose(Some("test@example.invalid")).set_creation_time(made());
        Self { cert: builder.generate().expect("a key").0 }
    }
    /// Its public half.
    pub fn keys(&self) -> Keys {
        Keys::from_bytes(&[&self.cert.to_vec().expect("bytes")])
    }
    /// `text`, signed as InRelease files are.
    pub fn sign(&self, text: &str) -> String {
        let policy = StandardPolicy::new();
        let time = made() + Duration::from_secs(86_400);
        let key = self
            .cert
            .keys()
            .with_policy(&policy, time)
            .secret()
            .for_signing()
            .next()
            .expect("a signing key")
            .key()
            .clone();
        let mut bytes = Vec::new();
        let signer =
            Sign::new(Message::new(&mut bytes), key.into_keypair().expect("a key pair")).expect("signer");
        let signer =
            signer.hash_algo(HashAlgorithm::SHA256).expect("SHA-256").creation_time(time).cleartext();
        let mut message = signer.build().expect("message");
        message.write_all(text.as_bytes()).expect("text");
        message.finalize().expect("signature");
        String::from_utf8(bytes).expect("text")
    }
}

/// A Release text.
pub fn release(label: &str, codename: &str, date: &str, files: &[(&str, &[u8])]) -> String {
    let mut text = format!(
        "Origin: Debian\nLabel: {label}\nSuite: stable\nCodename: {codename}\nDate: {date}\nAcquire-By-Hash: yes\n\
         Description: a test\nSHA256:\n"
    );
    for (path, bytes) in files {
        text.push_str(&format!(" {} {} {path}\n", hex::encode(Sha256::digest(bytes)), bytes.len()));
    }
    text
}
