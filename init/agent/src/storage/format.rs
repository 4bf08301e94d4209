//! A blank (or consented) disk becomes a state disk.
//!
//! In this order, so that a power cut at any moment leaves a disk that is blank, unfinished (and taken as blank) or
//! whole: table with an unfinished name, file system, table with the right name.

use super::observe::UNFINISHED;
use crate::block::{self, Block};
use crate::process::{ProcessError, Processes, poll};
use nodeimg_contract::partition::{STATE, STATE_NAME};
use nodeimg_init_core::consent::Consent;
use nodeimg_init_core::partition_table::{NewTable, Pieces, render};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// Limit of mke2fs; it writes little, but the disk may be slow.
const MKFS_LIMIT: Duration = Duration::from_secs(600);
/// How long the kernel may take to show a new partition.
const PARTITION_LIMIT: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

// `BLKRRPART` of include/uapi/linux/fs.h, an `_IO(0x12, 95)`.
nix::ioctl_none!(reread_partitions, 0x12, 95);

/// Why a disk could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Gone since it was looked at.
    #[error("the disk is gone")]
    Gone,
    /// It has no room.
    #[error("the disk is too small for a partition table")]
    Small,
    /// Reading or writing failed.
    #[error("{action} failed: {source}")]
    Io {
        /// What was done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// mke2fs failed.
    #[error(transparent)]
    Mkfs(#[from] ProcessError),
    /// The kernel does not show it.
    #[error("the kernel does not show the new partition")]
    NoPartition,
}

fn io_error(action: &'static str) -> impl Fn(io::Error) -> FormatError {
    move |source| FormatError::Io { action, source }
}

/// Prepares the disk that the consent names and returns the kernel name of the state partition.
pub fn format(processes: &Processes, consent: &Consent) -> Result<String, FormatError> {
    let disk = block::all().into_iter().find(|b| b.name == consent.disk()).ok_or(FormatError::Gone)?;
    let ids = random().map_err(io_error("reading random bytes"))?;
    let table = |name: &'static str| {
        let (disk_uuid, uuid) = ids;
        let new =
            NewTable { disk: disk.size, sector: disk.sector() as u64, disk_uuid, kind: STATE, uuid, name };
        render(&new).ok_or(FormatError::Small)
    };
    // Signatures of what was there must not be found again behind our table.
    let zeros = vec![0u8; MIB as usize];
    write(&disk, &vec![(0, zeros.clone()), (disk.size.saturating_sub(MIB), zeros.clone()), (MIB, zeros)])?;
    write(&disk, &table(UNFINISHED)?)?;
    let partition = await_partition(&disk)?;
    let mut mkfs = Command::new("mke2fs");
    mkfs.args(["-q", "-F", "-t", "ext4", "-m", "1", "-L", STATE_NAME])
        .args(["-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"])
        .arg(format!("/dev/{partition}"));
    processes.check(mkfs, MKFS_LIMIT)?;
    let device = File::open(format!("/dev/{partition}")).map_err(io_error("opening the partition"))?;
    device.sync_all().map_err(io_error("syncing the file system"))?;
    drop(device);
    write(&disk, &table(STATE_NAME)?)?;
    await_partition(&disk)
}

fn write(disk: &Block, pieces: &Pieces) -> Result<(), FormatError> {
    let mut device =
        OpenOptions::new().read(true).write(true).open(disk.path()).map_err(io_error("opening the disk"))?;
    for (at, bytes) in pieces {
        device
            .seek(SeekFrom::Start(*at))
            .and_then(|_| device.write_all(bytes))
            .map_err(io_error("writing the partition table"))?;
    }
    device.sync_all().map_err(io_error("syncing the disk"))
}

/// Makes the kernel read the table and waits for partition 1. udev reads it too when the disk is closed, and may hold it
/// at the moment: hence the patience.
fn await_partition(disk: &Block) -> Result<String, FormatError> {
    let device = File::open(disk.path()).map_err(io_error("opening the disk"))?;
    let mut name = None;
    poll(PARTITION_LIMIT, Duration::from_millis(20), || {
        // SAFETY: the ioctl takes no argument, and the descriptor is open.
        let _ = unsafe { reread_partitions(device.as_raw_fd()) };
        name = block::all()
            .into_iter()
            .find(|b| b.partition_of == Some((disk.name.clone(), 1)) && b.path().exists())
            .map(|b| b.name);
        name.is_some()
    });
    name.ok_or(FormatError::NoPartition)
}

fn random() -> io::Result<([u8; 16], [u8; 16])> {
    let mut source = File::open("/dev/urandom")?;
    let (mut a, mut b) = ([0u8; 16], [0u8; 16]);
    source.read_exact(&mut a)?;
    source.read_exact(&mut b)?;
    Ok((a, b))
}
