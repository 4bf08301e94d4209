//! Numbers of the file format that writer and reader share.

/// Bytes of a page. bbolt writes the machine's page size and reads the file's.
pub(super) const PAGE: usize = 4096;
/// Bytes of a page's header: id u64, flags u16, count u16, overflow u32.
pub(super) const PAGE_HEADER: usize = 16;
/// Bytes of a leaf element (flags, pos, ksize, vsize: u32 each) and of a branch element (pos, ksize u32; page u64).
pub(super) const ELEMENT: usize = 16;
/// Bytes of a bucket's header: root page u64 (0: the page follows inline), sequence u64.
pub(super) const BUCKET_HEADER: usize = 16;

pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const META: u16 = 0x04;
pub(super) const FREELIST: u16 = 0x10;
/// Flag of a leaf element whose value is a bucket.
pub(super) const IS_BUCKET: u32 = 0x01;

pub(super) const MAGIC: u32 = 0xED0C_DAED;
pub(super) const VERSION: u32 = 2;
/// Bytes of the meta page behind its header, without the checksum that follows.
pub(super) const META_CHECKED: usize = 56;

/// FNV-1a, 64 bits: the checksum of a meta page.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksum_is_fnv_1a() {
        // Vectors of the FNV reference, draft-eastlake-fnv.
        assert_eq!(super::fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
