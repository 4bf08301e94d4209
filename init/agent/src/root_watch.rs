//! Watches the root while the node runs: a block that does not match shows as a fault within seconds.
//!
//! Takes the state of the dm-verity device and the kernel's log. Gives fault NI-ROOT-003 and, to a boot that is not
//! over, a stop. Reads only.

use crate::device_mapper::{DeviceMapper, ROOT_NAME, Verity};
use crate::report::Reporter;
use nodeimg_contract::fault::{Code, Fault};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the device is asked.
const INTERVAL: Duration = Duration::from_secs(3);
/// Records of the kernel's log that are read at most.
const MAX_RECORDS: usize = 20_000;

/// Tells a boot whether it may go on.
#[derive(Clone, Default)]
pub struct RootWatch {
    corrupted: Arc<AtomicBool>,
}

impl RootWatch {
    /// Watches from now on. A machine without the device (the root is not ours to verify) has nothing to watch.
    pub fn start(reporter: Reporter) -> Self {
        let watch = Self::default();
        let Ok(mapper) = DeviceMapper::open() else { return watch };
        if mapper.verity(ROOT_NAME).is_err() {
            return watch;
        }
        let corrupted = watch.corrupted.clone();
        let _ = std::thread::Builder::new().name("root-watch".into()).spawn(move || {
            while mapper.verity(ROOT_NAME).ok() != Some(Verity::Corrupted) {
                std::thread::sleep(INTERVAL);
            }
            corrupted.store(true, Ordering::SeqCst);
            reporter.fault(Fault {
                code: Code::RootTampered,
                object: "root".to_owned(),
                cause: last_corruption().unwrap_or_else(|| "a block that was read does not match".to_owned()),
                help:
                    "write the image to the disk again and check the disk; programs that need this block fail"
                        .to_owned(),
            });
        });
        watch
    }

    /// Returns at once while the root is sound. On a root that is not, a boot is refused: this never returns.
    pub fn gate(&self, reporter: &Reporter) {
        if !self.corrupted.load(Ordering::SeqCst) {
            return;
        }
        reporter.line("this boot is refused: the root does not match its root hash");
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// The kernel's last word about a block that does not match.
pub fn last_corruption() -> Option<String> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let mut record = [0u8; 8192];
    let mut last = None;
    for _ in 0..MAX_RECORDS {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(size) => {
                if let Some(text) = corruption(record.get(..size).unwrap_or_default()) {
                    last = Some(text);
                }
            }
            // Records that were overwritten meanwhile.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => break,
        }
    }
    last
}

/// The text of one record (`PRIORITY,SEQUENCE,TIME,…;TEXT`, Documentation/ABI/testing/dev-kmsg) if it is about that.
fn corruption(record: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(record);
    let (_, message) = text.split_once(';')?;
    let line = message.lines().next()?;
    (line.starts_with("device-mapper: verity:") && line.contains("corrupted")).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernels_complaint_is_known() {
        let record = b"3,812,41000,-;device-mapper: verity: 254:0: data block 7 is corrupted\n SUBSYSTEM=x\n";
        let expected = "device-mapper: verity: 254:0: data block 7 is corrupted";
        assert_eq!(corruption(record).as_deref(), Some(expected));
        assert_eq!(corruption(b"6,1,1,-;device-mapper: verity: sha256 using shash\n"), None);
    }

    proptest! {
        #[test]
        fn any_record_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = corruption(&bytes);
        }
    }
}
