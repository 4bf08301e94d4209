//! The lock: from a profile and indexes, to text and back, and what is refused.

use nodeimg_plan::debian::{
    Indexes, NFT, PackageIndex, Release, ResolveError, TOOLS, lock_inputs, resolve_lock,
};
use nodeimg_plan::lock::{Archive, GoLock, Lock, LockError, LockedModule, LockedPackage, SCHEMA, Set};
use nodeimg_plan::profile::Profile;
use proptest::prelude::*;

const PROFILE: &str = r#"
schema = 1
role = "control-plane"
[os]
suite = "trixie"
packages = ["udev", "nftables"]
[kubernetes]
version = "1.36.3"
origin = "source"
[output]
formats = ["uki"]
"#;

fn profile(text: &str) -> Profile {
    Profile::parse(text, "profiles/p.toml").expect("profile")
}

fn indexes() -> Indexes {
    let mut names = vec!["udev", "libc6"];
    names.extend(TOOLS.iter().chain(NFT));
    let text: String = names
        .iter()
        .map(|name| {
            let depends = if *name == "libc6" { "" } else { "Depends: libc6\n" };
            let digest = "1".repeat(64);
            format!(
                "Package: {name}\nVersion: 1:2-3\nArchitecture: amd64\nFilename: pool/main/{name}.deb\nSize: 7\n\
                 SHA256: {digest}\n{depends}\n"
            )
        })
        .collect();
    let index = PackageIndex::parse("test", Archive::Debian, &text).expect("index");
    Indexes::new("trixie", vec![(Release { codename: "trixie".into(), date: 1_789_199_741 }, index)])
}

fn module() -> LockedModule {
    LockedModule { name: "etcd".into(), version: "v3.6.8".into(), sha256: "2".repeat(64) }
}

fn go() -> GoLock {
    GoLock { version: "1.26.8".into(), sum: "h1:abc=".into() }
}

fn lock() -> Lock {
    resolve_lock(&profile(PROFILE), &indexes(), vec![module()], Some(go())).expect("lock")
}

#[test]
fn every_set_is_a_closure_of_its_own_and_a_package_stands_once() {
    let lock = lock();
    let of = |set| lock.set(set).map(|p| p.name.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Set::Image), ["libc6", "nftables", "udev"]);
    assert_eq!(of(Set::Nft), ["libc6", "nftables"]);
    assert!(of(Set::Tools).contains(&"erofs-utils") && of(Set::Tools).contains(&"libc6"));
    let libc: Vec<_> = lock.packages.iter().filter(|p| p.name == "libc6").collect();
    assert_eq!(libc.len(), 1);
    assert_eq!(libc[0].sets, [Set::Image, Set::Tools, Set::Nft]);
    assert_eq!(lock.source_date_epoch, 1_789_199_741);
}

#[test]
fn text_and_back() {
    let lock = lock();
    let text = lock.render();
    assert!(text.starts_with("# Written by nodeimg"));
    assert_eq!(Lock::parse(&text, "p.lock").expect("lock"), lock);
    assert_eq!(lock.render(), text);
}

#[test]
fn inputs_change_with_what_decides_the_lock_and_with_nothing_else() {
    let inputs = |text: &str| lock_inputs(&profile(text), &[module()], Some(&go()));
    let before = inputs(PROFILE);
    for same in [
        PROFILE.replace("\"udev\", \"nftables\"", "\"nftables\", \"udev\""),
        PROFILE.replace("[\"uki\"]", "[\"files\"]"),
        format!("{PROFILE}[[addon]]\nname = \"flannel\"\n"),
    ] {
        assert_eq!(inputs(&same), before, "{same}");
    }
    for other in [PROFILE.replace("\"udev\"", "\"udev=1\""), PROFILE.replace("1.36.3", "1.36.4")] {
        assert_ne!(inputs(&other), before, "{other}");
    }
    assert_ne!(lock_inputs(&profile(PROFILE), &[], Some(&go())), before);
    assert_ne!(lock_inputs(&profile(PROFILE), &[module()], None), before);
    assert_eq!(lock().inputs, before);
}

#[test]
fn an_unknown_package_or_version_is_shown_in_the_profile() {
    for (text, expected) in [
        (PROFILE.replace("\"udev\"", "\"udef\""), ["unknown package \"udef\"", "did you mean \"udev\"?"]),
        (PROFILE.replace("\"udev\"", "\"udev=3\""), ["has no version \"3\"", "there is 1:2-3"]),
    ] {
        let error = resolve_lock(&profile(&text), &indexes(), Vec::new(), None).expect_err("error");
        assert!(matches!(error, ResolveError::Profile(_)), "{error:?}");
        for part in expected.iter().chain(&["profiles/p.toml:6:13"]) {
            assert!(error.to_string().contains(part), "{part:?} is missing in\n{error}");
        }
    }
}

#[test]
fn what_no_lock_of_ours_says_is_refused() {
    let good = lock();
    let change = |f: &dyn Fn(&mut Lock)| {
        let mut lock = good.clone();
        f(&mut lock);
        Lock::parse(&lock.render(), "p.lock")
    };
    let package = |f: fn(&mut LockedPackage)| change(&|lock: &mut Lock| f(&mut lock.packages[0]));
    let cases = [
        ("path", package(|p| p.path = "pool/../../etc/passwd".into())),
        ("path", package(|p| p.path = "/pool/x.deb".into())),
        ("path", package(|p| p.path = "http://x/pool/x.deb".into())),
        ("sha256", package(|p| p.sha256 = "../../../x".into())),
        ("sha256", package(|p| p.sha256.make_ascii_uppercase())),
        ("size", package(|p| p.size = 0)),
        ("size", package(|p| p.size = 1 << 40)),
        ("version", package(|p| p.version = "1 2".into())),
        ("name", package(|p| p.name = "../x".into())),
        ("sets", package(|p| p.sets.clear())),
        ("inputs", change(&|l| l.inputs = "x".into())),
        ("sha256", change(&|l| l.modules[0].sha256 = "x".into())),
        ("name", change(&|l| l.modules[0].name = "../x".into())),
        ("go.sum", change(&|l| l.go = Some(GoLock { version: "1.26.8".into(), sum: "x".into() }))),
        ("go.version", change(&|l| l.go = Some(GoLock { version: "1; rm".into(), sum: "h1:x".into() }))),
        ("source_date_epoch", change(&|l| l.source_date_epoch = 0)),
        ("order of packages", change(&|l| l.packages.reverse())),
    ];
    for (expected, result) in cases {
        match result {
            Err(LockError::Field { field, .. }) => assert_eq!(field, expected),
            // An upper-case copy of all ones is the same text: nothing to refuse.
            Ok(lock) => assert_eq!((expected, lock), ("sha256", good.clone())),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn another_schema_and_another_shape_say_what_to_do() {
    let text = lock().render().replace("schema = 1", "schema = 2");
    let error = Lock::parse(&text, "p.lock").expect_err("schema");
    assert_eq!(error, LockError::Schema { file: "p.lock".into(), found: SCHEMA + 1 });
    let error = Lock::parse("schema = 1\nsurprise = 2\n", "p.lock").expect_err("shape").to_string();
    assert!(error.contains("p.lock:2:1") && error.contains("--update"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_a_lock_or_an_error(text in "\\PC{0,100}(\n\\PC{0,40}){0,5}") {
        let _ = Lock::parse(&text, "p.lock");
    }

    #[test]
    fn a_lock_with_a_flipped_byte_parses_or_not(at in 0usize..4000, byte in 0x20u8..0x7f) {
        let mut bytes = lock().render().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(lock) = String::from_utf8(bytes).ok().and_then(|text| Lock::parse(&text, "p.lock").ok()) {
            prop_assert_eq!(&Lock::parse(&lock.render(), "p.lock").expect("again"), &lock);
        }
    }
}
