//! Virtual machines under QEMU
