//! Whether etcd's write-ahead log holds anything beyond its birth: the one question that decides if a member's data may
//! be given up.
//!
//! Takes the first bytes of the only segment, gives yes or no; whatever cannot be read is "yes". Source of the format:
//! etcd 3.6 `server/storage/wal/{encoder,decoder}.go`, `walpb/record.proto`, `raftpb/raft.proto`: frames of a 64-bit
//! little-endian length (low 56 bits: bytes of the record; top bit: the three bits below it are bytes of padding), each
//! a protobuf Record with a CRC-32C that runs over the data of all records before it.

/// Bytes of a segment that a caller reads at most: a birth's own records are some hundred bytes a member.
pub const MAX_BYTES: usize = 256 << 10;
const FRAME: usize = 8;

/// Whether `segment` (the first [`MAX_BYTES`] of the segment, or all of it) shows nothing but what every member writes at
/// its birth: metadata, hard states, and the configuration changes of raft's first term. Anything else gives `false`, a
/// torn tail too: it may be a longer record with a damaged length, and etcd mends a real one when it starts.
pub fn is_birth_alone(segment: &[u8]) -> bool {
    let mut crc = 0u32;
    let mut own = 0u64;
    let mut at = 0usize;
    loop {
        let rest = segment.get(at..).unwrap_or_default();
        let Some((head, after)) = rest.split_first_chunk::<FRAME>() else {
            // The end of a file that was cut there; one that goes on was not read whole.
            return segment.len() < MAX_BYTES;
        };
        let length = u64::from_le_bytes(*head);
        if length == 0 {
            return is_zero(after);
        }
        let bytes = usize::try_from(length & !(0xff << 56)).unwrap_or(usize::MAX);
        let padding = if length >> 63 == 1 { usize::try_from((length >> 56) & 7).unwrap_or(0) } else { 0 };
        let Some(framed) = bytes.checked_add(padding).and_then(|n| after.get(..n)) else { return false };
        let Some(record) = framed.get(..bytes).and_then(Record::parse) else { return false };
        if record.kind == CRC {
            // The first record of a segment carries the sum so far on.
            if crc != 0 && record.crc != crc {
                return false;
            }
            crc = record.crc;
        } else {
            crc = crc32c(crc, record.data);
            if record.crc != crc || !is_of_birth(&record, &mut own) {
                return false;
            }
        }
        at = at.saturating_add(FRAME).saturating_add(framed.len());
    }
}

const METADATA: u64 = 1;
const ENTRY: u64 = 2;
const STATE: u64 = 3;
const CRC: u64 = 4;
const SNAPSHOT: u64 = 5;

struct Record<'a> {
    kind: u64,
    crc: u32,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut record = Record { kind: 0, crc: 0, data: &[] };
        for field in fields(bytes)? {
            match field {
                (1, Value::Number(kind)) => record.kind = kind,
                (2, Value::Number(crc)) => record.crc = u32::try_from(crc).ok()?,
                (3, Value::Bytes(data)) => record.data = data,
                _ => return None,
            }
        }
        Some(record)
    }
}

/// Counts the birth's own entries; `false` for anything that only a cluster with a leader writes.
fn is_of_birth(record: &Record<'_>, own: &mut u64) -> bool {
    let Some(fields) = (match record.kind {
        METADATA => return true,
        ENTRY | STATE | SNAPSHOT => fields(record.data),
        _ => None,
    }) else {
        return false;
    };
    let number = |tag: u64| {
        let last = fields.iter().rev().find(|(t, _)| *t == tag);
        last.map_or(Some(0), |(_, v)| if let Value::Number(n) = v { Some(*n) } else { None })
    };
    match record.kind {
        ENTRY => {
            // raft.Bootstrap: ConfChange (or its second form) of term 1; a leader's entries have a later term.
            *own = own.saturating_add(1);
            matches!(number(1), Some(1 | 2)) && number(2) == Some(1) && number(3) == Some(*own)
        }
        STATE => number(3).is_some_and(|commit| commit <= *own),
        _ => number(1) == Some(0),
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Fields of a protobuf message: tag and value. `None`: not one, or with a wire type that etcd does not use here.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// CRC-32C (Castagnoli), going on from `crc`.
fn crc32c(crc: u32, data: &[u8]) -> u32 {
    let mut sum = !crc;
    for byte in data {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(tag: u8, value: u64) -> Vec<u8> {
        let mut out = vec![tag << 3];
        let mut left = value;
        while left >= 0x80 {
            out.push((left as u8 & 0x7f) | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
        out
    }

    fn text(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = number(0, value.len() as u64);
        [&[tag << 3 | 2], &length[1..], value].concat()
    }

    #[derive(Default)]
    struct Log {
        bytes: Vec<u8>,
        crc: u32,
    }

    impl Log {
        fn record(&mut self, kind: u64, data: &[u8]) -> &mut Self {
            if kind != CRC {
                self.crc = crc32c(self.crc, data);
            }
            let crc = number(2, u64::from(self.crc));
            let mut record = [number(1, kind), crc, text(3, data)].concat();
            let padding = (8 - record.len() % 8) % 8;
            let length = record.len() as u64 | if padding > 0 { (0x80 | padding as u64) << 56 } else { 0 };
            self.bytes.extend(length.to_le_bytes());
            record.resize(record.len() + padding, 0);
            self.bytes.extend(record);
            self
        }
        fn entry(&mut self, kind: u64, term: u64, index: u64) -> &mut Self {
            let data = [number(1, kind), number(2, term), number(3, index), text(4, b"x")].concat();
            self.record(ENTRY, &data)
        }
        fn state(&mut self, term: u64, commit: u64) -> &mut Self {
            let data = [number(1, term), number(2, 0), number(3, commit)].concat();
            self.record(STATE, &data)
        }
        fn born() -> Self {
            let mut log = Self::default();
            log.record(CRC, b"").record(METADATA, b"node and cluster");
            log.record(SNAPSHOT, &[number(1, 0), number(2, 0)].concat());
            log.entry(1, 1, 1).entry(1, 1, 2).entry(1, 1, 3).state(1, 3).state(9, 3);
            log
        }
        fn preallocated(&self) -> Vec<u8> {
            let mut bytes = self.bytes.clone();
            bytes.resize(MAX_BYTES, 0);
            bytes
        }
    }

    #[test]
    fn a_birth_alone_is_seen() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283, "the check value of CRC-32C");
        let log = Log::born();
        assert!(is_birth_alone(&log.preallocated()));
        assert!(is_birth_alone(&log.bytes));
        assert!(is_birth_alone(&vec![0; MAX_BYTES]));
    }

    #[test]
    fn whatever_a_leader_wrote_is_seen() {
        assert!(!is_birth_alone(&Log::born().entry(0, 2, 4).preallocated()), "an entry of a leader");
        assert!(!is_birth_alone(&Log::born().entry(1, 2, 4).preallocated()), "a later change of members");
        assert!(!is_birth_alone(&Log::born().state(2, 4).preallocated()), "a commit beyond the birth");
        let snapshot = [number(1, 10_000), number(2, 3)].concat();
        assert!(!is_birth_alone(&Log::born().record(SNAPSHOT, &snapshot).preallocated()));
        assert!(!is_birth_alone(&Log::born().record(77, b"").preallocated()));
    }

    #[test]
    fn what_is_damaged_counts_as_something() {
        let whole = Log::born();
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

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = is_birth_alone(&bytes);
        }

        #[test]
        fn no_flipped_bit_hides_an_entry(at in 0usize..4000, bit in 0u8..8) {
            let log = { let mut log = Log::born(); log.entry(0, 2, 4).entry(0, 2, 5); log };
            let mut bytes = log.preallocated();
            let at = at % log.bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(!is_birth_alone(&bytes));
        }
    }
}
