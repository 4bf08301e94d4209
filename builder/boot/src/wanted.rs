//! Which kernel modules the initramfs carries, beside what they depend on.
//!
//! Data. A line is a module or a folder (with a trailing slash) below `/usr/lib/modules/RELEASE/kernel/`. The aim: any
//! server or virtual machine finds its root, its seed and its network before the root is mounted.

/// Modules and folders that are taken where the kernel has them.
pub(crate) const WANTED: &[&str] = &[
    // the root: EROFS on dm-verity, and the checksums that they ask for
    "arch/x86/crypto/crc32c-intel",
    "arch/x86/crypto/sha256-ssse3",
    "crypto/crc32c_generic",
    "drivers/block/loop",
    "drivers/md/dm-mod",
    "drivers/md/dm-verity",
    "fs/erofs/",
    // seeds: NoCloud disks and config drives
    "fs/fat/fat",
    "fs/fat/msdos",
    "fs/fat/vfat",
    "fs/isofs/",
    "fs/nls/nls_ascii",
    "fs/nls/nls_cp437",
    "fs/nls/nls_iso8859-1",
    "fs/nls/nls_utf8",
    // firmware
    "drivers/char/hw_random/",
    "drivers/firmware/dmi-sysfs",
    "drivers/firmware/qemu_fw_cfg",
    "fs/efivarfs/",
    // hypervisors
    "drivers/block/virtio_blk",
    "drivers/block/xen-blkfront",
    "drivers/char/virtio_console",
    "drivers/hv/hv_utils",
    "drivers/hv/hv_vmbus",
    "drivers/net/hyperv/",
    "drivers/net/virtio_net",
    "drivers/net/vmxnet3/",
    "drivers/net/xen-netfront",
    "drivers/pci/controller/",
    "drivers/scsi/hv_storvsc",
    "drivers/scsi/virtio_scsi",
    "drivers/scsi/vmw_pvscsi",
    "drivers/scsi/xen-scsifront",
    "drivers/virtio/virtio_mmio",
    "drivers/virtio/virtio_pci",
    // disks and optical drives
    "drivers/ata/",
    "drivers/cdrom/",
    "drivers/message/fusion/",
    "drivers/mmc/core/",
    "drivers/mmc/host/sdhci-acpi",
    "drivers/mmc/host/sdhci-pci",
    "drivers/nvme/host/nvme",
    "drivers/nvme/host/nvme-core",
    "drivers/scsi/",
    // USB, for sticks, virtual media and keyboards
    "drivers/hid/hid",
    "drivers/hid/hid-generic",
    "drivers/hid/usbhid/usbhid",
    "drivers/usb/host/",
    "drivers/usb/storage/",
    // network cards
    "drivers/net/ethernet/",
    "drivers/net/phy/",
];

/// What [`WANTED`] folders hold and a node does not boot from: fabrics that need a service, PCMCIA, test devices,
/// Infiniband offloads.
pub(crate) const UNWANTED: &[&str] = &[
    "drivers/ata/pata_pcmcia",
    "drivers/net/ethernet/8390/pcnet_cs",
    "drivers/net/ethernet/8390/axnet_cs",
    "drivers/net/ethernet/mellanox/mlxsw/",
    "drivers/scsi/be2iscsi/",
    "drivers/scsi/bnx2fc/",
    "drivers/scsi/bnx2i/",
    "drivers/scsi/ch",
    "drivers/scsi/csiostor/",
    "drivers/scsi/cxgbi/",
    "drivers/scsi/device_handler/",
    "drivers/scsi/fcoe/",
    "drivers/scsi/iscsi_tcp",
    "drivers/scsi/pcmcia/",
    "drivers/scsi/qedf/",
    "drivers/scsi/qedi/",
    "drivers/scsi/scsi_debug",
    "drivers/scsi/ses",
    "drivers/scsi/st",
    "drivers/usb/host/sl811_cs",
];

/// Without these a node cannot mount its root: as files or built into the kernel.
pub(crate) const REQUIRED: &[&str] = &["dm_mod", "dm_verity", "erofs"];
