//! Sealed root to kernel, initramfs, command line and UKI
