//! dm-verity hash tree.
//!
//! Takes an image whose size is a whole number of 4096-byte blocks. Gives superblock, tree and root hash. Reads the
//! image, writes nothing.
//!
//! Format: kernel `Documentation/admin-guide/device-mapper/verity.rst` and cryptsetup's on-disk format, version 1,
//! hash type 1: a block's digest is SHA-256(salt ‖ block); 128 digests fill a hash block; levels lie one after
//! another from the top down, behind one block for the superblock; what is left of a hash block is zero.

use nodeimg_contract::verity::{BLOCK, RootHash, Superblock};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

const DIGEST: usize = 32;
const PER_BLOCK: usize = BLOCK / DIGEST;
/// Bytes of the image that are read at a time.
const WINDOW: usize = 16 << 20;

/// A hash tree as it lies in the verity partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTree {
    /// The digest at the top.
    pub root_hash: RootHash,
    /// Superblock (one block) and levels.
    pub bytes: Vec<u8>,
}

/// Bytes that the hash tree of `data` bytes takes, superblock included.
pub(crate) fn stored_size(data: u64) -> u64 {
    let (block, per_block) = (BLOCK as u64, PER_BLOCK as u64);
    let mut blocks = data / block;
    let mut total = 1;
    while blocks > 1 {
        blocks = blocks.div_ceil(per_block);
        total += blocks;
    }
    total * block
}

/// Hashes `image` to its end. An image that is empty or ends within a block is refused as invalid data.
pub fn hash_tree(mut image: impl Read, salt: [u8; 32], uuid: [u8; 16]) -> io::Result<HashTree> {
    let mut level = Vec::new();
    let mut window = vec![0; WINDOW];
    let mut data_blocks = 0u64;
    loop {
        let filled = fill(&mut image, &mut window)?;
        if filled == 0 {
            break;
        }
        if filled % BLOCK != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the image ends within a block"));
        }
        data_blocks += (filled / BLOCK) as u64;
        level.par_extend(window[..filled].par_chunks(BLOCK).map(|block| digest(&salt, block)));
    }
    if data_blocks == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the image is empty"));
    }
    let mut levels = Vec::new();
    while level.len() > 1 {
        let mut blocks = vec![0; level.len().div_ceil(PER_BLOCK) * BLOCK];
        for (slot, digest) in blocks.chunks_exact_mut(DIGEST).zip(&level) {
            slot.copy_from_slice(digest);
        }
        level = blocks.par_chunks(BLOCK).map(|block| digest(&salt, block)).collect();
        levels.push(blocks);
    }
    let mut bytes = vec![0; BLOCK];
    let superblock = Superblock { uuid, data_blocks, salt: salt.to_vec() }.to_bytes();
    bytes[..superblock.len()].copy_from_slice(&superblock);
    for blocks in levels.iter().rev() {
        bytes.extend_from_slice(blocks);
    }
    Ok(HashTree { root_hash: RootHash::new(level[0]), bytes })
}

fn digest(salt: &[u8; 32], block: &[u8]) -> [u8; DIGEST] {
    let mut h = Sha256::new();
    h.update(salt);
    h.update(block);
    h.finalize().into()
}

fn fill(from: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match from.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK).map(|i| (i / 7 + i / BLOCK) as u8).collect()
    }

    /// Root hashes that cryptsetup 2.6's `veritysetup format` printed for [`image`] with salt 01×32.
    #[test]
    fn agrees_with_veritysetup() {
        for (blocks, golden) in GOLDEN {
            let tree = hash_tree(&image(*blocks)[..], [1; 32], [2; 16]).expect("hash tree");
            assert_eq!(tree.root_hash.to_string(), *golden, "{blocks} blocks");
        }
    }

    const GOLDEN: &[(usize, &str)] = &[
        (1, "d702ba733b28228b935462fb5df28eda43c0e70452182b5b623320feaac50960"),
        (2, "e4d346769b4e218912e0e39966c02d4681517ea54bb1bb065aa5964b12ea62d4"),
        (128, "89309722a128edb4da4fe18fa526ee8361e25c4a21c3dd53f564d497c8feb0d0"),
        (129, "4b78492157ba0ac73f0fd1053fde251f39c9ece009d406a1679ef6eeabe2bd4e"),
        (1000, "5dcdf84faf65f9d40c622f33f2fdfe23db710b2eab416e1c4552d04ad919767e"),
    ];

    /// veritysetup must accept the tree and refuse it after one flipped bit.
    #[test]
    fn veritysetup_accepts_it_and_refuses_a_flip() {
        const NAME: &str = "veritysetup_accepts_it_and_refuses_a_flip";
        let veritysetup = || nodeimg_test_programs::tool(NAME, "veritysetup");
        let dir = tempfile::tempdir().expect("temp folder");
        let (data, hash) = (dir.path().join("data"), dir.path().join("hash"));
        for blocks in [1, 2, 128, 129, 16385] {
            let mut bytes = image(blocks);
            let tree = hash_tree(&bytes[..], [9; 32], [2; 16]).expect("hash tree");
            assert_eq!(tree.bytes.len() as u64, stored_size(bytes.len() as u64));
            std::fs::write(&hash, &tree.bytes).expect("write");
            let mut verify = || {
                std::fs::write(&data, &bytes).expect("write");
                let mut run = veritysetup()?;
                run.arg("verify").arg(&data).arg(&hash).arg(tree.root_hash.to_string());
                let ok = run.output().expect("veritysetup").status.success();
                bytes[blocks * BLOCK / 2] ^= 1;
                Some(ok)
            };
            let Some(sound) = verify() else { return };
            assert!(sound, "{blocks} blocks");
            assert_eq!(verify(), Some(false), "{blocks} blocks, flipped");
        }
    }

    #[test]
    fn half_blocks_and_nothing_are_refused() {
        assert!(hash_tree(&[][..], [0; 32], [0; 16]).is_err());
        assert!(hash_tree(&[0; BLOCK + 1][..], [0; 32], [0; 16]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_flip_changes_the_root_hash(blocks in 1usize..300, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = image(blocks);
            let before = hash_tree(&bytes[..], [1; 32], [2; 16]).expect("hash tree").root_hash;
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(before, hash_tree(&bytes[..], [1; 32], [2; 16]).expect("hash tree").root_hash);
        }
    }
}
