//! `root.img`: a GPT disk with the root and its hash tree.
//!
//! Takes a [`Sealed`] root, gives a file and its digest. Writes that file alone. Types, PARTUUIDs and attributes as the
//! UAPI group's Discoverable Partitions Specification has them, so that a node finds its root by the root hash.

use crate::error::OutputError;
use crate::gpt::{Layout, Partition, READ_ONLY, layout};
use nodeimg_contract::image::FileInfo;
use nodeimg_contract::partition;
use nodeimg_progress::Step;
use nodeimg_seal::Sealed;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Blocks of zeros of this size become holes.
const HOLE: usize = 64 << 10;

/// Bytes that [`write`] will write.
pub(crate) fn size(sealed: &Sealed) -> Result<u64, OutputError> {
    Ok(plan(sealed)?.size)
}

fn plan(sealed: &Sealed) -> Result<Layout, OutputError> {
    let hash = sealed.root_hash();
    let partitions = [
        Partition {
            kind: partition::ROOT,
            guid: hash.root_partuuid(),
            name: partition::ROOT_NAME,
            size: sealed.erofs_size(),
            attributes: READ_ONLY,
        },
        Partition {
            kind: partition::ROOT_VERITY,
            guid: hash.verity_partuuid(),
            name: partition::ROOT_VERITY_NAME,
            size: sealed.verity_size(),
            attributes: READ_ONLY,
        },
    ];
    layout(&disk_guid(&hash.to_string()), &partitions).ok_or(OutputError::Layout)
}

/// Version 8 (RFC 9562, custom), derived from the root hash.
fn disk_guid(root_hash: &str) -> String {
    let mut d: [u8; 32] = Sha256::digest(format!("nodeimg root disk {root_hash}")).into();
    d[6] = (d[6] & 0x0f) | 0x80;
    d[8] = (d[8] & 0x3f) | 0x80;
    let h = hex::encode(&d[..16]);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// Writes the disk to a new file, sparse where it is zero.
pub(crate) fn write(sealed: &Sealed, to: &Path, step: &Step) -> Result<FileInfo, OutputError> {
    let plan = plan(sealed)?;
    let writing = |source| OutputError::Io { action: "write", path: to.to_owned(), source };
    let mut out = Sparse { file: File::create_new(to).map_err(writing)?, at: 0, hash: Sha256::new() };
    out.put(&plan.head).map_err(writing)?;
    for (start, part) in plan.starts.iter().zip([sealed.erofs(), sealed.verity()]) {
        let reading = |source| OutputError::Io { action: "read", path: part.clone(), source };
        out.zeros_to(*start).map_err(writing)?;
        let mut file = File::open(&part).map_err(reading)?;
        let mut buf = vec![0; 4 << 20];
        loop {
            let n = file.read(&mut buf).map_err(reading)?;
            if n == 0 {
                break;
            }
            out.put(&buf[..n]).map_err(writing)?;
            step.add(n as u64);
        }
    }
    out.zeros_to(plan.tail_start).map_err(writing)?;
    out.put(&plan.tail).map_err(writing)?;
    if out.at != plan.size {
        return Err(OutputError::Layout);
    }
    out.file.set_len(plan.size).and_then(|()| out.file.sync_data()).map_err(writing)?;
    Ok(FileInfo { size: plan.size, sha256: hex::encode(out.hash.finalize()) })
}

/// Writes in order, leaves holes, and hashes what a reader will see.
struct Sparse {
    file: File,
    at: u64,
    hash: Sha256,
}

impl Sparse {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        for block in bytes.chunks(HOLE) {
            if block.iter().any(|b| *b != 0) {
                self.file.seek(SeekFrom::Start(self.at))?;
                self.file.write_all(block)?;
            }
            self.at += block.len() as u64;
        }
        Ok(())
    }

    fn zeros_to(&mut self, end: u64) -> io::Result<()> {
        let zeros = [0u8; 4096];
        while self.at < end {
            let n = (end - self.at).min(zeros.len() as u64);
            self.hash.update(&zeros[..n as usize]);
            self.at += n;
        }
        Ok(())
    }
}
