//! A node's state disk: an image file behind a loop device.
//!
//! Takes a path and a size. Gives a block device that is there or not, blank or not. May touch: the image.

use super::loop_device::{LoopDevice, Window};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an unmount may take after the last process of a node.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(20);

/// The disk.
pub(crate) struct StateDisk {
    image: PathBuf,
    size: u64,
    serial: String,
    device: Option<LoopDevice>,
}

impl StateDisk {
    /// A blank disk of `size` bytes that is plugged in. The image has holes where nothing was written.
    pub(crate) fn new(image: PathBuf, size: u64, serial: String) -> io::Result<Self> {
        let mut disk = Self { image, size, serial, device: None };
        disk.blank()?;
        disk.plug()?;
        Ok(disk)
    }

    /// What a seed names it by.
    pub(crate) fn serial(&self) -> &str {
        &self.serial
    }

    /// The device, while it is plugged in.
    pub(crate) fn device(&self) -> Option<&LoopDevice> {
        self.device.as_ref()
    }

    /// Plugs it in.
    pub(crate) fn plug(&mut self) -> io::Result<()> {
        if self.device.is_none() {
            let file = OpenOptions::new().read(true).write(true).open(&self.image)?;
            let device = LoopDevice::over(&file, Window::default())?;
            device.find_partitions();
            self.device = Some(device);
        }
        Ok(())
    }

    /// Takes it out.
    pub(crate) fn unplug(&mut self) {
        self.device = None;
    }

    /// Makes it blank.
    pub(crate) fn wipe(&mut self) -> io::Result<()> {
        let plugged = self.device.is_some();
        self.unplug();
        self.blank()?;
        if plugged { self.plug() } else { Ok(()) }
    }

    /// Waits until nobody has mounted it any more.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let until = Instant::now() + UNMOUNT_LIMIT;
        while self.device.as_ref().is_some_and(LoopDevice::is_mounted) {
            if Instant::now() >= until {
                return Err(io::Error::other("its state disk stays mounted"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn blank(&self) -> io::Result<()> {
        // A new file: whoever still has the old one keeps the old one.
        match std::fs::remove_file(&self.image) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        File::create_new(&self.image)?.set_len(self.size)
    }
}
