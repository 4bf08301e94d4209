//! Loop devices that are gone when their last user is.
//!
//! Takes an open file, gives a block device. Format: include/uapi/linux/loop.h. Every device has `LO_FLAGS_AUTOCLEAR`:
//! whatever ends this process, the kernel takes the device away after the last mount of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// `BLKPG` of include/uapi/linux/blkpg.h, and its operations.
const BLKPG: libc::c_ulong = 0x1269;
const ADD_PARTITION: libc::c_int = 1;
const DELETE_PARTITION: libc::c_int = 2;
/// Another process may take the free device that was found; so often it is tried again.
const TRIES: u32 = 64;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start: i64,
    length: i64,
    number: libc::c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct PartitionRequest {
    operation: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    partition: *const Partition,
}

/// What of a file a device shows, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    /// First byte.
    pub(crate) offset: u64,
    /// Bytes; 0: to the end.
    pub(crate) size: u64,
    /// Nothing may be written.
    pub(crate) read_only: bool,
    /// Past the page cache of the file.
    pub(crate) direct: bool,
}

/// A loop device.
pub(crate) struct LoopDevice {
    name: String,
    rdev: u64,
    /// Keeps the device.
    open: File,
}

impl LoopDevice {
    /// Makes one over a file.
    pub(crate) fn over(file: &File, window: Window) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let mut flags = LO_FLAGS_AUTOCLEAR;
        if window.read_only {
            flags |= LO_FLAGS_READ_ONLY;
        }
        if window.direct {
            flags |= LO_FLAGS_DIRECT_IO;
        }
        let config = LoopConfig {
            fd: u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
            block_size: 0,
            info: LoopInfo {
                device: 0,
                inode: 0,
                rdevice: 0,
                offset: window.offset,
                size_limit: window.size,
                number: 0,
                encrypt_type: 0,
                encrypt_key_size: 0,
                flags,
                file_name: [0; 64],
                crypt_name: [0; 64],
                encrypt_key: [0; 32],
                init: [0; 2],
            },
            reserved: [0; 8],
        };
        for _ in 0..TRIES {
            // SAFETY: the request takes no argument, and the descriptor is open.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let name = format!("loop{number}");
            let device =
                OpenOptions::new().read(true).write(!window.read_only).open(format!("/dev/{name}"))?;
            // SAFETY: the request reads one `struct loop_config`, which `config` is, laid out as in the kernel's header.
            let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
            if done == 0 {
                let rdev = device.metadata()?.rdev();
                let device = Self { name, rdev, open: device };
                // A killed lab may have left some.
                device.forget_partitions();
                return Ok(device);
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EBUSY) {
                return Err(error);
            }
        }
        Err(io::Error::other("no loop device stays free long enough"))
    }

    /// Kernel name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its node in the host's `/dev`.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Device number.
    pub(crate) fn rdev(&self) -> u64 {
        self.rdev
    }

    /// Kernel names and numbers of the partitions that the kernel sees now.
    pub(crate) fn partitions(&self) -> Vec<(String, u64)> {
        let folder = Path::new("/sys/class/block").join(&self.name);
        let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
        let named = entries.flatten().filter_map(|e| {
            let name = e.file_name().into_string().ok().filter(|n| n.starts_with(&self.name))?;
            let number = std::fs::read_to_string(e.path().join("dev")).ok()?;
            let (major, minor) = number.trim().split_once(':')?;
            Some((name, nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?)))
        });
        named.collect()
    }

    /// Shows the partitions of a disk that has a table and shows none. The kernel is not asked to look by itself: not every
    /// kernel knows GPT, and one that does not takes away what it was told at every look.
    pub(crate) fn find_partitions(&self) {
        if !self.partitions().is_empty() {
            return;
        }
        let Ok(table) = gpt::GptConfig::new().writable(false).open(self.path()) else { return };
        let block = *table.logical_block_size();
        for (number, partition) in table.partitions().iter().filter(|(_, p)| p.is_used()) {
            if let (Ok(start), Ok(length)) = (partition.bytes_start(block), partition.bytes_len(block)) {
                self.partition(ADD_PARTITION, *number, start, length);
            }
        }
    }

    fn forget_partitions(&self) {
        for (name, _) in self.partitions() {
            let number = name.strip_prefix(&self.name).and_then(|n| n.strip_prefix('p')).map(str::parse);
            if let Some(Ok(number)) = number {
                self.partition(DELETE_PARTITION, number, 0, 0);
            }
        }
    }

    /// A refusal shows by itself: the partition is not there, or stays.
    fn partition(&self, operation: libc::c_int, number: u32, start: u64, length: u64) {
        let (Ok(start), Ok(length), Ok(number)) =
            (i64::try_from(start), i64::try_from(length), libc::c_int::try_from(number))
        else {
            return;
        };
        let partition = Partition { start, length, number, names: [0; 128] };
        let size = std::mem::size_of::<Partition>() as libc::c_int;
        let request = PartitionRequest { operation, flags: 0, length: size, partition: &raw const partition };
        // SAFETY: the request reads one `struct blkpg_ioctl_arg` and the partition behind it, both laid out as in the
        // kernel's header and alive during the call.
        let _ = unsafe { libc::ioctl(self.open.as_raw_fd(), BLKPG, &raw const request) };
    }

    /// Whether a file system of this device or of one of its partitions is still mounted somewhere.
    pub(crate) fn is_mounted(&self) -> bool {
        let names = std::iter::once(self.name.clone()).chain(self.partitions().into_iter().map(|(n, _)| n));
        names.into_iter().any(|name| {
            // A mount holds its device exclusively (open(2), O_EXCL on block devices).
            let mut options = OpenOptions::new();
            use std::os::unix::fs::OpenOptionsExt;
            let opened = options.read(true).custom_flags(libc::O_EXCL).open(Path::new("/dev").join(name));
            opened.is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY))
        })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // The kernel keeps them otherwise, for whoever gets the device next.
        self.forget_partitions();
    }
}
