//! The packages of the trees that no profile names: the builder's tools, and what goes into container images.
//!
//! They are the same for every profile of a suite; each set is a closure of its own (see [`crate::lock::Set`]).

/// Programs that the builder runs out of its cache.
pub const TOOLS: &[&str] = &[
    "cryptsetup-bin",   // veritysetup: the tests compare our dm-verity hash tree with it
    "e2fsprogs",        // mkfs.ext4 for state disks of `run`
    "erofs-utils",      // mkfs.erofs
    "golang-go",        // the suite's Go, which starts the pinned toolchain
    "kmod",             // depmod
    "mtools",           // looks into FAT file systems (NoCloud disks)
    "ovmf",             // UEFI firmware for `run`
    "qemu-system-x86",  // virtual machines for `run`
    "systemd-boot-efi", // the stub that a UKI begins with
];

/// `nft` and its libraries, for the container images of kube-proxy and flannel.
pub const NFT: &[&str] = &["nftables"];
