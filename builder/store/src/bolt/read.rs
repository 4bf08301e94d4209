//! The bytes of a file -> a bucket in memory.
//!
//! Takes untrusted bytes: every page is visited at most once, depth and sizes are bounded, nothing panics. Overlapping
//! elements, wrong order and pages outside the file are errors.

use std::collections::BTreeSet;

use super::layout::*;
use super::{BoltError, Bucket, Item, MAX_DEPTH, MAX_KEY, MAX_VALUE};

/// Reads the newest state of a database.
pub fn read(file: &[u8]) -> Result<Bucket, BoltError> {
    let metas = (0..2u64).filter_map(|id| Meta::parse(file, id));
    let meta = metas.max_by_key(|meta| meta.transaction).ok_or(BoltError::NoMeta)?;
    let mut reader = Reader { file, pages: meta.pages, seen: BTreeSet::new() };
    let mut root = Bucket { sequence: meta.sequence, ..Bucket::default() };
    reader.tree(meta.root, &mut root, 1, 1)?;
    Ok(root)
}

struct Meta {
    root: u64,
    sequence: u64,
    pages: u64,
    transaction: u64,
}

impl Meta {
    fn parse(file: &[u8], id: u64) -> Option<Self> {
        let page = file.get(id as usize * PAGE..)?.get(..PAGE)?;
        if u64_at(page, 0)? != id || u16_at(page, 8)? != META {
            return None;
        }
        let meta = page.get(PAGE_HEADER..)?;
        let expected = [MAGIC, VERSION, PAGE as u32];
        let found = [u32_at(meta, 0)?, u32_at(meta, 4)?, u32_at(meta, 8)?];
        if found != expected || u64_at(meta, META_CHECKED)? != fnv1a(meta.get(..META_CHECKED)?) {
            return None;
        }
        let (root, sequence) = (u64_at(meta, 16)?, u64_at(meta, 24)?);
        Some(Self { root, sequence, pages: u64_at(meta, 40)?, transaction: u64_at(meta, 48)? })
    }
}

struct Reader<'a> {
    file: &'a [u8],
    pages: u64,
    seen: BTreeSet<u64>,
}

impl<'a> Reader<'a> {
    /// The whole pages from `id` on that belong to it; each only once.
    fn page(&mut self, id: u64) -> Result<&'a [u8], BoltError> {
        let wrong = |what| BoltError::Page { page: id, what };
        if id < 2 || id >= self.pages {
            return Err(wrong("lies outside the file"));
        }
        let start = usize::try_from(id).ok().and_then(|id| id.checked_mul(PAGE));
        let rest = start.and_then(|start| self.file.get(start..)).ok_or(wrong("lies outside the file"))?;
        let overflow = u32_at(rest, 12).ok_or(wrong("lies outside the file"))?;
        let page = (overflow as usize)
            .checked_add(1)
            .and_then(|pages| rest.get(..pages.checked_mul(PAGE)?))
            .ok_or(wrong("overflows the file"))?;
        for id in id..=id + u64::from(overflow) {
            if !self.seen.insert(id) {
                return Err(wrong("is named twice"));
            }
        }
        if u64_at(page, 0) != Some(id) { Err(wrong("has another number")) } else { Ok(page) }
    }

    fn tree(
        &mut self,
        id: u64,
        into: &mut Bucket,
        bucket_depth: usize,
        depth: usize,
    ) -> Result<(), BoltError> {
        let wrong = |what| BoltError::Page { page: id, what };
        if depth > 2 * MAX_DEPTH {
            return Err(BoltError::Deep);
        }
        let page = self.page(id)?;
        match u16_at(page, 8) {
            Some(LEAF) => self.leaf(id, page, into, bucket_depth),
            Some(BRANCH) => {
                for index in 0..usize::from(u16_at(page, 10).unwrap_or(0)) {
                    let at = PAGE_HEADER + index * ELEMENT;
                    let child = u64_at(page, at + 8).ok_or(wrong("is cut off"))?;
                    self.tree(child, into, bucket_depth, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(wrong("is neither leaf nor branch")),
        }
    }

    fn leaf(
        &mut self,
        id: u64,
        page: &[u8],
        into: &mut Bucket,
        bucket_depth: usize,
    ) -> Result<(), BoltError> {
        let wrong = |what| BoltError::Page { page: id, what };
        let mut free_from = 0;
        for index in 0..usize::from(u16_at(page, 10).unwrap_or(0)) {
            let element = leaf_element(page, index).ok_or(wrong("has an element outside of it"))?;
            let LeafElement { flags, start, key, value } = element;
            // Data that two elements share could make a small file unfold into a huge bucket.
            if start < free_from {
                return Err(wrong("has elements that overlap"));
            }
            free_from = start + key.len() + value.len();
            if key.is_empty() {
                return Err(BoltError::EmptyKey);
            }
            if key.len() > MAX_KEY {
                return Err(BoltError::LongKey(key.len()));
            }
            if value.len() > MAX_VALUE {
                return Err(BoltError::LongValue(value.len()));
            }
            if into.last_key().is_some_and(|last| last >= key) {
                return Err(wrong("has keys out of order"));
            }
            let item = match flags & IS_BUCKET {
                0 => Item::Value(value.to_vec()),
                _ => Item::Bucket(self.nested(id, value, bucket_depth + 1)?),
            };
            into.insert(key.to_vec(), item);
        }
        Ok(())
    }

    fn nested(&mut self, id: u64, value: &[u8], bucket_depth: usize) -> Result<Bucket, BoltError> {
        let cut = BoltError::Page { page: id, what: "has a bucket that is cut off" };
        if bucket_depth > MAX_DEPTH {
            return Err(BoltError::Deep);
        }
        let (Some(root), Some(sequence)) = (u64_at(value, 0), u64_at(value, 8)) else { return Err(cut) };
        let mut bucket = Bucket { sequence, ..Bucket::default() };
        match root {
            0 => {
                let page = value.get(BUCKET_HEADER..).ok_or(cut)?;
                if u16_at(page, 8) != Some(LEAF) {
                    return Err(BoltError::Page { page: id, what: "has an inline bucket that is no leaf" });
                }
                self.leaf(id, page, &mut bucket, bucket_depth)?;
            }
            root => self.tree(root, &mut bucket, bucket_depth, 1)?,
        }
        Ok(bucket)
    }
}

struct LeafElement<'a> {
    flags: u32,
    start: usize,
    key: &'a [u8],
    value: &'a [u8],
}

fn leaf_element(page: &[u8], index: usize) -> Option<LeafElement<'_>> {
    let at = PAGE_HEADER + index * ELEMENT;
    let [flags, position, key, value] =
        [u32_at(page, at)?, u32_at(page, at + 4)?, u32_at(page, at + 8)?, u32_at(page, at + 12)?];
    let start = at.checked_add(position as usize)?;
    let (key, rest) = page.get(start..)?.split_at_checked(key as usize)?;
    Some(LeafElement { flags, start, key, value: rest.get(..value as usize)? })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}
