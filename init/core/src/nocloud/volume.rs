//! The label of a FAT or ISO 9660 file system, from its own bytes.
//!
//! Takes a function that reads bytes at an offset, gives kind and label. Pure: the caller opens the device. Reads three
//! small pieces at most, whatever the bytes say.
//!
//! Formats: Microsoft's FAT specification 1.03 (BPB, volume label entry), ECMA-119 section 8.4 (volume descriptor).

/// A file system that may hold a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// FAT12, FAT16, FAT32.
    Vfat,
    /// ISO 9660.
    Iso9660,
}

impl Kind {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Vfat => "vfat",
            Kind::Iso9660 => "iso9660",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Which.
    pub kind: Kind,
    /// Without the padding at its end.
    pub label: String,
}

const SECTOR: usize = 512;
const ROOT_BYTES: usize = 4096;
const ISO_DESCRIPTOR: u64 = 32768;

/// Reads kind and label. `read` gives up to `len` bytes at an offset; fewer at the device's end.
pub fn probe(mut read: impl FnMut(u64, usize) -> Option<Vec<u8>>) -> Option<Volume> {
    if let Some(descriptor) = read(ISO_DESCRIPTOR, 2048)
        && descriptor.get(..7) == Some(b"\x01CD001\x01")
    {
        return Some(Volume { kind: Kind::Iso9660, label: text(descriptor.get(40..72)?) });
    }
    let boot = read(0, SECTOR)?;
    let fat = Fat::parse(&boot)?;
    let root = fat.root().and_then(|offset| read(offset, ROOT_BYTES));
    let label = root.and_then(|entries| label_entry(&entries)).unwrap_or(fat.label);
    Some(Volume { kind: Kind::Vfat, label })
}

struct Fat {
    label: String,
    sector: u64,
    root_sector: u64,
}

impl Fat {
    fn parse(boot: &[u8]) -> Option<Self> {
        if boot.get(510..512) != Some(&[0x55, 0xaa]) || !matches!(boot.first(), Some(0xeb | 0xe9)) {
            return None;
        }
        let byte = |at: usize| boot.get(at).copied().map(u64::from);
        let u16_at = |at: usize| Some(byte(at)? | byte(at + 1)? << 8);
        let u32_at = |at: usize| Some(u16_at(at)? | u16_at(at + 2)? << 16);
        let sector = u16_at(11).filter(|s| matches!(s, 512 | 1024 | 2048 | 4096))?;
        let cluster = byte(13).filter(|c| c.is_power_of_two())?;
        let reserved = u16_at(14).filter(|r| *r > 0)?;
        let fats = byte(16).filter(|f| (1..=2).contains(f))?;
        let small = u16_at(22)?;
        if small > 0 {
            (matches!(boot.get(54..59), Some(b"FAT12" | b"FAT16" | b"FAT  "))).then_some(())?;
            return Some(Self {
                label: text(boot.get(43..54)?),
                sector,
                root_sector: reserved + fats * small,
            });
        }
        (boot.get(82..87) == Some(b"FAT32")).then_some(())?;
        let data = fats.checked_mul(u32_at(36)?)?.checked_add(reserved)?;
        let root_cluster = u32_at(44)?.checked_sub(2)?;
        let root_sector = root_cluster.checked_mul(cluster)?.checked_add(data)?;
        Some(Self { label: text(boot.get(71..82)?), sector, root_sector })
    }

    fn root(&self) -> Option<u64> {
        self.root_sector.checked_mul(self.sector)
    }
}

/// The label that stands in the root folder; tools that relabel change this one.
fn label_entry(entries: &[u8]) -> Option<String> {
    entries.chunks_exact(32).take_while(|entry| entry.first() != Some(&0)).find_map(|entry| {
        let (name, attributes) = (entry.get(..11)?, *entry.get(11)?);
        let volume = attributes & 0x3f == 0x08 && name.first() != Some(&0xe5);
        volume.then(|| text(name))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(image: &[u8]) -> impl FnMut(u64, usize) -> Option<Vec<u8>> + '_ {
        move |offset, len| {
            let from = usize::try_from(offset).ok().filter(|from| *from < image.len())?;
            Some(image[from..image.len().min(from + len)].to_vec())
        }
    }

    fn fat16() -> Vec<u8> {
        let mut b = vec![0u8; 16 * 512];
        b[0] = 0xeb;
        b[11..13].copy_from_slice(&512u16.to_le_bytes());
        b[13] = 4;
        b[14] = 1;
        b[16] = 2;
        b[22] = 2;
        b[43..54].copy_from_slice(b"CIDATA     ");
        b[54..62].copy_from_slice(b"FAT16   ");
        b[510..512].copy_from_slice(&[0x55, 0xaa]);
        b
    }

    #[test]
    fn labels_of_fat_and_iso() {
        let mut fat = fat16();
        let seed = Volume { kind: Kind::Vfat, label: "CIDATA".into() };
        assert_eq!(probe(at(&fat)), Some(seed));
        let root = 5 * 512;
        fat[root..root + 12].copy_from_slice(b"OTHER      \x08");
        assert_eq!(probe(at(&fat)).map(|v| v.label), Some("OTHER".into()));
        let mut iso = vec![0u8; 34 * 1024];
        iso[32768..32775].copy_from_slice(b"\x01CD001\x01");
        iso[32808..32840].copy_from_slice(b"cidata                          ");
        assert_eq!(probe(at(&iso)), Some(Volume { kind: Kind::Iso9660, label: "cidata".into() }));
        assert_eq!(probe(at(&[0; 4096])), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), fat32 in any::<bool>()) {
            let _ = probe(at(&bytes));
            let mut boot = fat16();
            for (slot, byte) in boot.iter_mut().skip(11).zip(&bytes).take(60) {
                *slot = *byte;
            }
            boot[54..59].copy_from_slice(b"FAT16");
            if fat32 {
                boot[22] = 0;
                boot[23] = 0;
                boot[82..87].copy_from_slice(b"FAT32");
            }
            let _ = probe(at(&boot));
        }
    }
}
