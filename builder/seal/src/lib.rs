//! Root tree to EROFS, dm-verity hash tree and root hash
