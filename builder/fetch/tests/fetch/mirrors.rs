//! Which mirror is taken: what the person said, else what this machine's apt uses.

use crate::loopback::{Reply, Server};
use nodeimg_fetch::apt_sources::{AptSource, list_name, parse_deb822, parse_one_line};
use nodeimg_fetch::http::Client;
use nodeimg_fetch::mirror::{AptFolders, MirrorError, Named, NamedBy, discover};
use nodeimg_plan::lock::Archive;
use proptest::prelude::*;
use std::fs;

/// A machine with these files below `/etc/apt` and these lists (source, Origin, Label).
struct Machine {
    _folder: tempfile::TempDir,
    apt: AptFolders,
}

fn machine(files: &[(&str, &str)], lists: &[(&str, &str, &str, &str)]) -> Machine {
    let folder = tempfile::tempdir().expect("temp folder");
    let apt = AptFolders::of(folder.path());
    fs::create_dir_all(apt.configuration.join("sources.list.d")).expect("folder");
    fs::create_dir_all(&apt.lists).expect("folder");
    for (name, text) in files {
        fs::write(apt.configuration.join(name), text).expect("file");
    }
    for (uri, suite, origin, label) in lists {
        let name = list_name(&AptSource { uri: (*uri).into(), suite: (*suite).into() });
        let text = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: {origin}\nLabel: {label}\n");
        fs::write(apt.lists.join(name), text).expect("list");
    }
    Machine { _folder: folder, apt }
}

fn found(machine: &Machine, named: Named<'_>) -> Result<(String, String, NamedBy), MirrorError> {
    let mirror = discover(named, &machine.apt, &Client::direct())?;
    let root = |archive| mirror.root(archive).unwrap_or("").to_owned();
    Ok((root(Archive::Debian), root(Archive::DebianSecurity), mirror.named_by))
}

const DEB822: &str = "\
# http://comment.invalid/debian
Types: deb deb-src
# http://other.invalid/debian
URIs: http://a.invalid/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://a.invalid/debian-security
Suites: bookworm-security
Components: main
";

#[test]
fn a_named_mirror_stands_over_apts_flag_first() {
    let machine = machine(&[("sources.list.d/debian.sources", DEB822)], &[]);
    let all = Named {
        flag: Some("http://flag/debian"),
        environment: Some("http://environment/debian"),
        profile: Some("http://profile/debian/"),
    };
    let (debian, security, by) = found(&machine, all).expect("mirror");
    assert_eq!((debian.as_str(), security.as_str()), ("http://flag/debian", "http://flag/debian-security"));
    assert_eq!(by, NamedBy::Flag);
    let (debian, _, by) = found(&machine, Named { flag: None, ..all }).expect("mirror");
    assert_eq!((debian.as_str(), by), ("http://environment/debian", NamedBy::Environment));
    let (debian, _, by) =
        found(&machine, Named { flag: None, environment: Some(""), ..all }).expect("mirror");
    assert_eq!((debian.as_str(), by), ("http://profile/debian", NamedBy::Profile));
    for bad in ["ftp://x/debian", "debian", "http://", "http://a b"] {
        let error = found(&machine, Named { flag: Some(bad), ..all }).expect_err("no URL");
        assert!(matches!(error, MirrorError::NoUrl { .. }), "{error:?}");
    }
}

#[test]
fn apts_own_lists_tell_who_is_debian_without_the_network() {
    let machine = machine(
        &[
            ("sources.list", "deb [arch=amd64 signed-by=/x] https://vendor.invalid/apt stable main # note\n"),
            ("sources.list.d/debian.sources", DEB822),
            ("sources.list.d/ignored.bak", "deb http://ignored.invalid/debian bookworm main\n"),
        ],
        &[
            ("https://vendor.invalid/apt", "stable", "Vendor", "Debian"),
            ("http://a.invalid/debian", "bookworm", "Debian", "Debian"),
            ("http://a.invalid/debian-security", "bookworm-security", "Debian", "Debian-Security"),
        ],
    );
    let (debian, security, by) = found(&machine, Named::default()).expect("mirror");
    assert_eq!(debian, "http://a.invalid/debian");
    assert_eq!(security, "http://a.invalid/debian-security");
    assert_eq!(by, NamedBy::Apt);
}

#[test]
fn without_lists_the_sources_are_asked() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/debian/dists/bookworm/InRelease" => Reply::whole(b"Origin: Debian\nLabel: Debian\n"),
        "/vendor/dists/bookworm/InRelease" => Reply::whole(b"Origin: Vendor\nLabel: Debian\n"),
        _ => Reply::status(404),
    });
    let text = format!("deb {0}/vendor bookworm main\ndeb {0}/debian bookworm main\n", server.url);
    let machine = machine(&[("sources.list", &text)], &[]);
    let (debian, security, _) = found(&machine, Named::default()).expect("mirror");
    assert_eq!(debian, format!("{}/debian", server.url));
    assert_eq!(security, format!("{}/debian-security", server.url));
}

#[test]
fn no_mirror_names_the_flag_to_give() {
    let lists = [("https://vendor.invalid/apt", "stable", "Vendor", "Vendor")];
    let vendor = [("sources.list", "deb https://vendor.invalid/apt stable main\n")];
    for machine in [machine(&[], &[]), machine(&vendor, &lists)] {
        let error = found(&machine, Named::default()).expect_err("none").to_string();
        for part in ["no mirror known", "--mirror", "NODEIMG_MIRROR", "profile"] {
            assert!(error.contains(part), "{part:?} is missing in\n{error}");
        }
    }
}

fn one(text: &str) -> Vec<String> {
    parse_one_line(text).into_iter().map(|s| format!("{} {}", s.uri, s.suite)).collect()
}

#[test]
fn one_line_sources_are_read_as_apt_reads_them() {
    assert_eq!(one("deb http://m/debian trixie main"), ["http://m/debian trixie"]);
    assert_eq!(one("deb [ arch=amd64 trusted=yes ] https://m/d/ trixie main\n"), ["https://m/d trixie"]);
    for nothing in [
        "# deb http://m/debian trixie main",
        "deb-src http://m/debian trixie main",
        "deb cdrom:[Debian]/ trixie main",
        "deb file:/srv/debian trixie main",
        "deb http://m/flat ./",
        "deb http://m/debian",
        "deb [broken http://m/debian trixie main",
        "debhttp://m/debian trixie",
        "",
    ] {
        assert!(one(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn deb822_sources_are_read_as_apt_reads_them() {
    let found: Vec<_> = parse_deb822(DEB822).into_iter().map(|s| format!("{} {}", s.uri, s.suite)).collect();
    let expected = [
        "http://a.invalid/debian bookworm",
        "http://a.invalid/debian bookworm-updates",
        "http://a.invalid/debian-security bookworm-security",
    ];
    assert_eq!(found, expected);
    assert!(parse_deb822(&DEB822.replace("Types: deb", "Enabled: no\nTypes: deb")).is_empty());
    assert!(parse_deb822("Types: deb-src\nURIs: http://m/debian\nSuites: trixie\n").is_empty());
}

#[test]
fn lists_have_apts_names() {
    let source = AptSource { uri: "http://user:secret@m.invalid/a_b".into(), suite: "trixie".into() };
    assert_eq!(list_name(&source), "m.invalid_a%5fb_dists_trixie_InRelease");
}

proptest! {
    #[test]
    fn any_text_gives_only_sources_with_http(text in "(deb |Types: deb\nURIs: |)\\PC{0,60}(\n\\PC{0,40}){0,4}") {
        for source in parse_one_line(&text).into_iter().chain(parse_deb822(&text)) {
            prop_assert!(source.uri.starts_with("http"));
            prop_assert!(!source.suite.is_empty());
        }
    }
}
