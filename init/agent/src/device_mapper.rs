//! The device mapper, as far as dm-verity needs it.
//!
//! Takes table text, gives a read-only block device and its state. Talks to `/dev/mapper/control` with the ioctls of
//! `include/uapi/linux/dm-ioctl.h` (version 4). Never touches a device that it did not make.

use nodeimg_contract::verity::{BLOCK, RootHash, Superblock};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Name and, with a prefix, UUID of our one device.
pub const ROOT_NAME: &str = "nodeimg-root";
/// Size of `struct dm_ioctl`.
const HEADER: usize = 312;
/// Room for header and answer.
const BUFFER: usize = 4096;
const DM_DEV_CREATE: u64 = 3;
const DM_DEV_REMOVE: u64 = 4;
const DM_DEV_SUSPEND: u64 = 6;
const DM_TABLE_LOAD: u64 = 9;
const DM_TABLE_STATUS: u64 = 12;
const DM_READONLY_FLAG: u32 = 1;

/// One line of a device-mapper table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// 512-byte sectors.
    pub sectors: u64,
    /// `verity`, …
    pub target: &'static str,
    /// The target's own words.
    pub parameters: String,
}

impl Table {
    /// The table of a verity device (kernel `Documentation/admin-guide/device-mapper/verity.rst`). A block that does not
    /// match is an I/O error for whoever reads it: the node must be able to say so, a panic could not.
    pub fn verity(superblock: &Superblock, hash: &RootHash, data: &str, tree: &str) -> Self {
        let salt = if superblock.salt.is_empty() { "-".to_owned() } else { hex::encode(&superblock.salt) };
        Self {
            sectors: superblock.data_blocks.saturating_mul(BLOCK as u64 / 512),
            target: "verity",
            parameters: format!(
                "1 {data} {tree} {BLOCK} {BLOCK} {} 1 sha256 {hash} {salt}",
                superblock.data_blocks
            ),
        }
    }
}

/// State of a verity device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verity {
    /// Every block that was read matched.
    Sound,
    /// A block that was read did not match.
    Corrupted,
}

/// The open control device.
pub struct DeviceMapper {
    control: File,
}

impl DeviceMapper {
    /// Opens `/dev/mapper/control`; the module `dm_mod` must be there.
    pub fn open() -> io::Result<Self> {
        Ok(Self { control: File::options().read(true).write(true).open("/dev/mapper/control")? })
    }

    /// Makes a read-only device from one table line and returns its `(major, minor)`.
    pub fn create(&self, name: &str, table: &Table) -> io::Result<(u64, u64)> {
        let mut made = Message::new(name, 0)?;
        made.uuid(&format!("NODEIMG-{name}"))?;
        self.send(DM_DEV_CREATE, &mut made)?;
        let started = self.start(name, table);
        if started.is_err() {
            let _ = Message::new(name, 0).and_then(|mut m| self.send(DM_DEV_REMOVE, &mut m));
        }
        started
    }

    fn start(&self, name: &str, table: &Table) -> io::Result<(u64, u64)> {
        let mut load = Message::new(name, DM_READONLY_FLAG)?;
        load.table(table)?;
        self.send(DM_TABLE_LOAD, &mut load)?;
        // Suspend without the suspend flag is resume: the loaded table becomes the live one.
        let mut resume = Message::new(name, 0)?;
        self.send(DM_DEV_SUSPEND, &mut resume)?;
        let dev = resume.device();
        Ok((nix::sys::stat::major(dev), nix::sys::stat::minor(dev)))
    }

    /// Whether the verity device has met a block that does not match.
    pub fn verity(&self, name: &str) -> io::Result<Verity> {
        let mut status = Message::new(name, 0)?;
        self.send(DM_TABLE_STATUS, &mut status)?;
        match status.first_status().as_str() {
            "V" => Ok(Verity::Sound),
            "C" => Ok(Verity::Corrupted),
            other => Err(io::Error::other(format!("the device mapper answers \"{other}\""))),
        }
    }

    fn send(&self, number: u64, message: &mut Message) -> io::Result<()> {
        let request = (3 << 30) | ((HEADER as u64) << 16) | (0xfd << 8) | number;
        // SAFETY: the buffer is BUFFER bytes long, aligned to 8 and says so in data_size; the kernel reads and writes
        // within that, and nothing else has it meanwhile.
        let done = unsafe { libc::ioctl(self.control.as_raw_fd(), request as _, message.words.as_mut_ptr()) };
        nix::errno::Errno::result(done).map(drop).map_err(io::Error::from)
    }
}

/// `struct dm_ioctl` and what follows it.
struct Message {
    words: Vec<u64>,
}

impl Message {
    fn new(name: &str, flags: u32) -> io::Result<Self> {
        let mut message = Self { words: vec![0; BUFFER / 8] };
        for (at, value) in [(0, 4u32), (12, BUFFER as u32), (16, HEADER as u32), (28, flags)] {
            message.put(at, &value.to_ne_bytes())?;
        }
        if name.len() > 127 {
            return Err(io::Error::other("a device-mapper name is too long"));
        }
        message.put(48, name.as_bytes())?;
        Ok(message)
    }

    fn uuid(&mut self, uuid: &str) -> io::Result<()> {
        if uuid.len() > 128 {
            return Err(io::Error::other("a device-mapper UUID is too long"));
        }
        self.put(176, uuid.as_bytes())
    }

    fn table(&mut self, table: &Table) -> io::Result<()> {
        self.put(20, &1u32.to_ne_bytes())?;
        self.put(HEADER + 8, &table.sectors.to_ne_bytes())?;
        self.put(HEADER + 24, table.target.as_bytes())?;
        self.put(HEADER + 40, table.parameters.as_bytes())?;
        self.put(HEADER + 40 + table.parameters.len(), &[0])
    }

    fn device(&self) -> u64 {
        self.words.get(5).copied().unwrap_or(0)
    }

    /// The text of the first target in an answer to `DM_TABLE_STATUS`.
    fn first_status(&self) -> String {
        let bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let text = bytes.get(HEADER + 40..).unwrap_or_default();
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        String::from_utf8_lossy(text.get(..end).unwrap_or_default()).trim().to_owned()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        for (i, byte) in bytes.iter().enumerate() {
            let word = self
                .words
                .get_mut((at + i) / 8)
                .ok_or_else(|| io::Error::other("a device-mapper message is too long"))?;
            let mut parts = word.to_ne_bytes();
            if let Some(part) = parts.get_mut((at + i) % 8) {
                *part = *byte;
            }
            *word = u64::from_ne_bytes(parts);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verity_table_is_the_kernels_text() {
        let hash = RootHash::new([0xab; 32]);
        let superblock = Superblock { uuid: [0; 16], data_blocks: 3, salt: vec![1, 2] };
        let table = Table::verity(&superblock, &hash, "254:1", "254:2");
        assert_eq!(table.sectors, 24);
        let expected = format!("1 254:1 254:2 4096 4096 3 1 sha256 {} 0102", "ab".repeat(32));
        assert_eq!(table.parameters, expected);
        let unsalted = Superblock { salt: Vec::new(), ..superblock };
        assert!(Table::verity(&unsalted, &hash, "a", "b").parameters.ends_with(" -"));
    }

    #[test]
    fn a_message_has_the_fields_where_the_kernel_reads_them() {
        let mut m = Message::new("root", DM_READONLY_FLAG).expect("a message");
        m.table(&Table { sectors: 8, target: "verity", parameters: "1 a".into() }).expect("a table");
        let bytes: Vec<u8> = m.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(&bytes[..4], &4u32.to_ne_bytes());
        assert_eq!(&bytes[48..53], b"root\0");
        assert_eq!(&bytes[HEADER + 8..HEADER + 16], &8u64.to_ne_bytes());
        assert_eq!(&bytes[HEADER + 24..HEADER + 31], b"verity\0");
        assert_eq!(m.first_status(), "1 a");
        let long = "x".repeat(BUFFER);
        assert!(m.table(&Table { sectors: 8, target: "verity", parameters: long }).is_err());
        assert!(Message::new(&"n".repeat(128), 0).is_err());
    }
}
