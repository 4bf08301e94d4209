//! Whether the log holds anything beyond its birth: the one question that decides if a member's data may be given up.
//! Whatever cannot be read is "yes".

use super::frame::{
    CRC, ENTRY, Frame, HEAD, METADATA, Record, SNAPSHOT, STATE, crc32c, fields, frame, number_of,
};

/// Bytes of a segment that a caller reads at most: a birth's own records are some hundred bytes a member.
pub const MAX_BYTES: usize = 256 << 10;

/// Whether `segment` (the first [`MAX_BYTES`] of the segment, or all of it) shows nothing but what every member writes at
/// its birth: metadata, hard states, and the configuration changes of raft's first term. Anything else gives `false`, a
/// torn tail too: it may be a longer record with a damaged length, and etcd mends a real one when it starts.
pub fn is_birth_alone(segment: &[u8]) -> bool {
    let mut crc = 0u32;
    let mut own = 0u64;
    let mut at = 0usize;
    loop {
        let rest = segment.get(at..).unwrap_or_default();
        if rest.len() < HEAD {
            // The end of a file that was cut there; one that goes on was not read whole.
            return segment.len() < MAX_BYTES;
        }
        let (record, body) = match frame(segment, at) {
            Frame::End => return rest.iter().all(|b| *b == 0),
            Frame::Whole { record: Some(record), body } => (record, body),
            _ => return false,
        };
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
        at = at.saturating_add(HEAD).saturating_add(body.len());
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
    let number = |tag: u64| number_of(&fields, tag);
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
