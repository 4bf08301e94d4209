//! Commands with a limit.

use crate::machine::Answer;
use std::io::{self, Read};
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Waits for a child and its output; `None` when it was killed at the limit.
pub(crate) fn finish(mut child: Child, limit: Duration) -> io::Result<Option<Answer>> {
    let out = child.stdout.take().map(text);
    let err = child.stderr.take().map(text);
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let join = |thread: Option<JoinHandle<String>>| thread.and_then(|t| t.join().ok()).unwrap_or_default();
    Ok(Some(Answer { code: status.code(), stdout: join(out), stderr: join(err) }))
}

fn text(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
