//! The driver `qemu`: virtual machines, firmware or kernel to pods, on a switch of the lab's own.
//!
//! Takes built images, seeds and a QEMU; gives machines. Needs no root. May touch: processes of QEMU (which end with the
//! lab, also when it is killed), files in the lab's folder, Unix sockets in the folder for temporary files, ports of
//! 127.0.0.1 that lead to API servers. Frames never leave the lab. Nothing is added to an image: what a machine cannot do
//! without somebody inside, this driver does not do.

mod hub;
mod lab;
mod machine;
mod switch;

pub use lab::{QemuLab, QemuLabSpec, QemuNodeSpec};
pub use machine::QemuMachine;
