//! EROFS from a tree, by the `mkfs.erofs` of the tools tree, without root.
//!
//! Takes a tree and a command that nobody has given arguments to. Gives an image file. Starts one child process and
//! writes below the image's folder (mkfs keeps what it reads there until it is done).

use crate::error::SealError;
use crate::fingerprint::as_uuid;
use crate::tar_stream::{TarError, write_tar};
use nodeimg_progress::Step;
use nodeimg_tree::RootTree;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, BufWriter, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// How the image is compressed. Measured on kube-apiserver (105 MB) and a set of four Go programs (255 MB): lz4hc,9 is
/// 22 % larger and unpacks about five times as fast, zstd level 6 is 5 % smaller and takes some six times as long to make;
/// clusters of 1 MiB save another 3 % and make every page fault dearer.
pub const COMPRESSION: &[&str] = &["-zzstd,level=3", "-C131072"];

/// Lines of standard error that an error shows.
const LAST_LINES: usize = 12;

/// The program, and what tells it from another version of it.
#[derive(Debug)]
pub struct MkfsErofs {
    command: Command,
    identity: String,
}

impl MkfsErofs {
    /// `command` starts mkfs.erofs (1.8 or newer) and has no arguments of mkfs yet; `identity` names its version (the
    /// digests of its packages): another one makes another cache entry.
    pub fn new(command: Command, identity: impl Into<String>) -> Self {
        Self { command, identity: identity.into() }
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Writes `tree` to a new file `image`.
    pub(crate) fn run(
        mut self,
        tree: &RootTree,
        image: &Path,
        uuid_source: [u8; 32],
        epoch: u64,
        step: &Step,
    ) -> Result<(), SealError> {
        let folder = image.parent().unwrap_or(Path::new("."));
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
        self.command
            .env("SOURCE_DATE_EPOCH", epoch.to_string())
            .env("TMPDIR", folder)
            .args(COMPRESSION)
            .args(["-b4096", "-x-1", "--quiet"])
            .arg(format!("-T{epoch}"))
            .arg(format!("-U{}", uuid_text(&as_uuid(&uuid_source))))
            .arg(format!("--workers={workers}"))
            .arg("--tar=f")
            .arg(image)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let program = self.command.get_program().to_string_lossy().into_owned();
        let mut child = self.command.spawn().map_err(|source| SealError::Start { program, source })?;
        let stderr = child.stderr.take();
        let reader = std::thread::spawn(move || stderr.map(last_lines).unwrap_or_default());
        let streamed = match child.stdin.take() {
            Some(stdin) => write_tar(tree, epoch, BufWriter::with_capacity(1 << 20, stdin), |n| step.add(n))
                .and_then(|out| out.into_inner().map(drop).map_err(|e| TarError::Write(e.into_error()))),
            None => Ok(()),
        };
        if matches!(&streamed, Err(e) if !matches!(e, TarError::Write(_))) {
            // Our own input failed: what mkfs would make of half a stream is worth nothing.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|source| SealError::Io {
            action: "wait for mkfs.erofs to write",
            path: image.into(),
            source,
        })?;
        let lines = reader.join().unwrap_or_default();
        match streamed {
            Err(e) if !matches!(e, TarError::Write(_)) => return Err(e.into()),
            // A broken pipe is a symptom: mkfs's own words and status tell why.
            Err(e) if status.success() => return Err(e.into()),
            Err(_) | Ok(()) => {}
        }
        if !status.success() {
            return Err(SealError::Mkfs { status: status.to_string(), lines, folder: folder.into() });
        }
        whole_blocks(image)
    }
}

/// dm-verity hashes whole blocks, and mkfs.erofs writes whole blocks; a file of another size is not its work.
fn whole_blocks(image: &Path) -> Result<(), SealError> {
    let size = std::fs::metadata(image)
        .map_err(|source| SealError::Io { action: "read", path: image.into(), source })?
        .len();
    if size == 0 || size % nodeimg_contract::verity::BLOCK as u64 != 0 {
        return Err(SealError::OddSize { size });
    }
    Ok(())
}

fn uuid_text(u: &[u8; 16]) -> String {
    let h = hex::encode(u);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

fn last_lines(stderr: impl Read) -> Vec<String> {
    let mut reader = BufReader::new(stderr);
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        // Bounded: a child that writes no newline must not fill our memory.
        match io::Read::take(&mut reader, 4096).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return lines.into(),
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !text.is_empty() {
                    if lines.len() == LAST_LINES {
                        lines.pop_front();
                    }
                    lines.push_back(text);
                }
            }
        }
    }
}
