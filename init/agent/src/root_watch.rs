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
use std::time::Duration;

/// How often the device is asked; a fault shows within 10 s.
const INTERVAL: Duration = Duration::from_secs(3);
/// Records of the kernel's log that are read at most.
const MAX_RECORDS: usize = 20_000;

/// Tells a boot whether it may go on.
#[derive(Clone, Default)]
pub struct RootWatch {
    mapper: Option<Arc<DeviceMapper>>,
}

impl RootWatch {
    /// Watches from now on. A machine without the device (the root is not ours to verify) has nothing to watch.
    pub fn start(reporter: Reporter) -> Self {
        let mapper = DeviceMapper::open().ok().filter(|m| m.verity(ROOT_NAME).is_ok()).map(Arc::new);
        let watch = Self { mapper };
        if watch.mapper.is_some() {
            let watched = watch.clone();
            let _ = std::thread::Builder::new().name("root-watch".into()).spawn(move || {
                while !watched.corrupted() {
                    std::thread::sleep(INTERVAL);
                }
                reporter.fault(tampered());
            });
        }
        watch
    }

    /// Returns at once while the root is sound, by the device mapper's own word at this moment. On a root that is not, a
    /// boot is refused: this never returns.
    pub fn gate(&self, reporter: &Reporter) {
        if !self.corrupted() {
            return;
        }
        reporter.fault(tampered());
        reporter.line("this boot is refused: the root does not match its root hash");
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    fn corrupted(&self) -> bool {
        self.mapper.as_ref().is_some_and(|m| matches!(m.verity(ROOT_NAME), Ok(Verity::Corrupted)))
    }
}

fn tampered() -> Fault {
    Fault {
        code: Code::RootTampered,
        object: "root".to_owned(),
        cause: last_corruption().unwrap_or_else(|| "a block that was read does not match".to_owned()),
        help: "write the image to the disk again and check the disk; programs that need this block fail"
            .to_owned(),
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
