//! The database writer against its own reader, against broken bytes, and (where it is at hand) against bbolt itself.

use std::path::PathBuf;
use std::process::Command;

use nodeimg_store::bolt::{BoltError, Bucket, Item, MAX_DEPTH, read, write};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Buckets of all shapes: inline, one page, several pages, long keys and values that overflow, nested.
fn bucket() -> impl Strategy<Value = Bucket> {
    let long = |sizes: std::ops::Range<usize>| (any::<u8>(), sizes).prop_map(|(byte, size)| vec![byte; size]);
    let key = prop_oneof![12 => vec(any::<u8>(), 1..20), 1 => long(900..6000)];
    let value = prop_oneof![12 => vec(any::<u8>(), 0..30), 1 => long(200..20_000)];
    let leaf = value.prop_map(Item::Value).boxed();
    let item = leaf.prop_recursive(4, 40, 8, move |inner| {
        let items = btree_map(vec(any::<u8>(), 1..20), inner, 0..12);
        (any::<u64>(), items).prop_map(|(sequence, items)| Item::Bucket(filled(sequence, items)))
    });
    let items = btree_map(key, item, 0..40);
    (any::<u64>(), items).prop_map(|(sequence, items)| filled(sequence, items))
}

fn filled(sequence: u64, items: impl IntoIterator<Item = (Vec<u8>, Item)>) -> Bucket {
    let mut bucket = Bucket::new();
    bucket.sequence = sequence;
    for (key, item) in items {
        match item {
            Item::Value(value) => {
                bucket.put(key, value);
            }
            Item::Bucket(nested) => *bucket.bucket(key) = nested,
        }
    }
    bucket
}

/// Enough keys for three levels of pages.
fn large() -> Bucket {
    let mut bucket = Bucket::new();
    for number in 0..20_000u32 {
        bucket.bucket("many").put(format!("{number:08}/{}", "k".repeat(60)), number.to_le_bytes());
    }
    bucket.bucket("empty");
    bucket.bucket("huge").put("value", vec![7; 300_000]).put("next", "x");
    bucket
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(bucket in bucket()) {
        let file = write(&bucket).unwrap();
        prop_assert_eq!(file.len() % 4096, 0);
        prop_assert_eq!(&write(&bucket).unwrap(), &file);
        prop_assert_eq!(read(&file).unwrap(), bucket);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..10_000)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        bucket in bucket(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>(),
    ) {
        let mut file = write(&bucket).unwrap();
        let data = 3 * 4096;
        for (place, byte) in damage {
            let place = data + place.index(file.len() - data);
            file[place] = byte;
        }
        let _ = read(&file);
        let _ = read(&file[..cut.index(file.len())]);
    }
}

#[test]
fn three_levels_of_pages_are_read_again() {
    let bucket = large();
    let file = write(&bucket).unwrap();
    assert!(file.len() > 2_000_000, "{}", file.len());
    assert_eq!(read(&file).unwrap(), bucket);
}

#[test]
fn a_broken_meta_page_leaves_the_other() {
    let mut file = write(&large()).unwrap();
    file[4096 + 20] ^= 1;
    assert_eq!(read(&file).unwrap(), large());
    file[20] ^= 1;
    assert_eq!(read(&file), Err(BoltError::NoMeta));
}

#[test]
fn what_bbolt_would_refuse_is_refused() {
    let mut bucket = Bucket::new();
    bucket.put("", "x");
    assert_eq!(write(&bucket), Err(BoltError::EmptyKey));
    let mut bucket = Bucket::new();
    bucket.put(vec![1; 32769], "x");
    assert_eq!(write(&bucket), Err(BoltError::LongKey(32769)));
    let mut bucket = Bucket::new();
    let mut inner = &mut bucket;
    for _ in 0..MAX_DEPTH {
        inner = inner.bucket("deeper");
    }
    assert_eq!(write(&bucket), Err(BoltError::Deep));
}

#[test]
fn bbolt_finds_nothing_to_complain_of() {
    let Some(bbolt) = std::env::var_os("NODEIMG_TEST_BBOLT").map(PathBuf::from) else {
        let why = "NODEIMG_TEST_BBOLT names no bbolt program, and no locked package brings one";
        return nodeimg_test_programs::skipped("bbolt_finds_nothing_to_complain_of", why);
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let check = |bucket: &Bucket| {
        std::fs::write(&file, write(bucket).unwrap()).unwrap();
        let output = Command::new(&bbolt).arg("check").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "OK");
    };
    check(&Bucket::new());
    check(&large());
    runner
        .run(&bucket(), |bucket| {
            check(&bucket);
            Ok(())
        })
        .unwrap();
}
