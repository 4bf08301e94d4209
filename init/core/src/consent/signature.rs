//! What a disk holds, told from its first bytes: words for a person who must decide about it.

use crate::partition_table;

/// Names what the first MiB of a disk shows; none when no known signature is there.
pub fn found_on(start: &[u8], sector: usize) -> Option<String> {
    if let Ok(partitions) = partition_table::parse(start, sector) {
        let names: Vec<String> = partitions
            .iter()
            .take(8)
            .map(|p| if p.name.is_empty() { p.kind.clone() } else { format!("\"{}\"", p.name) })
            .collect();
        return Some(match names.as_slice() {
            [] => "an empty GUID partition table".to_owned(),
            _ => format!("a GUID partition table with {}", names.join(", ")),
        });
    }
    const MAGICS: [(usize, &[u8], &str); 14] = [
        (512, b"EFI PART", "a damaged GUID partition table"),
        (4096, b"EFI PART", "a damaged GUID partition table"),
        (0, b"LUKS\xba\xbe", "a LUKS volume"),
        (512, b"LABELONE", "an LVM physical volume"),
        (0, b"XFSB", "an XFS file system"),
        (1080, b"\x53\xef", "an ext2/3/4 file system"),
        (65600, b"_BHRfS_M", "a btrfs file system"),
        (1024, b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
        (4086, b"SWAPSPACE2", "swap space"),
        (4096, b"\xfc\x4e\x2b\xa9", "a member of a Linux RAID"),
        (32769, b"CD001", "an ISO 9660 file system"),
        (3, b"NTFS    ", "an NTFS file system"),
        (54, b"FAT", "a FAT file system"),
        (82, b"FAT32", "a FAT file system"),
    ];
    for (at, magic, name) in MAGICS {
        if start.get(at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Some(name.to_owned());
        }
    }
    (start.get(510..512) == Some(b"\x55\xaa")).then(|| "an MBR partition table".to_owned())
}
