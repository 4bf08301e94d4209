//! The virtio-serial port that carries the status to whoever started the machine.
//!
//! Kernel side: `drivers/char/virtio_console.c`; a port's name stands in `/sys/class/virtio-ports/NAME/name`.

use nodeimg_contract::paths;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The port, opened when it appears.
pub struct StatusPort {
    file: Option<File>,
}

impl StatusPort {
    /// Not opened yet.
    pub fn closed() -> Self {
        Self { file: None }
    }

    /// Sends one line. False when the port is there and did not take it (no reader yet): try again.
    pub fn send(&mut self, line: &[u8]) -> bool {
        if self.file.is_none() {
            let Some(path) = find() else { return true };
            self.file = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(path)
                .ok();
        }
        let Some(file) = &mut self.file else { return false };
        match file.write(line) {
            Ok(n) if n == line.len() => true,
            // A torn line: its end makes it one bad line for the reader, the next try sends the whole again.
            Ok(_) => {
                let _ = file.write(b"\n");
                false
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.file = None;
                false
            }
        }
    }
}

fn find() -> Option<PathBuf> {
    // udev's link to it; in a namespace the lab puts a pipe there.
    let linked = Path::new("/dev/virtio-ports").join(paths::STATUS_PORT);
    if linked.exists() {
        return Some(linked);
    }
    let ports = std::fs::read_dir("/sys/class/virtio-ports").ok()?;
    for port in ports.flatten() {
        let name = std::fs::read_to_string(port.path().join("name")).unwrap_or_default();
        if name.trim() == paths::STATUS_PORT {
            return Some(PathBuf::from("/dev").join(port.file_name()));
        }
    }
    None
}
