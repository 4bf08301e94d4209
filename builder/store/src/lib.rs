//! The container images as containerd's own store, ready at boot
