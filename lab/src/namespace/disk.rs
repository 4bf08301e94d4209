//! A node's state disk: an image behind a loop device, with a volatile cache between them or without.
//!
//! Takes a folder and a size. Gives a block device that is there or not, blank or not, and forgets at a cut what was not
//! flushed. May touch: the image.

use super::loop_device::{LoopDevice, Window};
use super::volatile_disk::serve;
use super::write_cache::{CutPower, Moment, WriteCache};
use crate::said::lock;
use crate::spec::DiskKind;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long an unmount may take after the last process of a node.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(20);

/// The disk.
pub(crate) struct StateDisk {
    image: PathBuf,
    size: u64,
    serial: String,
    /// With an empty folder to serve it from.
    cache: Option<(Cache, PathBuf)>,
    device: Option<LoopDevice>,
}

/// The volatile cache, for whoever cuts the power. A machine that was cut leaves it behind for its next run.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Mutex<WriteCache>>);

impl Cache {
    /// From now on nothing reaches the image.
    pub(crate) fn cut(&self) {
        lock(&self.0).cut();
    }

    pub(crate) fn flushes(&self) -> u64 {
        lock(&self.0).flushes()
    }

    pub(crate) fn cut_at(&self, flush: u64, moment: Moment, cut: CutPower) {
        lock(&self.0).cut_at(flush, moment, cut);
    }
}

impl StateDisk {
    /// A blank disk of `size` bytes that is plugged in. The image has holes where nothing was written.
    pub(crate) fn new(folder: &Path, size: u64, serial: String, kind: DiskKind) -> io::Result<Self> {
        let cache = match kind {
            DiskKind::Plain => None,
            DiskKind::Volatile => {
                let served = folder.join("disk");
                std::fs::create_dir_all(&served)?;
                Some((Cache(Arc::default()), served))
            }
        };
        let mut disk = Self { image: folder.join("state.img"), size, serial, cache, device: None };
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

    /// Its cache, if it has one.
    pub(crate) fn cache(&self) -> Option<Cache> {
        self.cache.as_ref().map(|(cache, _)| cache.clone())
    }

    /// Plugs it in.
    pub(crate) fn plug(&mut self) -> io::Result<()> {
        if self.device.is_none() {
            let (file, direct) = match &mut self.cache {
                None => (OpenOptions::new().read(true).write(true).open(&self.image)?, false),
                Some((cache, folder)) => {
                    // What served it until now may still be asked, and must not find the new run's writes.
                    let flushes = cache.flushes();
                    lock(&cache.0).cut();
                    *cache = Cache(Arc::new(Mutex::new(WriteCache::after(flushes))));
                    (serve(&self.image, folder, cache.0.clone())?, true)
                }
            };
            let device = LoopDevice::over(&file, Window { direct, ..Window::default() })?;
            device.find_partitions();
            self.device = Some(device);
        }
        Ok(())
    }

    /// Takes it out: what was not flushed is gone.
    pub(crate) fn unplug(&mut self) {
        if let Some((cache, _)) = &self.cache {
            cache.cut();
        }
        self.device = None;
    }

    /// After a cut: what was flushed is there again.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        let gone = self.cache.as_ref().is_some_and(|(cache, _)| lock(&cache.0).is_gone());
        if self.device.is_some() && gone {
            self.unplug();
            self.plug()?;
        }
        Ok(())
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
