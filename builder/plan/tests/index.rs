//! Package indexes: what is read, what is refused, what is newest.

use nodeimg_plan::debian::{IndexError, Indexes, PackageIndex, Release};
use nodeimg_plan::lock::Archive;
use proptest::prelude::*;

fn paragraph(name: &str, version: &str, more: &str) -> String {
    let digest = "a".repeat(64);
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/main/x/{name}.deb\nSize: 10\n\
         SHA256: {digest}\n{more}Description: a thing\n with more\n .\n lines\n\n"
    )
}

fn release(codename: &str, date: u64) -> Release {
    Release { codename: codename.into(), date }
}

#[test]
fn paragraphs_become_packages() {
    let text = paragraph("libc6", "2.41-12", "Installed-Size: 13226\n") + &paragraph("zsh", "5", "");
    let index = PackageIndex::parse("main", Archive::Debian, &text).expect("index");
    let indexes = Indexes::new("trixie", vec![(release("trixie", 5), index)]);
    let libc = indexes.versions("libc6").next().expect("libc6");
    assert_eq!((libc.version.as_str(), libc.size, libc.installed_kib), ("2.41-12", 10, 13226));
    assert_eq!(indexes.len(), 2);
}

#[test]
fn other_architectures_are_left_out_and_all_is_not() {
    let text =
        paragraph("a", "1", "").replace("amd64", "arm64") + &paragraph("b", "1", "").replace("amd64", "all");
    let index = PackageIndex::parse("main", Archive::Debian, &text).expect("index");
    assert_eq!(index.len(), 1);
}

#[test]
fn the_newest_of_several_suites_comes_first() {
    let index =
        |archive, version| PackageIndex::parse("x", archive, &paragraph("a", version, "")).expect("index");
    let indexes = Indexes::new(
        "trixie",
        vec![
            (release("trixie", 10), index(Archive::Debian, "1.9-1")),
            (release("trixie-updates", 30), index(Archive::Debian, "1.10-1")),
            (release("trixie-security", 20), index(Archive::DebianSecurity, "1.10-1")),
        ],
    );
    let versions: Vec<_> = indexes.versions("a").map(|p| (p.version.as_str(), p.archive)).collect();
    let expected =
        [("1.10-1", Archive::Debian), ("1.10-1", Archive::DebianSecurity), ("1.9-1", Archive::Debian)];
    assert_eq!(versions, expected, "of two equal versions Debian's own archive stands first");
    assert_eq!(indexes.newest_date(), 30);
}

#[test]
fn a_field_that_is_missing_or_wrong_is_named_with_its_package() {
    let sound = paragraph("a", "1", "");
    let cases = [
        ("Version", sound.replace("Version: 1\n", "")),
        ("Version", sound.replace("Version: 1\n", "Version: 1 2\n")),
        ("Filename", sound.replace("pool/main", "pool/../etc")),
        ("Filename", sound.replace("pool/main", "/pool/main")),
        ("Filename", sound.replace("pool/main", "dists/main")),
        ("Size", sound.replace("Size: 10\n", "")),
        ("Size", sound.replace("Size: 10", "Size: 0")),
        ("Size", sound.replace("Size: 10", "Size: 99999999999999")),
        ("SHA256", sound.replace("aaaa", "AAAA")),
        ("SHA256", sound.replace("aaaa", "")),
        ("Architecture", sound.replace("Architecture: amd64\n", "")),
    ];
    for (wrong, text) in cases {
        match PackageIndex::parse("trixie main", Archive::Debian, &text) {
            Err(IndexError::Field { package, field, .. }) => {
                assert_eq!((package.as_str(), field), ("a", wrong));
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

#[test]
fn providers_are_those_of_the_newest_version_in_order_of_priority() {
    let text = paragraph("mawk", "2", "Provides: awk\nPriority: required\n")
        + &paragraph("gawk", "1", "Provides: awk (= 3)\nPriority: optional\n")
        + &paragraph("busybox", "1", "Provides: awk\n")
        + &paragraph("busybox", "2", "");
    let index = PackageIndex::parse("main", Archive::Debian, &text).expect("index");
    let indexes = Indexes::new("trixie", vec![(release("trixie", 1), index)]);
    let names: Vec<_> =
        indexes.providers("awk").iter().map(|(p, v)| (p.name.as_str(), v.is_some())).collect();
    assert_eq!(names, [("mawk", false), ("gawk", true)]);
}

proptest! {
    #[test]
    fn any_text_is_an_index_or_an_error(text in "\\PC{0,200}(\n\\PC{0,40}){0,6}") {
        let _ = PackageIndex::parse("x", Archive::Debian, &text);
    }

    #[test]
    fn a_paragraph_with_anything_in_its_fields_does_no_harm(
        name in "\\PC{0,12}",
        version in "\\PC{0,8}",
        size in "\\PC{0,8}",
        provides in "\\PC{0,40}",
    ) {
        let text = paragraph(&name, &version, &format!("Provides: {provides}\n")).replace("10", &size);
        if let Ok(index) = PackageIndex::parse("x", Archive::Debian, &text) {
            let indexes = Indexes::new("trixie", vec![(release("trixie", 1), index)]);
            for name in indexes.names() {
                prop_assert!(indexes.versions(name).count() >= 1);
            }
        }
    }
}
