use super::frame::{CRC, ENTRY, METADATA, SNAPSHOT, STATE, bytes as text, crc32c, framed, number};
use super::*;
use proptest::prelude::*;

/// The log of a leader that two followers had left when it took its last two entries, up to the space allocated ahead;
/// written by etcd 3.6.8: three members, keys k1 to k5 committed, entries 14 and 15 not.
const REAL: &[u8] = include_bytes!("tests/etcd-3.6.8.wal");

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    crc: u32,
}

impl Written {
    fn record(&mut self, kind: u64, data: &[u8]) -> &mut Self {
        if kind != CRC {
            self.crc = crc32c(self.crc, data);
        }
        self.bytes.extend(framed(kind, self.crc, data));
        self
    }
    fn entry_with(&mut self, kind: u64, term: u64, index: u64, data: &[u8]) -> &mut Self {
        let data = [number(1, kind), number(2, term), number(3, index), text(4, data)].concat();
        self.record(ENTRY, &data)
    }
    fn entry(&mut self, kind: u64, term: u64, index: u64) -> &mut Self {
        self.entry_with(kind, term, index, b"x")
    }
    fn state(&mut self, term: u64, commit: u64) -> &mut Self {
        let data = [number(1, term), number(2, 0), number(3, commit)].concat();
        self.record(STATE, &data)
    }
    fn snapshot(&mut self, term: u64, index: u64) -> &mut Self {
        self.record(SNAPSHOT, &[number(1, index), number(2, term)].concat())
    }
    fn born() -> Self {
        let mut log = Self::default();
        log.record(CRC, b"").record(METADATA, b"node and cluster").snapshot(0, 0);
        log.entry(1, 1, 1).entry(1, 1, 2).entry(1, 1, 3).state(1, 3).state(9, 3);
        log
    }
    /// The segment after this one.
    fn next(&self) -> Self {
        let mut log = Self { bytes: Vec::new(), crc: self.crc };
        log.record(CRC, b"").record(METADATA, b"node and cluster");
        log
    }
    fn preallocated(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().max(MAX_BYTES), 0);
        bytes
    }
}

fn ending(segments: &[&[u8]]) -> Result<Ending, Damage> {
    let mut log = Log::default();
    for (at, segment) in segments.iter().enumerate() {
        log.segment(segment, at + 1 == segments.len())?;
    }
    log.ending()
}

/// The last segment as the ending wants it.
fn ended(segment: &[u8], ending: &Ending) -> Vec<u8> {
    [&segment[..ending.offset], &ending.record].concat()
}

#[test]
fn a_birth_alone_is_seen() {
    assert_eq!(crc32c(0, b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    let log = Written::born();
    assert!(is_birth_alone(&log.preallocated()));
    assert!(is_birth_alone(&log.bytes));
    assert!(is_birth_alone(&vec![0; MAX_BYTES]));
}

#[test]
fn whatever_a_leader_wrote_is_seen() {
    assert!(!is_birth_alone(&Written::born().entry(0, 2, 4).preallocated()), "an entry of a leader");
    assert!(!is_birth_alone(&Written::born().entry(1, 2, 4).preallocated()), "a later change of members");
    assert!(!is_birth_alone(&Written::born().state(2, 4).preallocated()), "a commit beyond the birth");
    assert!(!is_birth_alone(&Written::born().snapshot(3, 10_000).preallocated()));
    assert!(!is_birth_alone(&Written::born().record(77, b"").preallocated()));
    assert!(!is_birth_alone(REAL));
}

#[test]
fn what_is_damaged_counts_as_something() {
    let whole = Written::born();
    let mut damaged = whole.preallocated();
    damaged[60] ^= 0xff;
    assert!(!is_birth_alone(&damaged));
    let mut torn = whole.preallocated();
    torn[whole.bytes.len() - 4..whole.bytes.len()].fill(0);
    assert!(!is_birth_alone(&torn));
    let mut dirty = whole.preallocated();
    dirty[MAX_BYTES - 1] = 1;
    assert!(!is_birth_alone(&dirty), "something lies behind the end");
}

#[test]
fn a_real_logs_last_entries_become_committed() {
    let found = ending(&[REAL]).expect("a log");
    assert_eq!((found.known, found.last, found.offset), (13, 15, REAL.len()));
    let space = [REAL, &[0; 4096]].concat();
    assert_eq!(ending(&[&space]), Ok(found.clone()), "space allocated ahead changes nothing");
    let again = ending(&[&ended(&space, &found)]).expect("what was written is read");
    assert_eq!((again.known, again.last), (15, 15));
    // Term and vote of the log's own last state, the new commit; as etcd writes it.
    let before = &REAL[REAL.len() - 16..];
    assert_ne!(before, &found.record[..16], "the log ends with an entry");
    let state = [number(1, 2), number(2, 185_828_541_645_115_251), number(3, 15)].concat();
    assert!(found.record.windows(state.len()).any(|w| w == state), "{:x?}", found.record);
}

#[test]
fn a_later_leaders_entry_takes_the_place_of_those_before() {
    let mut log = Written::born();
    log.entry(0, 2, 4).entry(0, 2, 5).entry(0, 2, 6).state(2, 4);
    assert_eq!(ending(&[&log.bytes]).map(|e| e.last), Ok(6));
    log.entry(0, 3, 5).state(3, 4);
    let found = ending(&[&log.bytes]).expect("a log");
    assert_eq!((found.last, found.known), (5, 4), "entry 6 of the old leader is gone");
}

#[test]
fn a_snapshot_bridges_a_gap_and_nothing_else_does() {
    let mut log = Written::born();
    log.snapshot(4, 100).state(4, 100);
    assert_eq!(ending(&[&log.bytes]).map(|e| e.last), Ok(100), "a leader's snapshot beyond the last entry");
    log.entry(0, 4, 101).entry(0, 4, 102);
    assert_eq!(ending(&[&log.bytes]).map(|e| (e.last, e.known)), Ok((102, 100)));
    log.entry(0, 4, 104);
    assert_eq!(ending(&[&log.bytes]), Err(Damage::Gap { last: 102, found: 104 }));
    // The snapshot came, and the power went before the log said that it counts.
    let mut unfinished = Written::born();
    unfinished.snapshot(4, 100);
    assert_eq!(ending(&[&unfinished.bytes]).map(|e| e.last), Ok(3));
    unfinished.entry(0, 9, 4);
    assert_eq!(ending(&[&unfinished.bytes]).map(|e| e.last), Ok(4));
}

#[test]
fn segments_hang_together() {
    let mut first = Written::born();
    first.entry(0, 9, 4);
    let mut second = first.next();
    second.state(9, 4).entry(0, 9, 5);
    let found = ending(&[&first.bytes, &second.preallocated()]).expect("a log");
    assert_eq!((found.last, found.offset), (5, second.bytes.len()), "the offset is the last segment's");
    assert_eq!(ending(&[&second.bytes]).map(|e| e.last), Ok(5), "the first segments may be purged");
    assert_eq!(ending(&[&first.bytes, &first.next().bytes]).map(|e| e.last), Ok(4), "right after a cut");
    let mut other = Written::born();
    other.entry(0, 8, 4);
    assert_eq!(ending(&[&other.bytes, &second.bytes]), Err(Damage::Record(0)), "a segment of another log");
    let torn = &first.bytes[..first.bytes.len() - 3];
    assert!(matches!(ending(&[torn, &second.bytes]), Err(Damage::Cut(_))), "torn, and the log goes on");
    let mut log = Log::default();
    log.segment(&first.bytes, true).expect("a log");
    assert_eq!(log.segment(&second.bytes, false), Err(Damage::Order));
    assert_eq!(ending(&[]), Err(Damage::Empty));
    assert_eq!(ending(&[&[0; 4096]]), Err(Damage::Empty));
}

#[test]
fn what_was_not_written_whole_ends_the_log() {
    let mut log = Written::born();
    let whole = log.bytes.len();
    log.entry_with(0, 9, 4, &[b'y'; 2000]);
    for cut in whole + 1..log.bytes.len() {
        let found = ending(&[&log.bytes[..cut]]).expect("torn at the end");
        assert_eq!((found.last, found.offset), (3, whole), "cut at {cut}");
    }
    let sector = whole.next_multiple_of(512);
    let mut torn = log.preallocated();
    torn[sector..sector + 512].fill(0);
    assert_eq!(ending(&[&torn]).map(|e| (e.last, e.offset)), Ok((3, whole)), "a sector was not written");
    let mut damaged = log.preallocated();
    damaged[sector + 7] ^= 1;
    assert_eq!(ending(&[&damaged]), Err(Damage::Record(whole)), "a flipped bit is no torn write");
}

/// Every bit of it in turn.
#[test]
fn a_flipped_bit_of_a_real_log_is_never_taken_for_an_entry() {
    let mut bytes = [REAL, &[0; 512]].concat();
    for at in 0..REAL.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            // A damaged length may cut the log short, as etcd itself reads it; it makes no entry.
            if let Ok(found) = ending(&[&bytes]) {
                assert!(found.last <= 15 && found.offset <= REAL.len(), "byte {at}, bit {bit}: {found:?}");
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..2000), is_last: bool) {
        let _ = is_birth_alone(&bytes);
        let mut log = Log::default();
        let _ = log.segment(&bytes, is_last);
        let _ = log.ending();
    }

    #[test]
    fn no_flipped_bit_hides_an_entry(at in 0usize..4000, bit in 0u8..8) {
        let log = { let mut log = Written::born(); log.entry(0, 2, 4).entry(0, 2, 5); log };
        let mut bytes = log.preallocated();
        let at = at % log.bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(!is_birth_alone(&bytes));
    }

    #[test]
    fn a_real_log_that_is_cut_anywhere_ends_with_a_commit_of_its_last_entry(cut in 0usize..6528) {
        let segment = &REAL[..cut];
        match ending(&[segment]) {
            Ok(found) => {
                prop_assert!(found.last >= found.known && found.offset <= cut);
                let again = ending(&[&ended(segment, &found)]);
                prop_assert_eq!(again.map(|e| (e.known, e.last)), Ok((found.last, found.last)));
            }
            Err(damage) => prop_assert_eq!(damage, Damage::Empty),
        }
    }

    #[test]
    fn rows_of_entries_of_several_leaders_end_at_the_last(
        steps in proptest::collection::vec((1usize..6, 1usize..5), 1..8),
    ) {
        let mut log = Written::born();
        let (mut last, mut term) = (3u64, 9u64);
        for (back, forth) in steps {
            term += 1;
            // Nothing that is committed is overwritten: three entries are.
            last = last.saturating_sub(back as u64).max(3);
            for _ in 0..forth {
                last += 1;
                log.entry(0, term, last);
            }
            log.state(term, 3);
        }
        let found = ending(&[&log.preallocated()]).expect("a log");
        prop_assert_eq!((found.last, found.known, found.offset), (last, 3, log.bytes.len()));
    }
}
