//! Log files that cannot fill a disk.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Lines that are kept for the console.
const TAIL_LINES: usize = 12;
/// Bytes of a kept line.
const TAIL_LINE_BYTES: usize = 400;

/// A file and its predecessor (`NAME.log`, `NAME.log.1`), each at most `limit` bytes (8 MiB), and the last lines in
/// memory. A write that fails is dropped: a full disk must not stop a service.
pub struct RotatingLog {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    written: u64,
    partial: Vec<u8>,
    tail: VecDeque<String>,
}

impl RotatingLog {
    /// Appends to the file at `path`.
    pub fn open(path: &Path) -> Self {
        Self::with_limit(path, 8 << 20)
    }

    /// As [`RotatingLog::open`], with another size in bytes.
    pub fn with_limit(path: &Path, limit: u64) -> Self {
        let mut log = Self {
            path: path.to_owned(),
            limit,
            file: None,
            written: 0,
            partial: Vec::new(),
            tail: VecDeque::new(),
        };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        if let Some(folder) = self.path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        self.file = OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path).ok();
        self.written = self.file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
    }

    /// Writes bytes as they came.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.written.saturating_add(bytes.len() as u64) > self.limit {
            self.rotate();
        }
        if self.file.is_none() {
            self.reopen();
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
            self.written = self.written.saturating_add(bytes.len() as u64);
        }
        self.remember(bytes);
    }

    fn rotate(&mut self) {
        self.file = None;
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        if std::fs::rename(&self.path, old).is_err() {
            let _ = std::fs::remove_file(&self.path);
        }
        self.reopen();
    }

    fn remember(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let room = TAIL_LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                if !line.is_empty() {
                    self.tail.push_back(line);
                }
                if self.tail.len() > TAIL_LINES {
                    self.tail.pop_front();
                }
            }
        }
    }

    /// The last lines, oldest first.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
