//! A seed as a NoCloud disk: a small FAT image with the label `cidata`, the same bytes for the same documents.

use fatfs::{
    Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume,
};
use nodeimg_contract::partition::SEED_LABEL;
use sha2::{Digest, Sha256};
use std::io::{Cursor, Write};

/// Bytes of an image: FAT12 with room for three documents of the largest size that a node reads.
const SIZE: usize = 4 << 20;
const SECTOR: u16 = 512;

/// FAT's own beginning of time: an image must not tell when it was made.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }
    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// The image's bytes, from the names and texts of a seed's documents.
pub fn image(documents: &[(&str, &str)]) -> std::io::Result<Vec<u8>> {
    let mut label = [b' '; 11];
    for (slot, byte) in label.iter_mut().zip(SEED_LABEL.bytes()) {
        *slot = byte;
    }
    let mut digest = Sha256::new();
    for (_, text) in documents {
        digest.update(text.as_bytes());
    }
    let digest = digest.finalize();
    let volume_id = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);

    let mut disk = vec![0u8; SIZE];
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat12)
        .bytes_per_sector(SECTOR)
        .bytes_per_cluster(4096)
        .volume_id(volume_id)
        .volume_label(label);
    format_volume(Cursor::new(disk.as_mut_slice()), options)?;
    {
        let files =
            FileSystem::new(Cursor::new(disk.as_mut_slice()), FsOptions::new().time_provider(&NoTime))?;
        for (name, text) in documents {
            let mut file = files.root_dir().create_file(name)?;
            file.truncate()?;
            file.write_all(text.as_bytes())?;
            file.flush()?;
        }
        files.unmount()?;
    }
    Ok(disk)
}
