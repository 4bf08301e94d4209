//! GPT disks.
//!
//! Takes partitions in order, gives where they lie and the bytes of the tables. Pure. Every identifier comes from the
//! caller: the `gpt` crate draws random ones where none is given, and an image must not hold any.
//!
//! Format: UEFI Specification 2.10, section 5. Numbers are little endian; a GUID's first three fields too.

use crc::{CRC_32_ISO_HDLC, Crc};
use nodeimg_contract::partition::SECTOR;

/// Partitions start at multiples of this, in bytes.
const ALIGN: u64 = 1 << 20;
const ENTRIES: usize = 128;
const ENTRY: usize = 128;
const TABLE: usize = ENTRIES * ENTRY;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A partition to be placed.
#[derive(Debug, Clone)]
pub(crate) struct Partition<'a> {
    /// Type GUID.
    pub(crate) kind: &'a str,
    /// PARTUUID.
    pub(crate) guid: String,
    /// Name, at most 36 UTF-16 units.
    pub(crate) name: &'a str,
    /// Bytes, a whole number of sectors.
    pub(crate) size: u64,
    /// Attribute bits.
    pub(crate) attributes: u64,
}

/// Discoverable Partitions Specification: mount it read-only.
pub(crate) const READ_ONLY: u64 = 1 << 60;

/// Where everything lies on the disk.
#[derive(Debug)]
pub(crate) struct Layout {
    /// First byte of each partition, in the caller's order.
    pub(crate) starts: Vec<u64>,
    /// Protective MBR, header, table: the disk's first bytes.
    pub(crate) head: Vec<u8>,
    /// First byte of the second table.
    pub(crate) tail_start: u64,
    /// Second table and header: the disk's last bytes.
    pub(crate) tail: Vec<u8>,
    /// Bytes of the disk.
    pub(crate) size: u64,
}

/// Lays out `partitions`. None when a GUID is none, there are too many, or a size is no whole number of sectors.
pub(crate) fn layout(disk_guid: &str, partitions: &[Partition<'_>]) -> Option<Layout> {
    if partitions.len() > ENTRIES {
        return None;
    }
    let mut table = vec![0u8; TABLE];
    let mut starts = Vec::new();
    let mut next = ALIGN;
    for (slot, p) in table.chunks_exact_mut(ENTRY).zip(partitions) {
        if p.size == 0 || p.size % SECTOR != 0 {
            return None;
        }
        let first = next / SECTOR;
        let last = first + p.size / SECTOR - 1;
        slot[..16].copy_from_slice(&guid(p.kind)?);
        slot[16..32].copy_from_slice(&guid(&p.guid)?);
        slot[32..40].copy_from_slice(&first.to_le_bytes());
        slot[40..48].copy_from_slice(&last.to_le_bytes());
        slot[48..56].copy_from_slice(&p.attributes.to_le_bytes());
        let name: Vec<u8> = p.name.encode_utf16().take(36).flat_map(u16::to_le_bytes).collect();
        slot[56..56 + name.len()].copy_from_slice(&name);
        starts.push(next);
        next = (next + p.size).next_multiple_of(ALIGN);
    }
    let size = next + ALIGN;
    let tail_start = size - SECTOR - TABLE as u64;
    let disk = Disk { guid: guid(disk_guid)?, sectors: size / SECTOR, table_crc: CRC.checksum(&table) };
    let mut head = disk.protective_mbr();
    head.extend(disk.header(1, size / SECTOR - 1, 2));
    head.extend_from_slice(&table);
    let mut tail = table;
    tail.extend(disk.header(size / SECTOR - 1, 1, tail_start / SECTOR));
    Some(Layout { starts, head, tail_start, tail, size })
}

struct Disk {
    guid: [u8; 16],
    sectors: u64,
    table_crc: u32,
}

impl Disk {
    fn header(&self, own: u64, other: u64, table: u64) -> Vec<u8> {
        let table_sectors = TABLE as u64 / SECTOR;
        let mut h = vec![0u8; SECTOR as usize];
        h[..8].copy_from_slice(b"EFI PART");
        h[8..12].copy_from_slice(&0x0001_0000u32.to_le_bytes());
        h[12..16].copy_from_slice(&92u32.to_le_bytes());
        h[24..32].copy_from_slice(&own.to_le_bytes());
        h[32..40].copy_from_slice(&other.to_le_bytes());
        h[40..48].copy_from_slice(&(2 + table_sectors).to_le_bytes());
        h[48..56].copy_from_slice(&(self.sectors - table_sectors - 2).to_le_bytes());
        h[56..72].copy_from_slice(&self.guid);
        h[72..80].copy_from_slice(&table.to_le_bytes());
        h[80..84].copy_from_slice(&(ENTRIES as u32).to_le_bytes());
        h[84..88].copy_from_slice(&(ENTRY as u32).to_le_bytes());
        h[88..92].copy_from_slice(&self.table_crc.to_le_bytes());
        let crc = CRC.checksum(&h[..92]);
        h[16..20].copy_from_slice(&crc.to_le_bytes());
        h
    }

    /// One partition of type 0xEE over all that 32 bits can name.
    fn protective_mbr(&self) -> Vec<u8> {
        let mut mbr = vec![0u8; SECTOR as usize];
        let sectors = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        mbr[447..450].copy_from_slice(&[0x00, 0x02, 0x00]);
        mbr[450] = 0xEE;
        mbr[451..454].copy_from_slice(&[0xFF; 3]);
        mbr[454..458].copy_from_slice(&1u32.to_le_bytes());
        mbr[458..462].copy_from_slice(&sectors.to_le_bytes());
        mbr[510..].copy_from_slice(&[0x55, 0xAA]);
        mbr
    }
}

/// A GUID's bytes on disk from its text.
fn guid(text: &str) -> Option<[u8; 16]> {
    let bytes: [u8; 16] = hex::decode(text.replace('-', "")).ok()?.try_into().ok()?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let mut out = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    out[8..].copy_from_slice(&rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_lie_in_mixed_order() {
        let got = guid("00112233-4455-6677-8899-aabbccddeeff").expect("guid");
        assert_eq!(hex::encode(got), "33221100554477668899aabbccddeeff");
        assert_eq!(guid("nonsense"), None);
    }

    #[test]
    fn odd_sizes_are_refused() {
        let p = |size| Partition {
            kind: nodeimg_contract::partition::ROOT,
            guid: nodeimg_contract::partition::ROOT.to_owned(),
            name: "x",
            size,
            attributes: 0,
        };
        assert!(layout(nodeimg_contract::partition::ESP, &[p(511)]).is_none());
        assert!(layout(nodeimg_contract::partition::ESP, &[p(0)]).is_none());
        assert!(layout(nodeimg_contract::partition::ESP, &[p(512)]).is_some());
    }
}
