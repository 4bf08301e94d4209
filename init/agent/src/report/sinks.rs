//! Where reports go: consoles, the boot log, the status file, the status port.

use super::port::StatusPort;
use nodeimg_contract::paths;
use nodeimg_contract::status::NodeStatus;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The boot log (a file in memory) starts anew beyond this many bytes.
const LOG_BYTES: u64 = 1 << 20;

/// Everything that is written to. A place that cannot be written is left out silently: there is nobody to tell.
pub struct Sinks {
    consoles: Vec<File>,
    folder: PathBuf,
    port: Option<StatusPort>,
    machine: bool,
}

impl Sinks {
    /// The consoles that the kernel names, the status port and `/run/nodeimg`.
    pub fn of_this_machine() -> Self {
        let mut sinks = Self {
            consoles: Vec::new(),
            folder: PathBuf::from(paths::RUN),
            port: Some(StatusPort::closed()),
            machine: true,
        };
        sinks.reopen();
        sinks
    }

    /// Files below one folder, no devices.
    #[cfg(test)]
    pub fn below(folder: PathBuf) -> Self {
        Self { consoles: Vec::new(), folder, port: None, machine: false }
    }

    /// Opens consoles again.
    pub fn reopen(&mut self) {
        if self.machine {
            self.consoles = open_consoles();
        }
    }

    /// One line (or a block) on every console and in the boot log.
    pub fn line(&mut self, text: &str) {
        let text = format!("{}\r\n", text.replace('\n', "\r\n"));
        for console in &mut self.consoles {
            let _ = console.write_all(text.as_bytes());
        }
        let log = self.folder.join("nodeinit.log");
        let full = std::fs::metadata(&log).is_ok_and(|m| m.len() > LOG_BYTES);
        let mut options = OpenOptions::new();
        options.create(true).mode(0o640);
        if full {
            options.write(true).truncate(true)
        } else {
            options.append(true)
        };
        if let Ok(mut file) = options.open(&log) {
            let _ = file.write_all(text.replace('\r', "").as_bytes());
        }
    }

    /// The status, whole: to the file and to the port. False when the port has a listener that did not take it.
    pub fn status(&mut self, status: &NodeStatus) -> bool {
        let Ok(mut json) = serde_json::to_vec(status) else { return true };
        json.push(b'\n');
        let _ = replace(&self.folder.join("status.json"), &json);
        match &mut self.port {
            Some(port) => port.send(&json),
            None => true,
        }
    }
}

/// Writes a file so that a reader sees the old content or the new one.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(content)?;
    drop(file);
    std::fs::rename(&new, path)
}

/// The devices behind `/dev/console`, all of them: the kernel itself writes user output to the last one only.
fn open_consoles() -> Vec<File> {
    let names = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let mut files: Vec<File> = names
        .split_whitespace()
        .filter(|n| !n.contains('/'))
        .filter_map(|n| open_tty(&format!("/dev/{n}")))
        .collect();
    if files.is_empty() {
        files.extend(open_tty("/dev/console"));
    }
    files
}

fn open_tty(path: &str) -> Option<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(path).ok()
}
