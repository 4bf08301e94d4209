//! What a node says: console text and NodeStatus lines, kept for whoever asks.

use nodeimg_contract::status::NodeStatus;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a console that are kept.
const CONSOLE_BYTES: usize = 4 << 20;
/// Bytes of the longest status line.
const LINE_BYTES: usize = 1 << 20;

/// Wakes those who wait for anything of a lab to change.
#[derive(Clone, Default)]
pub(crate) struct News(Arc<(Mutex<u64>, Condvar)>);

impl News {
    pub(crate) fn tell(&self) {
        *lock(&self.0.0) += 1;
        self.0.1.notify_all();
    }

    /// Asks again whenever something has changed, and now and then; `None` at the deadline.
    pub(crate) fn until<T>(&self, limit: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        loop {
            let seen = *lock(&self.0.0);
            if let Some(done) = done() {
                return Some(done);
            }
            let left = end.checked_duration_since(Instant::now())?;
            let count = lock(&self.0.0);
            if *count == seen {
                let _ = self.0.1.wait_timeout(count, left.min(Duration::from_millis(500)));
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that one node has said.
#[derive(Default)]
pub(crate) struct Said {
    kept: Mutex<Kept>,
    news: News,
}

#[derive(Default)]
struct Kept {
    console: String,
    status: Option<NodeStatus>,
    file: Option<File>,
}

impl Said {
    pub(crate) fn new(news: News, file: File) -> Self {
        Self { kept: Mutex::new(Kept { file: Some(file), ..Kept::default() }), news }
    }

    pub(crate) fn console(&self) -> String {
        lock(&self.kept).console.clone()
    }

    pub(crate) fn status(&self) -> Option<NodeStatus> {
        lock(&self.kept).status.clone()
    }

    /// A new boot has said nothing yet.
    pub(crate) fn begin(&self, boot: u32) {
        lock(&self.kept).status = None;
        self.text(format!("-- boot {boot} --\n").as_bytes());
    }

    pub(crate) fn text(&self, bytes: &[u8]) {
        let mut kept = lock(&self.kept);
        let text = String::from_utf8_lossy(bytes).replace('\r', "");
        if let Some(file) = &mut kept.file {
            let _ = file.write_all(text.as_bytes());
        }
        if kept.console.len() + text.len() > CONSOLE_BYTES {
            kept.console.clear();
        }
        kept.console.push_str(&text);
    }

    fn line(&self, line: &[u8]) {
        // A torn line is followed by a whole one.
        if let Ok(status) = serde_json::from_slice(line) {
            self.status_is(status);
        }
    }

    pub(crate) fn status_is(&self, status: NodeStatus) {
        lock(&self.kept).status = Some(status);
        self.news.tell();
    }
}

/// Reads both pipes of one boot.
pub(crate) struct Reader {
    console: File,
    status: File,
    line: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(console: File, status: File) -> Self {
        Self { console, status, line: Vec::new() }
    }

    /// Waits at most `limit` for something to read, and hands over everything that there is.
    pub(crate) fn read(&mut self, said: &Said, limit: Duration) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut fds = [
            PollFd::new(self.console.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.status.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO));
        let mut bytes = vec![0; 64 << 10];
        while let Some(n) = some(self.console.read(&mut bytes)) {
            said.text(bytes.get(..n).unwrap_or_default());
        }
        while let Some(n) = some(self.status.read(&mut bytes)) {
            for byte in bytes.get(..n).unwrap_or_default() {
                if *byte == b'\n' {
                    said.line(&self.line);
                    self.line.clear();
                } else if self.line.len() < LINE_BYTES {
                    self.line.push(*byte);
                }
            }
        }
    }
}

fn some(read: io::Result<usize>) -> Option<usize> {
    read.ok().filter(|n| *n > 0)
}
