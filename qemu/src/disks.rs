//! Disk images of a machine.

use crate::error::VmError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::Path;

/// Room beside the UKI for the file system's own tables.
const SLACK: u64 = 8 << 20;
const MIB: u64 = 1 << 20;

/// An empty sparse raw disk of `size` bytes at `path`; one that is there is kept as it is.
pub fn create_state_disk(path: &Path, size: u64) -> Result<(), VmError> {
    let io = |source| VmError::Io { action: "create the state disk", path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file.set_len(size).map_err(io),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(io(e)),
    }
}

/// A FAT image at `path` with the UKI where firmware looks for it on any disk (`EFI/BOOT/BOOTX64.EFI`; UEFI
/// specification, 3.5.1.1). What was at `path` is replaced.
pub fn create_esp(uki: &Path, path: &Path) -> Result<(), VmError> {
    let reading = |source| VmError::Io { action: "read", path: uki.to_owned(), source };
    let writing = |source| VmError::Io { action: "write", path: path.to_owned(), source };
    let mut from = BufReader::with_capacity(1 << 20, File::open(uki).map_err(reading)?);
    let size = (from.get_ref().metadata().map_err(reading)?.len() + SLACK).next_multiple_of(MIB);
    let fresh = path.with_extension("new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&fresh)
        .map_err(writing)?;
    file.set_len(size).map_err(writing)?;
    let mut fill = || -> io::Result<()> {
        let options =
            fatfs::FormatVolumeOptions::new().volume_label(*b"NODEIMG-ESP").bytes_per_cluster(16 << 10);
        fatfs::format_volume(&file, options)?;
        let volume = fatfs::FileSystem::new(&file, fatfs::FsOptions::new())?;
        {
            let folder = volume.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
            let mut to = folder.create_file("BOOTX64.EFI")?;
            io::copy(&mut from, &mut to)?;
            to.flush()?;
        }
        volume.unmount()
    };
    fill().map_err(writing)?;
    fs::rename(&fresh, path).map_err(writing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_uki_is_where_firmware_looks() {
        let dir = tempfile::tempdir().expect("temp");
        let (uki, esp) = (dir.path().join("u"), dir.path().join("esp.img"));
        let bytes: Vec<u8> = (0..3_000_001u32).map(|i| (i >> 3) as u8).collect();
        fs::write(&uki, &bytes).expect("write");
        create_esp(&uki, &esp).expect("esp");
        create_esp(&uki, &esp).expect("and again");
        let file = File::open(&esp).expect("open");
        let volume = fatfs::FileSystem::new(ReadOnly(file), fatfs::FsOptions::new()).expect("fat");
        let mut found = Vec::new();
        let mut file = volume.root_dir().open_file("EFI/BOOT/BOOTX64.EFI").expect("file");
        file.read_to_end(&mut found).expect("read");
        assert!(found == bytes);
    }

    #[test]
    fn a_state_disk_is_never_made_anew() {
        let dir = tempfile::tempdir().expect("temp");
        let path = dir.path().join("state.img");
        create_state_disk(&path, 1 << 30).expect("made");
        assert_eq!(fs::metadata(&path).expect("stat").len(), 1 << 30);
        fs::write(&path, "precious").expect("write");
        create_state_disk(&path, 1 << 30).expect("kept");
        assert_eq!(fs::read(&path).expect("read"), b"precious");
    }

    /// fatfs asks for a writer even to read.
    struct ReadOnly(File);
    impl Read for ReadOnly {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Write for ReadOnly {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl io::Seek for ReadOnly {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
}
