//! Root hash and dm-verity superblock.
//!
//! Format: cryptsetup's `Verity on-disk format` (version 1, hash type 1), block sizes 4096, SHA-256.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes of a data block and of a hash block.
pub const BLOCK: usize = 4096;
/// First bytes of a verity superblock.
pub const SUPERBLOCK_MAGIC: [u8; 8] = *b"verity\0\0";

/// The digest at the top of a dm-verity hash tree; it decides every byte of a root file system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootHash([u8; 32]);

/// A text that is no root hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a root hash (64 hexadecimal digits)")]
pub struct BadRootHash(String);

impl RootHash {
    /// From the digest's bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The digest's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// PARTUUID of the root partition: the first 128 bits, printed in order (Discoverable Partitions Specification).
    pub fn root_partuuid(&self) -> String {
        uuid_text(&self.0[..16])
    }
    /// PARTUUID of the verity partition: the last 128 bits.
    pub fn verity_partuuid(&self) -> String {
        uuid_text(&self.0[16..])
    }
}

fn uuid_text(b: &[u8]) -> String {
    let h = hex::encode(b);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

impl FromStr for RootHash {
    type Err = BadRootHash;
    fn from_str(s: &str) -> Result<Self, BadRootHash> {
        let mut b = [0; 32];
        hex::decode_to_slice(s, &mut b).map_err(|_| BadRootHash(s.chars().take(80).collect()))?;
        Ok(Self(b))
    }
}
impl TryFrom<String> for RootHash {
    type Error = BadRootHash;
    fn try_from(s: String) -> Result<Self, BadRootHash> {
        s.parse()
    }
}
impl From<RootHash> for String {
    fn from(h: RootHash) -> String {
        h.to_string()
    }
}
impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootHash({self})")
    }
}

/// A verity superblock (the first 512 bytes of the hash partition; the tree starts at the next block).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// UUID of the hash device.
    pub uuid: [u8; 16],
    /// Data blocks of [`BLOCK`] bytes.
    pub data_blocks: u64,
    /// Salt, at most 256 bytes.
    pub salt: Vec<u8>,
}

/// A superblock that we do not open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadSuperblock {
    /// Too short or another magic.
    #[error("no verity superblock")]
    Missing,
    /// A field with a value that nodeimg never writes.
    #[error("verity superblock with an unexpected {0}")]
    Unexpected(&'static str),
}

impl Superblock {
    /// The 512 bytes on disk.
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut b = [0u8; 512];
        b[..8].copy_from_slice(&SUPERBLOCK_MAGIC);
        b[8..12].copy_from_slice(&1u32.to_le_bytes());
        b[12..16].copy_from_slice(&1u32.to_le_bytes());
        b[16..32].copy_from_slice(&self.uuid);
        b[32..38].copy_from_slice(b"sha256");
        b[64..68].copy_from_slice(&(BLOCK as u32).to_le_bytes());
        b[68..72].copy_from_slice(&(BLOCK as u32).to_le_bytes());
        b[72..80].copy_from_slice(&self.data_blocks.to_le_bytes());
        b[80..82].copy_from_slice(&(self.salt.len() as u16).to_le_bytes());
        b[88..88 + self.salt.len()].copy_from_slice(&self.salt);
        b
    }

    /// Reads the first 512 bytes of a hash partition.
    pub fn parse(b: &[u8]) -> Result<Self, BadSuperblock> {
        if b.len() < 512 || b[..8] != SUPERBLOCK_MAGIC {
            return Err(BadSuperblock::Missing);
        }
        let u32_at = |o: usize| u32::from_le_bytes([b[o], b[o + 1], b[o + 2], b[o + 3]]);
        let unexpected = BadSuperblock::Unexpected;
        if u32_at(8) != 1 {
            return Err(unexpected("version"));
        }
        if u32_at(12) != 1 {
            return Err(unexpected("hash type"));
        }
        if b[32..64].split(|c| *c == 0).next() != Some(b"sha256") {
            return Err(unexpected("algorithm"));
        }
        if u32_at(64) as usize != BLOCK || u32_at(68) as usize != BLOCK {
            return Err(unexpected("block size"));
        }
        let salt_len = u16::from_le_bytes([b[80], b[81]]) as usize;
        if salt_len > 256 {
            return Err(unexpected("salt size"));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&b[16..32]);
        let mut blocks = [0; 8];
        blocks.copy_from_slice(&b[72..80]);
        Ok(Self { uuid, data_blocks: u64::from_le_bytes(blocks), salt: b[88..88 + salt_len].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partuuids_are_the_halves_of_the_root_hash() {
        let h: RootHash =
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".parse().expect("a root hash");
        assert_eq!(h.root_partuuid(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(h.verity_partuuid(), "10111213-1415-1617-1819-1a1b1c1d1e1f");
        assert!("abc".parse::<RootHash>().is_err());
    }

    #[test]
    fn superblock_survives_the_disk() {
        let s = Superblock { uuid: [7; 16], data_blocks: 99, salt: vec![1, 2, 3] };
        assert_eq!(Superblock::parse(&s.to_bytes()), Ok(s));
        assert_eq!(Superblock::parse(&[0; 512]), Err(BadSuperblock::Missing));
    }
}
