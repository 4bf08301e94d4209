//! GPT partition types and names.
//!
//! Types: UAPI group, Discoverable Partitions Specification (x86-64).

/// EFI system partition.
pub const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// Root file system, x86-64.
pub const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
/// dm-verity hash tree of a root, x86-64.
pub const ROOT_VERITY: &str = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5";
/// The state partition: our own type, so that nobody else's `/var` is ever taken for it.
pub const STATE: &str = "6e6f6465-696d-4721-8a73-746174650001";

/// GPT name of a root partition.
pub const ROOT_NAME: &str = "nodeimg-root";
/// GPT name of a verity partition.
pub const ROOT_VERITY_NAME: &str = "nodeimg-verity";
/// GPT name and ext4 label of the state partition.
pub const STATE_NAME: &str = "nodeimg-state";
/// File system label of a NoCloud seed (cloud-init accepts both spellings of case).
pub const SEED_LABEL: &str = "cidata";
/// Bytes of a logical sector that images are laid out for.
pub const SECTOR: u64 = 512;
/// Version of the state partition's folder layout, in `/var/lib/nodeimg/layout`.
pub const STATE_LAYOUT: u32 = 1;
