//! Resolution on small indexes: each case is an index, the names asked for, and what must come out.

use nodeimg_plan::debian::{Assumed, Indexes, PackageIndex, Release, Root, resolve};
use nodeimg_plan::lock::Archive;

/// The packages of `index` (paragraphs without the fields that only a download needs).
fn indexes(index: &str) -> Indexes {
    let text: String = index
        .trim()
        .split("\n\n")
        .map(|paragraph| {
            let name = paragraph.lines().find_map(|l| l.strip_prefix("Package: ")).expect("a name");
            let digest = "0".repeat(64);
            format!("{paragraph}\nArchitecture: all\nFilename: pool/main/{name}.deb\nSize: 1\nSHA256: {digest}\n\n")
        })
        .collect();
    let parsed = PackageIndex::parse("test", Archive::Debian, &text).expect("index");
    Indexes::new("trixie", vec![(Release { codename: "trixie".into(), date: 1 }, parsed)])
}

fn roots(names: &str) -> Vec<Root> {
    let root = |word: &str| match word.split_once('=') {
        Some((name, version)) => Root { name: name.into(), version: Some(version.into()) },
        None => Root::newest(word),
    };
    names.split_whitespace().map(root).collect()
}

fn outcome(index: &str, names: &str, assumed: &Assumed) -> String {
    match resolve(&indexes(index), &roots(names), assumed) {
        Ok(packages) => {
            packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect::<Vec<_>>().join(" ")
        }
        Err(e) => format!("error: {e}"),
    }
}

#[track_caller]
fn expect(index: &str, names: &str, expected: &str) {
    assert_eq!(outcome(index, names, &Assumed::nothing()), expected);
    let mut backwards: Vec<&str> = names.split_whitespace().collect();
    backwards.reverse();
    let again = outcome(index, &backwards.join(" "), &Assumed::nothing());
    assert_eq!(again, expected, "the order of names must not matter");
}

#[test]
fn depends_and_pre_depends_are_followed_and_recommends_are_not() {
    let index = "
Package: a
Version: 1
Pre-Depends: b
Depends: c (>= 2)
Recommends: d

Package: b
Version: 1

Package: c
Version: 2
Depends: a

Package: d
Version: 1
";
    expect(index, "a", "a=1 b=1 c=2");
}

#[test]
fn the_first_alternative_that_can_be_is_taken_unless_one_is_there() {
    let index = "
Package: a
Version: 1
Depends: missing | b | c

Package: b
Version: 1

Package: c
Version: 1
";
    expect(index, "a", "a=1 b=1");
    expect(index, "a c", "a=1 c=1");
}

#[test]
fn an_alternative_of_the_wrong_version_is_passed_over() {
    let index = "
Package: a
Version: 1
Depends: b (>= 2) | c

Package: b
Version: 1

Package: c
Version: 1
";
    expect(index, "a", "a=1 c=1");
    expect(index, "a b", "a=1 b=1 c=1");
}

#[test]
fn an_older_version_is_taken_when_only_that_will_do() {
    let index = "
Package: a
Version: 1
Depends: b (<< 2)

Package: b
Version: 1

Package: b
Version: 2
";
    expect(index, "a", "a=1 b=1");
    expect(index, "b", "b=2");
}

#[test]
fn provides_satisfy_by_name_and_versioned_ones_by_version() {
    let index = "
Package: a
Version: 1
Depends: virtual

Package: b
Version: 1
Depends: virtual (>= 2)

Package: plain
Version: 9
Provides: virtual
Priority: optional

Package: versioned
Version: 9
Provides: virtual (= 2.1)
Priority: extra
";
    expect(index, "a", "a=1 plain=9");
    expect(index, "b", "b=1 versioned=9");
    expect(index, "a versioned", "a=1 versioned=9");
}

#[test]
fn a_pinned_version_stands_and_pulls_its_own_dependencies() {
    let index = "
Package: a
Version: 1
Depends: old

Package: a
Version: 2
Depends: new

Package: old
Version: 1

Package: new
Version: 1
";
    expect(index, "a=1", "a=1 old=1");
    expect(index, "a", "a=2 new=1");
}

#[test]
fn an_alternative_that_conflicts_is_passed_over() {
    let index = "
Package: a
Version: 1
Depends: b | c

Package: b
Version: 1
Conflicts: d

Package: c
Version: 1

Package: d
Version: 1
";
    expect(index, "a d", "a=1 c=1 d=1");
}

#[test]
fn conflicts_and_breaks_are_told_with_who_wants_whom() {
    let index = "
Package: a
Version: 1
Depends: b

Package: b
Version: 1
Breaks: c (<< 2)

Package: c
Version: 1
";
    let text = outcome(index, "a c", &Assumed::nothing());
    for part in
        ["\"b\" and \"c\" cannot be in one tree", "b says \"c (<< 2)\"", "b is wanted by \"a\"", "help:"]
    {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    expect(&index.replace("Package: c\nVersion: 1", "Package: c\nVersion: 2"), "a c", "a=1 b=1 c=2");
}

#[test]
fn a_package_may_conflict_with_what_it_provides_itself() {
    let index = "
Package: a
Version: 1
Provides: mta
Conflicts: mta

Package: b
Version: 1
Provides: mta
";
    expect(index, "a", "a=1");
    assert!(outcome(index, "a b", &Assumed::nothing()).contains("cannot be in one tree"));
}

#[test]
fn assumed_packages_are_not_pulled_in_and_are_taken_when_named() {
    let index = "
Package: a
Version: 1
Depends: debconf (>= 0.5) | debconf-2.0, adduser, b

Package: adduser
Version: 1
Depends: perl-base

Package: b
Version: 1

Package: debconf
Version: 1

Package: perl-base
Version: 1
";
    let assumed = Assumed::without_scripts();
    assert_eq!(outcome(index, "a", &assumed), "a=1 b=1");
    assert_eq!(outcome(index, "a adduser", &assumed), "a=1 adduser=1 b=1");
}

#[test]
fn unknown_names_and_versions_bring_the_nearest() {
    let index = "
Package: nftables
Version: 1.1.3-1

Package: conntrack
Version: 1
";
    expect(
        index,
        "nftabels",
        "error: no package \"nftabels\" in suite \"trixie\"\nhelp: did you mean \"nftables\"?",
    );
    expect(
        index,
        "nftables=1.1.4-1",
        "error: package \"nftables\" has no version \"1.1.4-1\" in suite \"trixie\"\nhelp: there is 1.1.3-1",
    );
}

#[test]
fn a_dependency_that_nothing_satisfies_names_the_whole_chain() {
    let index = "
Package: a
Version: 1
Depends: b

Package: b
Version: 1
Depends: ghost (>= 3) | spirit

Package: c
Version: 1
Depends: b (>= 2)
";
    let text = outcome(index, "a", &Assumed::nothing());
    assert!(text.starts_with("error: \"ghost (>= 3) | spirit\" cannot be satisfied"), "{text}");
    assert!(text.contains("wanted by \"b\", for \"a\""), "{text}");
    let text = outcome(index, "c", &Assumed::nothing());
    assert!(text.contains("there is only b 1"), "{text}");
}

#[test]
fn a_relation_that_cannot_be_read_names_its_package() {
    let text = outcome("Package: a\nVersion: 1\nDepends: b (~ 1)\n", "a", &Assumed::nothing());
    assert_eq!(text, "error: package \"a\" of suite \"trixie\"");
}
