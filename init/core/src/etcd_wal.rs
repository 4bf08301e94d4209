//! etcd's write-ahead log: whether it holds anything beyond its birth, and where it ends.
//!
//! Takes the bytes of segments; gives yes or no, or the bytes that make a whole log count as committed. Never reads a file.
//! Source of the format: etcd 3.6 `server/storage/wal/{encoder,decoder,repair,wal}.go`, `walpb/record.proto`,
//! `raftpb/raft.proto`.

mod birth;
mod ending;
mod frame;
#[cfg(test)]
mod tests;

pub use birth::{MAX_BYTES, is_birth_alone};
pub use ending::{Damage, Ending, Log};
