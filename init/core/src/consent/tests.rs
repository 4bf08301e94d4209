use super::*;
use proptest::prelude::*;

fn disk(name: &str, content: Content) -> DiskFacts {
    DiskFacts {
        name: name.into(),
        serial: Some(format!("S-{name}")),
        size: 20 << 30,
        content,
        excluded: None,
    }
}

fn foreign(name: &str) -> DiskFacts {
    disk(name, Content::Foreign { found: "an XFS file system".into() })
}

fn ours(name: &str) -> DiskFacts {
    disk(name, Content::State { partition: format!("{name}1") })
}

fn named(serial: &str, wipe: Option<&str>) -> seed::Disk {
    seed::Disk { serial: serial.into(), wipe: wipe.map(Into::into) }
}

#[test]
fn a_blank_disk_is_taken_and_ours_is_used() {
    let root = DiskFacts { excluded: Some(Exclusion::Root), ..foreign("vda") };
    let blank = disk("vdb", Content::Blank);
    let decision = decide(&[root.clone(), blank], None);
    assert!(matches!(&decision, Decision::Prepare(c) if c.disk() == "vdb" && c.wipe().is_none()));
    let both = decide(&[root, disk("vdc", Content::Blank), ours("vdb")], None);
    assert_eq!(both, Decision::Use { disk: "vdb".into(), partition: "vdb1".into() });
}

#[test]
fn somebody_elses_disk_needs_serial_and_word() {
    let disks = [foreign("vdb")];
    assert!(matches!(decide(&disks, None), Decision::Foreign { .. }));
    assert!(matches!(decide(&disks, Some(&named("S-vdb", None))), Decision::Foreign { .. }));
    assert!(matches!(decide(&disks, Some(&named("S-vdc", Some("now")))), Decision::None { .. }));
    let consent = decide(&disks, Some(&named("S-vdb", Some("now"))));
    assert!(matches!(&consent, Decision::Prepare(c) if c.wipe() == Some("now")));
}

#[test]
fn a_wipe_word_works_once() {
    let d = ours("vdb");
    let n = named("S-vdb", Some("now"));
    assert!(wipe_of_ours(&d, Some(&n), &[]).is_some());
    assert!(wipe_of_ours(&d, Some(&n), &["now".into()]).is_none());
    assert!(wipe_of_ours(&d, Some(&named("S-vdc", Some("now"))), &[]).is_none());
    assert!(wipe_of_ours(&d, None, &[]).is_none());
}

#[test]
fn a_choice_is_not_guessed() {
    let two = [disk("vda", Content::Blank), disk("vdb", Content::Blank)];
    assert!(matches!(decide(&two, None), Decision::Ambiguous { .. }));
    assert!(matches!(decide(&[ours("vda"), ours("vdb")], None), Decision::Ambiguous { .. }));
    assert!(matches!(decide(&two, Some(&named("S-vdb", None))), Decision::Prepare(c) if c.disk() == "vdb"));
}

#[test]
fn signatures_have_words() {
    let mut start = vec![0u8; 1 << 20];
    assert_eq!(found_on(&start, 512), None);
    start[1080..1082].copy_from_slice(b"\x53\xef");
    assert_eq!(found_on(&start, 512).as_deref(), Some("an ext2/3/4 file system"));
    assert_eq!(found_on(&[], 512), None);
}

fn any_disk() -> impl Strategy<Value = DiskFacts> {
    let content = prop_oneof![
        Just(Content::Blank),
        Just(Content::State { partition: "p1".into() }),
        Just(Content::Foreign { found: "x".into() }),
        Just(Content::Unreadable),
    ];
    let excluded = prop_oneof![
        Just(None),
        Just(Some(Exclusion::Root)),
        Just(Some(Exclusion::Removable)),
        Just(Some(Exclusion::ReadOnly)),
    ];
    ("[a-c]", content, excluded)
        .prop_map(|(name, content, excluded)| DiskFacts { excluded, ..disk(&name, content) })
}

proptest! {
    /// Whatever is plugged in: only a blank disk or a named one with a word is ever formatted, never the root's.
    #[test]
    fn nothing_is_formatted_without_consent(
        mut disks in proptest::collection::vec(any_disk(), 0..5),
        serial in proptest::option::of("S-[a-c]"),
        word in proptest::option::of(Just("w")),
    ) {
        // A kernel name stands for one disk.
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        disks.dedup_by(|a, b| a.name == b.name);
        let named = serial.map(|s| named(&s, word));
        if let Decision::Prepare(consent) = decide(&disks, named.as_ref()) {
            let taken = disks.iter().find(|d| {
                d.name == consent.disk() && !matches!(d.excluded, Some(Exclusion::Root | Exclusion::ReadOnly))
            });
            let taken = taken.expect("a disk that may be taken");
            let with_word = named.as_ref().is_some_and(|n| {
                n.wipe.is_some() && Some(n.serial.as_str()) == taken.serial.as_deref()
            });
            prop_assert!(taken.content == Content::Blank || with_word);
        }
    }

    #[test]
    fn any_bytes_have_words_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let _ = found_on(&bytes, 512);
    }
}
