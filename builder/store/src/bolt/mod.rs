//! Files of bbolt, the key-value store that containerd keeps its two databases in.
//!
//! Takes a [`Bucket`] in memory, gives the bytes of a file ([`write`]), and back ([`read`]). Pure: no clock, no files;
//! the same bucket is always the same bytes. Writes fresh files only, never changes one.
//!
//! Source of the format: go.etcd.io/bbolt v1.4, `internal/common` (page.go, meta.go, bucket.go, inode.go) and node.go.
//! All numbers little endian, as on every machine that nodeimg builds for.

mod layout;
mod read;
mod write;

pub use read::read;
pub use write::write;

use std::collections::BTreeMap;

/// Deepest nesting of buckets that is written or read. containerd's deepest is 7.
pub const MAX_DEPTH: usize = 16;
/// Bytes of the longest key (bbolt's `MaxKeySize`).
pub const MAX_KEY: usize = 32768;
/// Bytes of the longest value that we write or read; far below bbolt's 2 GiB.
pub const MAX_VALUE: usize = 64 << 20;

/// A bucket: sorted keys, each with a value or with a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// What `NextSequence` counts on from.
    pub sequence: u64,
    items: BTreeMap<Vec<u8>, Item>,
}

/// What stands behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Bytes; may be empty.
    Value(Vec<u8>),
    /// A nested bucket.
    Bucket(Bucket),
}

impl Bucket {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
    /// Puts a value, in place of whatever was there.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.items.insert(key.into(), Item::Value(value.into()));
        self
    }
    /// The bucket behind `key`; made when there is none, in place of a value if need be.
    pub fn bucket(&mut self, key: impl Into<Vec<u8>>) -> &mut Bucket {
        let item = self.items.entry(key.into()).or_insert_with(|| Item::Bucket(Bucket::new()));
        if let Item::Value(_) = item {
            *item = Item::Bucket(Bucket::new());
        }
        match item {
            Item::Bucket(bucket) => bucket,
            Item::Value(_) => unreachable!("a value was replaced by a bucket above"),
        }
    }
    /// What stands behind `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Item> {
        self.items.get(key.as_ref())
    }
    /// The value behind a path of keys, the last one the value's.
    pub fn value(&self, path: &[&str]) -> Option<&[u8]> {
        let (last, buckets) = path.split_last()?;
        match self.at(buckets)?.get(last)? {
            Item::Value(value) => Some(value),
            Item::Bucket(_) => None,
        }
    }
    /// The bucket behind a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Bucket> {
        path.iter().try_fold(self, |bucket, key| match bucket.get(key)? {
            Item::Bucket(nested) => Some(nested),
            Item::Value(_) => None,
        })
    }
    /// In order of key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.items.iter().map(|(key, item)| (key.as_slice(), item))
    }
    fn insert(&mut self, key: Vec<u8>, item: Item) {
        self.items.insert(key, item);
    }
    fn last_key(&self) -> Option<&[u8]> {
        self.items.last_key_value().map(|(key, _)| key.as_slice())
    }
}

/// What cannot be written, or what is no database.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BoltError {
    /// bbolt knows no empty key.
    #[error("a key of a boltdb bucket is empty")]
    EmptyKey,
    /// A key over [`MAX_KEY`].
    #[error("a key of a boltdb bucket has {0} bytes, over {MAX_KEY}")]
    LongKey(usize),
    /// A value over [`MAX_VALUE`].
    #[error("a value of a boltdb bucket has {0} bytes, over {MAX_VALUE}")]
    LongValue(usize),
    /// Buckets nested over [`MAX_DEPTH`].
    #[error("boltdb buckets are nested deeper than {MAX_DEPTH}")]
    Deep,
    /// No page 0 or 1 with magic, version, page size and checksum.
    #[error("not a boltdb file: neither meta page is valid")]
    NoMeta,
    /// A page that is not what its place says.
    #[error("boltdb page {page}: {what}")]
    Page {
        /// Its number.
        page: u64,
        /// What is wrong.
        what: &'static str,
    },
}
