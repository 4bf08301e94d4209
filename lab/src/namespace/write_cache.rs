//! What a disk has taken and not yet made durable.
//!
//! Takes writes, gives reads that see them, and at a flush moves them to the image. At a cut everything since the last
//! flush is forgotten, the strictest that a disk may do: from then on nothing reaches the image, whatever is asked.
//! What it answers then is worth nothing: whoever cuts it must see to it that nobody hears of the machine any more.
//! Touches the image that it is handed, and no other file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of a piece.
const BLOCK: usize = 4096;

/// On which side of a flush the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the flush has become durable, and nobody has heard that it has.
    Before,
    /// All of it is durable, and nobody has heard that it is.
    After,
}

/// Ends the machine; returns when nothing of it can be heard any more.
pub(crate) type CutPower = Arc<dyn Fn() + Send + Sync>;

/// A cut that is to come.
struct Plan {
    /// Flushes until then; 1: the next one.
    left: u64,
    moment: Moment,
    cut: CutPower,
}

/// The cache of one disk from when it gets power to when it loses it.
#[derive(Default)]
pub(crate) struct WriteCache {
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
    flushes: u64,
    gone: bool,
    plan: Option<Plan>,
}

impl WriteCache {
    /// An empty one, of a disk that has made so many flushes before.
    pub(crate) fn after(flushes: u64) -> Self {
        Self { flushes, ..Self::default() }
    }

    /// Flushes that had something to make durable.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Whether its power was cut.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The power is gone: the image stays as it is.
    pub(crate) fn cut(&mut self) {
        self.gone = true;
        self.plan = None;
    }

    /// Cuts the power at a flush to come; another plan is forgotten.
    pub(crate) fn cut_at(&mut self, left: u64, moment: Moment, cut: CutPower) {
        self.plan = Some(Plan { left: left.max(1), moment, cut });
    }

    /// Fills `bytes` from `at` on.
    pub(crate) fn read(&self, image: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        image.read_exact_at(bytes, at)?;
        let end = at + bytes.len() as u64;
        for (number, block) in self.blocks.range(at / BLOCK as u64..end.div_ceil(BLOCK as u64)) {
            let start = number * BLOCK as u64;
            let (from, to) = (start.max(at), (start + BLOCK as u64).min(end));
            let inside = (from - start) as usize..(to - start) as usize;
            bytes[(from - at) as usize..(to - at) as usize].copy_from_slice(&block[inside]);
        }
        Ok(())
    }

    /// Keeps `bytes` for the next flush.
    pub(crate) fn write(&mut self, image: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut at, mut bytes) = (at, bytes);
        while !bytes.is_empty() {
            let (number, inside) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - inside));
            let block = match self.blocks.entry(number) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    let mut block = Box::new([0; BLOCK]);
                    if now.len() < BLOCK {
                        image.read_exact_at(&mut block[..], number * BLOCK as u64)?;
                    }
                    free.insert(block)
                }
            };
            block[inside..inside + now.len()].copy_from_slice(now);
            (at, bytes) = (at + now.len() as u64, later);
        }
        Ok(())
    }

    /// Makes durable what was written. Gives who is to be told that the power goes now, before anybody hears of the flush.
    pub(crate) fn flush(&mut self, image: &File) -> io::Result<Option<CutPower>> {
        if self.gone || self.blocks.is_empty() {
            return Ok(None);
        }
        self.flushes += 1;
        let now = match &mut self.plan {
            Some(plan) => {
                plan.left -= 1;
                plan.left == 0
            }
            None => false,
        };
        let plan = if now { self.plan.take() } else { None };
        if !plan.as_ref().is_some_and(|p| p.moment == Moment::Before) {
            for (number, block) in &self.blocks {
                image.write_all_at(&block[..], number * BLOCK as u64)?;
            }
            self.blocks.clear();
        }
        self.gone |= plan.is_some();
        Ok(plan.map(|p| p.cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 64 << 10;

    fn image() -> File {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(SIZE).expect("its size");
        file
    }

    fn read(cache: &WriteCache, image: &File, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        cache.read(image, at, &mut bytes).expect("read");
        bytes
    }

    #[test]
    fn what_was_not_flushed_is_gone_and_what_was_is_there() {
        let (mut cache, image) = (WriteCache::default(), image());
        cache.write(&image, 4000, &[1; 200]).expect("written");
        assert_eq!(read(&cache, &image, 3999, 202), [&[0][..], &[1; 200], &[0]].concat(), "seen at once");
        assert!(cache.flush(&image).expect("flushed").is_none());
        cache.write(&image, 4090, &[2; 20]).expect("written");
        cache.cut();
        assert!(cache.flush(&image).expect("a flush that does nothing").is_none());
        assert_eq!(read(&WriteCache::default(), &image, 4000, 200), [1; 200]);
        assert_eq!(cache.flushes(), 1, "one flush had something to do");
    }

    #[test]
    fn the_power_goes_on_either_side_of_a_flush() {
        for (moment, kept) in [(Moment::Before, 0), (Moment::After, 7)] {
            let (mut cache, image) = (WriteCache::default(), image());
            cache.cut_at(2, moment, Arc::new(|| {}));
            cache.write(&image, 0, &[3]).expect("written");
            assert!(cache.flush(&image).expect("flushed").is_none());
            assert!(cache.flush(&image).expect("nothing to do, not counted").is_none());
            cache.write(&image, 1, &[7]).expect("written");
            assert!(cache.flush(&image).expect("flushed").is_some(), "the second");
            cache.write(&image, 1, &[9]).expect("into the void");
            assert!(cache.flush(&image).expect("nothing").is_none());
            assert_eq!(read(&WriteCache::default(), &image, 0, 2), [3, kept], "{moment:?}");
        }
    }
}
