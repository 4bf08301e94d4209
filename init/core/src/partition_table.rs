//! GUID partition tables, as far as a node needs them: what partitions a disk has, and a table with one partition.
//!
//! Takes the first bytes of a disk, gives its partitions; takes a size, gives the bytes of a new table. Format: UEFI
//! specification 2.10, section 5.3. Checks both checksums and every bound; reads and writes nothing by itself.

use std::fmt::Write;

/// Bytes from the start of a disk that [`parse`] wants to see: header and 128 entries at 4096-byte sectors.
pub const WANTED: usize = 64 << 10;
/// More entries than these are refused.
const MAX_ENTRIES: usize = 256;

/// One used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Counted from 1, as the kernel does.
    pub number: u32,
    /// Type GUID, lower case.
    pub kind: String,
    /// Unique GUID (PARTUUID), lower case.
    pub uuid: String,
    /// First sector.
    pub first: u64,
    /// Last sector, inclusive.
    pub last: u64,
    /// Name.
    pub name: String,
}

/// No partition table, or a broken one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TableError {
    /// No header at sector 1.
    #[error("no GUID partition table")]
    None,
    /// A header that is not to be trusted.
    #[error("a GUID partition table with a bad {0}")]
    Bad(&'static str),
}

/// Reads the primary table. `sector` is the disk's logical sector size in bytes.
pub fn parse(start_of_disk: &[u8], sector: usize) -> Result<Vec<Partition>, TableError> {
    let header = start_of_disk.get(sector..).and_then(|b| b.get(..sector)).ok_or(TableError::None)?;
    if header.get(..8) != Some(b"EFI PART") {
        return Err(TableError::None);
    }
    let size = u32_at(header, 12)? as usize;
    if !(92..=sector).contains(&size) {
        return Err(TableError::Bad("header size"));
    }
    let mut sealed = header.get(..size).ok_or(TableError::None)?.to_vec();
    let sum = u32_at(header, 16)?;
    if let Some(field) = sealed.get_mut(16..20) {
        field.fill(0);
    }
    if crc32(&sealed) != sum {
        return Err(TableError::Bad("header checksum"));
    }
    let (entries_at, count, entry) =
        (u64_at(header, 72)?, u32_at(header, 80)? as usize, u32_at(header, 84)? as usize);
    if count > MAX_ENTRIES || !(128..=4096).contains(&entry) {
        return Err(TableError::Bad("number of entries"));
    }
    let at = usize::try_from(entries_at)
        .ok()
        .and_then(|lba| lba.checked_mul(sector))
        .ok_or(TableError::Bad("place of entries"))?;
    let entries = start_of_disk
        .get(at..)
        .and_then(|b| b.get(..count * entry))
        .ok_or(TableError::Bad("place of entries"))?;
    if crc32(entries) != u32_at(header, 88)? {
        return Err(TableError::Bad("checksum of entries"));
    }
    Ok(entries.chunks_exact(entry).zip(1..).filter_map(|(e, number)| partition(e, number)).collect())
}

fn partition(entry: &[u8], number: u32) -> Option<Partition> {
    let kind = entry.get(..16)?;
    if kind.iter().all(|b| *b == 0) {
        return None;
    }
    let name = entry.get(56..128)?;
    let units: Vec<u16> = name
        .chunks_exact(2)
        .filter_map(|c| Some(u16::from_le_bytes([*c.first()?, *c.get(1)?])))
        .take_while(|u| *u != 0)
        .collect();
    Some(Partition {
        number,
        kind: guid_text(kind)?,
        uuid: guid_text(entry.get(16..32)?)?,
        first: u64_at(entry, 32).ok()?,
        last: u64_at(entry, 40).ok()?,
        name: String::from_utf16_lossy(&units),
    })
}

/// The bytes of a new table, each piece with its place on the disk in bytes.
pub type Pieces = Vec<(u64, Vec<u8>)>;

/// What a new table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable<'a> {
    /// Bytes of the disk.
    pub disk: u64,
    /// Bytes of a logical sector: 512 or 4096.
    pub sector: u64,
    /// Unique GUID of the disk, random.
    pub disk_uuid: [u8; 16],
    /// Type GUID of the one partition.
    pub kind: &'a str,
    /// Unique GUID of the one partition, random.
    pub uuid: [u8; 16],
    /// Its name, at most 36 UTF-16 units.
    pub name: &'a str,
}

/// A table with one partition from the first MiB to the last: protective MBR, both copies of header and entries. None
/// for a disk that is too small, or a type that is no GUID.
pub fn render(new: &NewTable<'_>) -> Option<Pieces> {
    const ALIGN: u64 = 1 << 20;
    let sectors = new.disk / new.sector;
    if !(new.sector == 512 || new.sector == 4096) || new.disk < 8 * ALIGN {
        return None;
    }
    let entries_sectors = (128 * 128u64).div_ceil(new.sector);
    let first = ALIGN / new.sector;
    let last = (new.disk / ALIGN - 1) * first - 1;
    let mut entries = vec![0u8; 128 * 128];
    put(&mut entries, 0, &guid_bytes(new.kind)?)?;
    put(&mut entries, 16, &version4(new.uuid))?;
    put(&mut entries, 32, &first.to_le_bytes())?;
    put(&mut entries, 40, &last.to_le_bytes())?;
    for (i, unit) in new.name.encode_utf16().take(36).enumerate() {
        put(&mut entries, 56 + 2 * i, &unit.to_le_bytes())?;
    }
    let backup_entries = sectors - 1 - entries_sectors;
    let header = |own: u64, other: u64, entries_at: u64| {
        let mut h = vec![0u8; 92];
        put(&mut h, 0, b"EFI PART")?;
        put(&mut h, 8, &0x1_0000u32.to_le_bytes())?;
        put(&mut h, 12, &92u32.to_le_bytes())?;
        for (at, lba) in
            [(24, own), (32, other), (40, 2 + entries_sectors), (48, backup_entries - 1), (72, entries_at)]
        {
            put(&mut h, at, &lba.to_le_bytes())?;
        }
        put(&mut h, 56, &version4(new.disk_uuid))?;
        put(&mut h, 80, &128u32.to_le_bytes())?;
        put(&mut h, 84, &128u32.to_le_bytes())?;
        put(&mut h, 88, &crc32(&entries).to_le_bytes())?;
        let sum = crc32(&h);
        put(&mut h, 16, &sum.to_le_bytes())?;
        Some(h)
    };
    let backup = header(sectors - 1, 1, backup_entries)?;
    let primary = header(1, sectors - 1, 2)?;
    // The backup first: a table whose primary header is there is whole.
    Some(vec![
        (backup_entries * new.sector, entries.clone()),
        ((sectors - 1) * new.sector, backup),
        (0, protective_mbr(sectors)?),
        (2 * new.sector, entries),
        (new.sector, primary),
    ])
}

/// One record of type 0xEE over the whole disk, so that old programs leave it alone.
fn protective_mbr(sectors: u64) -> Option<Vec<u8>> {
    let mut mbr = vec![0u8; 512];
    put(&mut mbr, 446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff])?;
    put(&mut mbr, 454, &1u32.to_le_bytes())?;
    put(&mut mbr, 458, &u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes())?;
    put(&mut mbr, 510, &[0x55, 0xaa])?;
    Some(mbr)
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    to.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

/// Random bytes as a GUID of version 4 (RFC 9562), in the order of a disk.
fn version4(mut random: [u8; 16]) -> [u8; 16] {
    random[7] = (random[7] & 0x0f) | 0x40;
    random[8] = (random[8] & 0x3f) | 0x80;
    random
}

/// The bytes on a disk of a GUID's text.
fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let mut b = [0u8; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut b).ok()?;
    b[..4].reverse();
    b[4..6].reverse();
    b[6..8].reverse();
    Some(b)
}

/// The text of a GUID on a disk: its first three fields are little-endian.
fn guid_text(b: &[u8]) -> Option<String> {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (i, at) in order.iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        write!(text, "{:02x}", b.get(*at)?).ok()?;
    }
    Some(text)
}

fn u32_at(b: &[u8], at: usize) -> Result<u32, TableError> {
    let bytes = b.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(TableError::Bad("size"))?;
    Ok(u32::from_le_bytes(bytes))
}

fn u64_at(b: &[u8], at: usize) -> Result<u64, TableError> {
    let bytes = b.get(at..at + 8).and_then(|b| b.try_into().ok()).ok_or(TableError::Bad("size"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// CRC-32 (ISO 3309), as UEFI wants it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for b in bytes {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_contract::partition;
    use proptest::prelude::*;

    /// A disk with one state partition, by hand: the writer of real ones is another program.
    fn disk(sector: usize) -> Vec<u8> {
        let mut d = vec![0u8; WANTED];
        let mut entries = vec![0u8; 128 * 128];
        let kind = guid_bytes(partition::STATE).expect("a GUID");
        entries[..16].copy_from_slice(&kind);
        entries[16..32].copy_from_slice(&guid_bytes("00010203-0405-0607-0809-0a0b0c0d0e0f").expect("a GUID"));
        entries[32..40].copy_from_slice(&2048u64.to_le_bytes());
        entries[40..48].copy_from_slice(&4095u64.to_le_bytes());
        for (i, u) in "nodeimg-state".encode_utf16().enumerate() {
            entries[56 + 2 * i..58 + 2 * i].copy_from_slice(&u.to_le_bytes());
        }
        let mut h = vec![0u8; 92];
        h[..8].copy_from_slice(b"EFI PART");
        h[12..16].copy_from_slice(&92u32.to_le_bytes());
        h[72..80].copy_from_slice(&2u64.to_le_bytes());
        h[80..84].copy_from_slice(&128u32.to_le_bytes());
        h[84..88].copy_from_slice(&128u32.to_le_bytes());
        h[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let sum = crc32(&h);
        h[16..20].copy_from_slice(&sum.to_le_bytes());
        d[sector..sector + 92].copy_from_slice(&h);
        d[2 * sector..2 * sector + entries.len()].copy_from_slice(&entries);
        d
    }

    #[test]
    fn a_partition_is_read_at_both_sector_sizes() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        for sector in [512, 4096] {
            let found = parse(&disk(sector), sector).expect("a table");
            assert_eq!(found.len(), 1);
            let p = &found[0];
            assert_eq!((p.number, p.kind.as_str()), (1, partition::STATE));
            assert_eq!(p.uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f");
            assert_eq!((p.first, p.last, p.name.as_str()), (2048, 4095, "nodeimg-state"));
        }
    }

    #[test]
    fn damage_is_named() {
        let mut d = disk(512);
        d[1024] ^= 1;
        assert_eq!(parse(&d, 512), Err(TableError::Bad("checksum of entries")));
        d[512 + 80] ^= 1;
        assert_eq!(parse(&d, 512), Err(TableError::Bad("header checksum")));
        assert_eq!(parse(&[0; 4096], 512), Err(TableError::None));
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read(mib in 8u64..5_000_000, odd in 0u64..8, big in any::<bool>(), id in any::<[u8; 16]>()) {
            let sector = if big { 4096 } else { 512 };
            let disk = (mib << 20) + odd * sector;
            let new = NewTable { disk, sector, disk_uuid: id, kind: partition::STATE, uuid: id, name: "nodeimg-state" };
            let pieces = render(&new).expect("a table");
            let mut start = vec![0u8; WANTED];
            for (at, bytes) in &pieces {
                prop_assert!(at + bytes.len() as u64 <= disk);
                if let Some(place) = usize::try_from(*at).ok().and_then(|a| start.get_mut(a..a + bytes.len())) {
                    place.copy_from_slice(bytes);
                }
            }
            let found = parse(&start, sector as usize).expect("readable");
            prop_assert_eq!(found.len(), 1);
            let p = &found[0];
            prop_assert_eq!((p.kind.as_str(), p.name.as_str()), (partition::STATE, "nodeimg-state"));
            prop_assert!(p.first * sector == 1 << 20 && (p.last + 1) * sector <= disk - (1 << 20));
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = parse(&bytes, 512);
            if let Some(head) = bytes.get_mut(512..520) {
                head.copy_from_slice(b"EFI PART");
            }
            let _ = parse(&bytes, 512);
        }

        #[test]
        fn one_flipped_bit_is_seen(at in 512usize..(512 + 92), bit in 0u8..8) {
            let mut d = disk(512);
            d[at] ^= 1 << bit;
            prop_assert!(parse(&d, 512).is_err());
        }
    }
}
