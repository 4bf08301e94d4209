//! A bucket in memory -> the bytes of a fresh file.
//!
//! Pages in order: two metas (transactions 0 and 1, naming the same tree, as in a file that bbolt has just made), an
//! empty freelist, then leaves before the branches above them. Every page is used and none is free.

use super::layout::*;
use super::{BoltError, Bucket, Item, MAX_DEPTH, MAX_KEY, MAX_VALUE};

const FREELIST_PAGE: u64 = 2;
const FIRST_DATA_PAGE: u64 = 3;
/// bbolt keeps a bucket inside its parent's leaf up to a quarter page.
const MAX_INLINE: usize = PAGE / 4;

/// The bytes of a database whose root bucket is `root`.
pub fn write(root: &Bucket) -> Result<Vec<u8>, BoltError> {
    let mut file = File { bytes: vec![0; FIRST_DATA_PAGE as usize * PAGE] };
    let elements = file.elements(root, 1)?;
    let root_page = file.tree(elements);
    let pages = file.next_page();

    put_page_header(&mut file.bytes[FREELIST_PAGE as usize * PAGE..], FREELIST_PAGE, FREELIST, 0, 0);
    for id in 0..2u64 {
        let page = &mut file.bytes[id as usize * PAGE..][..PAGE];
        put_page_header(page, id, META, 0, 0);
        let mut meta = Vec::with_capacity(META_CHECKED + 8);
        for word in [MAGIC, VERSION, PAGE as u32, 0] {
            meta.extend(word.to_le_bytes());
        }
        for word in [root_page, root.sequence, FREELIST_PAGE, pages, id] {
            meta.extend(word.to_le_bytes());
        }
        meta.extend(fnv1a(&meta).to_le_bytes());
        page[PAGE_HEADER..PAGE_HEADER + meta.len()].copy_from_slice(&meta);
    }
    Ok(file.bytes)
}

/// A leaf's or (with the page number as value) a branch's element.
struct Element {
    flags: u32,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Element {
    fn leaf_size(&self) -> usize {
        ELEMENT + self.key.len() + self.value.len()
    }
}

struct File {
    bytes: Vec<u8>,
}

impl File {
    fn next_page(&self) -> u64 {
        (self.bytes.len() / PAGE) as u64
    }

    /// A bucket's leaf elements; nested buckets are written first.
    fn elements(&mut self, bucket: &Bucket, depth: usize) -> Result<Vec<Element>, BoltError> {
        let mut out = Vec::new();
        for (key, item) in bucket.iter() {
            if key.is_empty() {
                return Err(BoltError::EmptyKey);
            }
            if key.len() > MAX_KEY {
                return Err(BoltError::LongKey(key.len()));
            }
            let (flags, value) = match item {
                Item::Value(value) if value.len() > MAX_VALUE => {
                    return Err(BoltError::LongValue(value.len()));
                }
                Item::Value(value) => (0, value.clone()),
                Item::Bucket(nested) => (IS_BUCKET, self.nested(nested, depth + 1)?),
            };
            out.push(Element { flags, key: key.to_vec(), value });
        }
        Ok(out)
    }

    /// A nested bucket's value in its parent: header, and the only page where the bucket is small.
    fn nested(&mut self, bucket: &Bucket, depth: usize) -> Result<Vec<u8>, BoltError> {
        if depth > MAX_DEPTH {
            return Err(BoltError::Deep);
        }
        let elements = self.elements(bucket, depth)?;
        let size = PAGE_HEADER + elements.iter().map(Element::leaf_size).sum::<usize>();
        let inline = size <= MAX_INLINE && elements.iter().all(|element| element.flags & IS_BUCKET == 0);
        let (root, page) =
            if inline { (0, leaf_page(0, &elements)) } else { (self.tree(elements), Vec::new()) };
        let mut value = Vec::with_capacity(BUCKET_HEADER + page.len());
        value.extend(root.to_le_bytes());
        value.extend(bucket.sequence.to_le_bytes());
        value.extend(page);
        Ok(value)
    }

    /// Writes a B+ tree with these leaf elements; gives its root page.
    fn tree(&mut self, elements: Vec<Element>) -> u64 {
        let mut level = self.level(elements, Element::leaf_size, 1, leaf_page);
        while level.len() > 1 {
            level = self.level(level, |element| ELEMENT + element.key.len(), 2, branch_page);
        }
        match level.first() {
            Some(root) => page_number(root),
            None => self.append(leaf_page(self.next_page(), &[])),
        }
    }

    /// Writes the pages of one level; gives an element for each, as the level above holds it.
    fn level(
        &mut self,
        elements: Vec<Element>,
        size: impl Fn(&Element) -> usize,
        least: usize,
        page: impl Fn(u64, &[Element]) -> Vec<u8>,
    ) -> Vec<Element> {
        let lengths = page_lengths(&elements, size, least);
        let mut rest = elements.as_slice();
        let mut above = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (here, later) = rest.split_at(length);
            rest = later;
            let id = self.append(page(self.next_page(), here));
            above.push(Element { flags: 0, key: here[0].key.clone(), value: id.to_le_bytes().to_vec() });
        }
        above
    }

    /// Appends a page, padded to whole pages, with its overflow noted.
    fn append(&mut self, mut page: Vec<u8>) -> u64 {
        let id = self.next_page();
        let pages = page.len().div_ceil(PAGE);
        page.resize(pages * PAGE, 0);
        page[12..16].copy_from_slice(&((pages - 1) as u32).to_le_bytes());
        self.bytes.extend(page);
        id
    }
}

/// How many elements each page takes: as many as fit, never fewer than `least` (then the page overflows).
fn page_lengths(elements: &[Element], size: impl Fn(&Element) -> usize, least: usize) -> Vec<usize> {
    let mut lengths: Vec<usize> = Vec::new();
    let mut used = PAGE;
    for element in elements {
        let size = size(element);
        match lengths.last_mut() {
            Some(length) if used + size <= PAGE || *length < least => {
                *length += 1;
                used += size;
            }
            _ => {
                lengths.push(1);
                used = PAGE_HEADER + size;
            }
        }
    }
    if let [.., before, last] = lengths.as_mut_slice()
        && *last < least
    {
        let wanted = least - *last;
        if *before >= least + wanted {
            *before -= wanted;
            *last += wanted;
        } else {
            *before += *last;
            lengths.pop();
        }
    }
    lengths
}

fn leaf_page(id: u64, elements: &[Element]) -> Vec<u8> {
    let mut page = page_start(id, LEAF, elements.len());
    let mut data = PAGE_HEADER + ELEMENT * elements.len();
    for (index, element) in elements.iter().enumerate() {
        let position = data - (PAGE_HEADER + ELEMENT * index);
        for word in [element.flags, position as u32, element.key.len() as u32, element.value.len() as u32] {
            page.extend(word.to_le_bytes());
        }
        data += element.key.len() + element.value.len();
    }
    for element in elements {
        page.extend(&element.key);
        page.extend(&element.value);
    }
    page
}

fn branch_page(id: u64, elements: &[Element]) -> Vec<u8> {
    let mut page = page_start(id, BRANCH, elements.len());
    let mut data = PAGE_HEADER + ELEMENT * elements.len();
    for (index, element) in elements.iter().enumerate() {
        let position = data - (PAGE_HEADER + ELEMENT * index);
        for word in [position as u32, element.key.len() as u32] {
            page.extend(word.to_le_bytes());
        }
        page.extend(page_number(element).to_le_bytes());
        data += element.key.len();
    }
    for element in elements {
        page.extend(&element.key);
    }
    page
}

fn page_start(id: u64, flags: u16, count: usize) -> Vec<u8> {
    let mut page = vec![0; PAGE_HEADER];
    // A page has at most 4096 / 17 elements of its own accord, or one or two that overflow.
    put_page_header(&mut page, id, flags, count as u16, 0);
    page
}

fn put_page_header(page: &mut [u8], id: u64, flags: u16, count: u16, overflow: u32) {
    page[..8].copy_from_slice(&id.to_le_bytes());
    page[8..10].copy_from_slice(&flags.to_le_bytes());
    page[10..12].copy_from_slice(&count.to_le_bytes());
    page[12..16].copy_from_slice(&overflow.to_le_bytes());
}

fn page_number(element: &Element) -> u64 {
    element.value.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
