//! Release files: signatures, dates, subjects.

use crate::signer::{self, Signer};
use jiff::Timestamp;
use nodeimg_fetch::release::{About, Keys, ReleaseError, SignedRelease};
use proptest::prelude::*;

const REAL: &[u8] = include_bytes!("fixtures/trixie-security.InRelease");
const SECURITY: About<'_> = About { label: "Debian-Security", codename: "trixie-security" };
const MAIN: About<'_> = About { label: "Debian", codename: "trixie" };

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn real(bytes: &[u8], now: &str) -> Result<SignedRelease, ReleaseError> {
    SignedRelease::check(bytes, "http://m/InRelease", &Keys::debian(), SECURITY, time(now))
}

#[test]
fn the_shipped_keys_are_debians() {
    assert_eq!(
        Keys::debian().fingerprints(),
        [
            "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
            "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
            "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
        ]
    );
}

#[test]
fn what_debian_signed_is_good_while_it_is_valid() {
    let release = real(REAL, "2026-11-22T12:00:00Z").expect("good");
    assert_eq!(release.date, time("2026-11-21T00:53:03Z").as_second() as u64);
    assert!(release.by_hash);
    let packages = release.file("main/binary-amd64/Packages.xz").expect("an index");
    assert_eq!(packages.size, 307_764);
    assert_eq!(packages.sha256, "3db357fdc4690cf41e0e9092760602d60fb67ecd019950bdf01f624d57c3c627");
}

#[test]
fn an_expired_or_future_release_is_refused() {
    let error = real(REAL, "2026-11-28T00:53:04Z").expect_err("expired");
    assert!(matches!(error, ReleaseError::Expired { .. }), "{error:?}");
    assert!(error.to_string().contains("valid until 2026-11-28T00:53:03Z"), "{error}");
    assert!(real(REAL, "2026-11-28T00:53:03Z").is_ok(), "the last second counts");
    // Before it was made the signature itself is not good yet.
    assert!(real(REAL, "2026-11-20T00:00:00Z").is_err());
}

#[test]
fn a_changed_byte_is_refused() {
    let text = String::from_utf8(REAL.to_vec()).expect("text");
    let digest = "3db357fdc4690cf41e0e9092760602d60fb67ecd019950bdf01f624d57c3c627";
    assert!(text.contains(digest));
    for (from, to) in [
        (digest, "0db357fdc4690cf41e0e9092760602d60fb67ecd019950bdf01f624d57c3c627"),
        ("Valid-Until: Sat, 28 Nov 2026", "Valid-Until: Sat, 28 Nov 2036"),
        ("Codename: trixie-security", "Codename: trixie"),
    ] {
        let error = real(text.replacen(from, to, 1).as_bytes(), "2026-11-22T12:00:00Z").expect_err("refused");
        assert!(matches!(error, ReleaseError::Signature { .. }), "{error:?}");
        let shown = error.to_string();
        assert!(
            shown.contains("5E04A1E3223A19A20706E20F9904613D4CCE68C6") && shown.contains("help:"),
            "{shown}"
        );
    }
}

#[test]
fn text_around_the_signed_part_is_never_used() {
    let signer = Signer::new();
    let now = time("2026-11-22T12:00:00Z");
    let check = |text: &str| SignedRelease::check(text.as_bytes(), "u", &signer.keys(), MAIN, now);
    let signed = signer.sign(&signer::release("Debian", "trixie", "Sat, 21 Nov 2026 00:00:00 UTC", &[]));
    assert!(check(&signed).is_ok());
    for text in [format!("Origin: Evil\n\n{signed}"), format!("{signed}\nOrigin: Evil\n")] {
        let outcome = check(&text);
        let used = matches!(outcome, Err(ReleaseError::Other { .. } | ReleaseError::Field { .. }));
        assert!(!used, "{outcome:?}");
    }
}

#[test]
fn no_signature_and_a_strangers_signature_are_refused() {
    let text = signer::release("Debian", "trixie", "Sat, 21 Nov 2026 00:00:00 UTC", &[]);
    let now = time("2026-11-22T12:00:00Z");
    let (ours, stranger) = (Signer::new(), Signer::new());
    let keys = ours.keys();
    let check = |bytes: &[u8]| SignedRelease::check(bytes, "http://m/InRelease", &keys, MAIN, now);
    assert!(check(ours.sign(&text).as_bytes()).is_ok());
    let error = check(stranger.sign(&text).as_bytes()).expect_err("stranger");
    assert!(matches!(error, ReleaseError::Signature { .. }), "{error:?}");
    for bytes in [text.as_bytes(), b"", b"-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n"] {
        assert!(matches!(check(bytes), Err(ReleaseError::NotSigned { .. })));
    }
    let bare = Keys::from_bytes(&[b"no key"]);
    assert!(SignedRelease::check(ours.sign(&text).as_bytes(), "u", &bare, MAIN, now).is_err());
}

#[test]
fn a_release_about_something_else_is_refused() {
    let signer = Signer::new();
    let now = time("2026-11-22T12:00:00Z");
    let date = "Sat, 21 Nov 2026 00:00:00 UTC";
    let check =
        |text: &str| SignedRelease::check(signer.sign(text).as_bytes(), "u", &signer.keys(), MAIN, now);
    let good = signer::release("Debian", "trixie", date, &[("main/x", b"x")]);
    assert!(check(&good).is_ok());
    for (from, to, field) in [
        ("Origin: Debian", "Origin: Ubuntu", "Origin"),
        ("Label: Debian", "Label: Debian-Security", "Label"),
        ("Codename: trixie", "Codename: bookworm", "Codename"),
    ] {
        match check(&good.replace(from, to)) {
            Err(ReleaseError::Other { field: f, .. }) => assert_eq!(f, field),
            other => panic!("{other:?}"),
        }
    }
    for (from, to, field) in [
        ("Date: Sat, 21", "Date: Sat 21", "Date"),
        ("SHA256:", "SHA999:", "SHA256"),
        (" main/x", " main/x y", "SHA256"),
        ("Origin: Debian\n", "", "Origin"),
    ] {
        match check(&good.replace(from, to)) {
            Err(ReleaseError::Field { field: f, .. }) => assert_eq!(f, field),
            other => panic!("{from}: {other:?}"),
        }
    }
    let future = signer::release("Debian", "trixie", "Sun, 22 Nov 2026 13:00:00 UTC", &[]);
    assert!(matches!(check(&future), Err(ReleaseError::NotYet { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_flipped_bit_anywhere_never_changes_what_is_used(at in 0usize..REAL.len(), bit in 0u8..8) {
        let good = real(REAL, "2026-11-22T12:00:00Z").expect("good");
        let mut bytes = REAL.to_vec();
        bytes[at] ^= 1 << bit;
        // White space at line ends and the armour's comments are outside the signature: then nothing has changed.
        if let Ok(release) = real(&bytes, "2026-11-22T12:00:00Z") {
            prop_assert_eq!(release.date, good.date);
            let path = "main/binary-amd64/Packages.xz";
            prop_assert_eq!(release.file(path), good.file(path));
        }
    }

    #[test]
    fn any_bytes_are_no_release(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(real(&bytes, "2026-11-22T12:00:00Z").is_err());
    }
}
