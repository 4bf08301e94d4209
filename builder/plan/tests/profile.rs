//! Profiles: what is read, and what a person sees who made a mistake.

use nodeimg_contract::image::Role;
use nodeimg_plan::debian::Root;
use nodeimg_plan::lock::LockedModule;
use nodeimg_plan::profile::{Component, Format, Profile};
use proptest::prelude::*;

const GOOD: &str = include_str!("profiles/good.toml");

#[test]
fn every_key_arrives() {
    let profile = Profile::parse(GOOD, "profiles/good.toml").expect("profile");
    assert_eq!((profile.name.as_str(), profile.role), ("good", Role::ControlPlane));
    assert_eq!(profile.os.suite.as_str(), "trixie");
    assert_eq!(profile.os.components, [Component::Main, Component::NonFreeFirmware]);
    let roots: Vec<_> = profile.os.packages.iter().map(|wish| wish.root.clone()).collect();
    let pinned = Root { name: "udev".into(), version: Some("257.8-1~deb13u2".into()) };
    assert_eq!(roots, [Root::newest("nftables"), pinned]);
    assert_eq!(profile.os.exclude, ["usr/share/man/**", "!KERNEL/sound"]);
    assert_eq!(profile.os.mirror.as_deref(), Some("http://mirror.example/debian"));
    assert_eq!(profile.kubernetes.version, "1.36.3");
    assert_eq!(profile.extra_images, ["nodeimg.invalid/k8s/probe:1"]);
    assert_eq!(profile.static_pods.as_deref(), Some("static-pods/cplane"));
    assert_eq!(profile.addons, ["flannel"]);
    assert_eq!(profile.overlays, ["overlays/common", "overlays/control-plane"]);
    assert_eq!(profile.formats, [Format::Uki, Format::Files]);
}

#[test]
fn every_role_is_a_word() {
    for (word, role) in [("worker", Role::Worker), ("lb", Role::Lb), ("etcd", Role::Etcd)] {
        let text = GOOD.replace("\"control-plane\"", &format!("\"{word}\""));
        assert_eq!(Profile::parse(&text, "p.toml").expect("profile").role, role);
    }
}

/// The message for `good.toml` with `from` replaced by `to`.
fn mistake(from: &str, to: &str) -> String {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "{from:?} is not in good.toml");
    Profile::parse(&text, "profiles/good.toml").expect_err("error").to_string()
}

#[test]
fn a_mistake_is_shown_with_its_place_and_the_next_step() {
    insta::assert_snapshot!("unknown_key", mistake("packages =", "pakages ="));
    insta::assert_snapshot!("unknown_role", mistake("\"control-plane\"", "\"controlplane\""));
    insta::assert_snapshot!("later_format", mistake("\"files\"", "\"iso\""));
    insta::assert_snapshot!("later_origin", mistake("\"source\"", "\"release\""));
    insta::assert_snapshot!("syntax", mistake("version = \"1.36.3\"", "version = 1.36.3"));
    insta::assert_snapshot!("several_at_once", mistake("\"nftables\"", "\"NFTables\", \"a b\", \"x=1 2\""));
    insta::assert_snapshot!("missing_key", mistake("version = \"1.36.3\"\n", ""));
}

#[test]
fn kubernetes_is_the_version_that_the_payload_builds() {
    let profile = Profile::parse(GOOD, "profiles/good.toml").expect("profile");
    let module = |version: &str| LockedModule {
        name: "kubernetes".into(),
        version: version.into(),
        sha256: "0".repeat(64),
    };
    assert_eq!(profile.check_payload(&[module("v1.36.3")]), Ok(()));
    let error = profile.check_payload(&[module("v1.36.4")]).expect_err("another one");
    assert_eq!((error.line, error.column), (12, 11));
    assert!(error.to_string().contains("help: it builds \"1.36.4\""), "{error}");
    assert!(profile.check_payload(&[]).is_err());
}

#[test]
fn each_kind_of_value_is_checked() {
    let cases = [
        ("schema = 1", "schema = 2", "schema 2 is not known"),
        ("\"trixie\"", "\"bookworm\"", "suite \"bookworm\": not yet"),
        ("\"trixie\"", "\"trixi\"", "did you mean \"trixie\"?"),
        ("\"non-free-firmware\"", "\"contrib\"", "component \"contrib\": not yet"),
        ("\"non-free-firmware\"", "\"non-free-firmwre\"", "did you mean \"non-free-firmware\"?"),
        ("\"source\"", "\"bundle\"", "origin \"bundle\": not yet"),
        ("\"uki\"", "\"qcow2\"", "format \"qcow2\": not yet"),
        ("\"uki\"", "\"pxe\"", "format \"pxe\": not yet"),
        ("\"uki\"", "\"raw\"", "format \"raw\": not yet"),
        ("\"1.36.3\"", "\"v1.36.3\"", "write it without `v`: \"1.36.3\""),
        ("\"1.36.3\"", "\"1.36\"", "is not a Kubernetes version"),
        ("http://mirror", "ftp://mirror", "is not a mirror"),
        ("usr/share/man/**", "/usr/share/man", "relative to the node's root"),
        ("usr/share/man/**", "usr/[", "is not a glob"),
        ("\"overlays/common\"", "\"../common\"", "does not stay in the project"),
        ("\"overlays/common\"", "\"/overlays\"", "does not stay in the project"),
        ("static-pods/cplane", "a/../..", "does not stay in the project"),
        ("name = \"flannel\"", "name = \"../flannel\"", "cannot be an add-on's name"),
        ("nodeimg.invalid/k8s/probe:1", "docker.invalid/probe", "does not name one image by its digest"),
        ("\"nftables\"", "\"udev\"", "is named twice"),
    ];
    for (from, to, expected) in cases {
        let text = mistake(from, to);
        assert!(text.contains(expected), "{to}: {expected:?} is missing in\n{text}");
        assert!(text.contains("profiles/good.toml:"), "{text}");
    }
    let digest = format!("x.invalid/a@sha256:{}", "0".repeat(64));
    assert!(mistake("nodeimg.invalid/k8s/probe:1", &digest).contains("not yet"));
}

#[test]
fn the_place_is_told_as_numbers_too() {
    let text = GOOD.replace("\"trixie\"", "\"sid\"");
    let error = Profile::parse(&text, "p.toml").expect_err("error");
    assert_eq!((error.line, error.column), (5, 9));
}

#[test]
fn the_files_name_becomes_the_images_name() {
    for bad in ["profiles/My Profile.toml", "..toml", "profiles/.toml"] {
        assert!(Profile::parse(GOOD, bad).is_err(), "{bad}");
    }
    assert_eq!(Profile::parse(GOOD, "/x/cp-1.toml").expect("profile").name, "cp-1");
}

#[test]
fn a_profile_of_unbelievable_length_is_refused() {
    let text = format!("{GOOD}\n#{}", "x".repeat(Profile::LONGEST));
    assert!(Profile::parse(&text, "p.toml").expect_err("error").to_string().contains("longer than"));
}

proptest! {
    #[test]
    fn any_text_is_a_profile_or_an_error(text in "\\PC{0,100}(\n\\PC{0,40}){0,5}") {
        if let Err(e) = Profile::parse(&text, "p.toml") {
            prop_assert!(e.to_string().contains("error"));
        }
    }

    #[test]
    fn a_profile_with_another_byte_somewhere_is_a_profile_or_an_error(at in 0usize..2000, put in "\\PC") {
        let at = at % GOOD.len();
        if let (Some(head), Some(tail)) = (GOOD.get(..at), GOOD.get(at + 1..)) {
            let _ = Profile::parse(&format!("{head}{put}{tail}"), "p.toml");
        }
    }
}
