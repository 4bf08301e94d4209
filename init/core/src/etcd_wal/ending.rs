//! Where a log ends, and the record that makes all of it count as committed.
//!
//! What etcd's `--force-new-cluster` finds beyond the commit that the log states, it drops. A member that has lost its
//! majority cannot know what of that was acknowledged: the commit is written lazily, and a leader's acknowledgement needs
//! this member's copy, not its knowledge. So all of it counts: keeping an entry that nobody was told of is what a cluster
//! does too when its leader dies at that moment.
//!
//! Read as etcd reads it (`ReadAll`, `Repair`): a later entry with an index that is there already takes the place of that
//! one and of all behind it; a record at the very end that was not written whole ends the log; anything else that does not
//! fit its sum is damage, and nothing is guessed.

use super::frame::{
    CRC, ENTRY, Frame, HEAD, METADATA, Record, SNAPSHOT, STATE, crc32c, fields, frame, framed, number,
    number_of,
};

/// Disks write this much at once, or nothing of it.
const SECTOR: usize = 512;

/// A log that is not one, or not whole. Offsets are in bytes of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A frame goes beyond a segment that others follow.
    #[error("the record at byte {0} is cut off, and the log goes on")]
    Cut(usize),
    /// The sum or the message is wrong.
    #[error("the record at byte {0} is damaged")]
    Record(usize),
    /// Entries are missing.
    #[error("entry {found} follows entry {last}")]
    Gap {
        /// The one before.
        last: u64,
        /// What comes.
        found: u64,
    },
    /// A segment after the last one.
    #[error("a segment follows the last one")]
    Order,
    /// Nothing to go on with.
    #[error("it holds no entry")]
    Empty,
}

/// A log that is read segment by segment, in the order of their names.
#[derive(Debug, Default)]
pub struct Log {
    crc: u32,
    /// Term and vote of the last hard state; its commit.
    term: u64,
    vote: u64,
    commit: u64,
    /// Index and term of the last entry.
    last: Option<(u64, u64)>,
    /// The furthest snapshot that the log names.
    snapshot: u64,
    /// Where the records of the last segment end.
    end: Option<usize>,
}

/// How to make a whole log count as committed: write `record` at `offset` of the last segment, and cut the file there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Bytes of the last segment that stay.
    pub offset: usize,
    /// A frame with a hard state.
    pub record: Vec<u8>,
    /// Index of the last entry, now committed.
    pub last: u64,
    /// What the log knew to be committed.
    pub known: u64,
}

impl Log {
    /// Reads on with a whole segment.
    pub fn segment(&mut self, bytes: &[u8], is_last: bool) -> Result<(), Damage> {
        if self.end.is_some() {
            return Err(Damage::Order);
        }
        let mut at = 0usize;
        loop {
            match frame(bytes, at) {
                Frame::End => break,
                Frame::Short if is_last => break,
                Frame::Short => return Err(Damage::Cut(at)),
                Frame::Whole { record, body } => {
                    match record.as_ref().and_then(|r| self.sum(r)) {
                        // A record that is whole, or nothing of it was written.
                        None if is_last && is_torn(at.saturating_add(HEAD), body) => break,
                        None => return Err(Damage::Record(at)),
                        Some(sum) => self.crc = sum,
                    }
                    if let Some(record) = &record {
                        self.take(record, at)?;
                    }
                    at = at.saturating_add(HEAD).saturating_add(body.len());
                }
            }
        }
        if is_last {
            self.end = Some(at);
        }
        Ok(())
    }

    /// After the last segment.
    pub fn ending(&self) -> Result<Ending, Damage> {
        let (Some(offset), Some((last, last_term))) = (self.end, self.last) else {
            return Err(Damage::Empty);
        };
        // A snapshot that came from a leader may lie beyond the last entry.
        let commit = self.commit.max(last);
        let state = [number(1, self.term.max(last_term)), number(2, self.vote), number(3, commit)].concat();
        let record = framed(STATE, crc32c(self.crc, &state), &state);
        Ok(Ending { offset, record, last: commit, known: self.commit })
    }

    /// The running sum after this record; `None`: it does not fit.
    fn sum(&self, record: &Record<'_>) -> Option<u32> {
        if record.kind == CRC {
            // The first record of a segment carries the sum so far on; a log whose first segments are purged begins so.
            return (self.crc == 0 || self.crc == record.crc).then_some(record.crc);
        }
        let sum = crc32c(self.crc, record.data);
        (sum == record.crc).then_some(sum)
    }

    fn take(&mut self, record: &Record<'_>, at: usize) -> Result<(), Damage> {
        let damaged = Damage::Record(at);
        let numbers = |first: u64, second: u64, third: u64| {
            let fields = fields(record.data)?;
            Some((number_of(&fields, first)?, number_of(&fields, second)?, number_of(&fields, third)?))
        };
        match record.kind {
            ENTRY => {
                let (term, index, _) = numbers(2, 3, 1).ok_or(damaged)?;
                let reached = self.last.map(|(last, _)| last.max(self.snapshot));
                if let Some(last) = reached.filter(|last| index > last.saturating_add(1)) {
                    return Err(Damage::Gap { last, found: index });
                }
                self.last = Some((index, term));
            }
            STATE => (self.term, self.vote, self.commit) = numbers(1, 2, 3).ok_or(damaged)?,
            SNAPSHOT => self.snapshot = self.snapshot.max(numbers(1, 2, 2).ok_or(damaged)?.0),
            METADATA | CRC => {}
            _ => return Err(damaged),
        }
        Ok(())
    }
}

/// Whether a sector's part of this record was never written: it is nothing but zeros.
fn is_torn(mut offset: usize, mut body: &[u8]) -> bool {
    while !body.is_empty() {
        let (part, rest) = body.split_at(body.len().min(SECTOR.saturating_sub(offset % SECTOR)));
        if part.iter().all(|b| *b == 0) {
            return true;
        }
        offset = offset.saturating_add(part.len());
        body = rest;
    }
    false
}
