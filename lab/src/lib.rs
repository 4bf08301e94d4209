//! Several machines and their network behind one trait.
//!
//! A scenario is a short function over a [`Lab`]:
//!
//! ```no_run
//! use nodeimg_lab::{Lab, LabSpec, Machine, NodeSpec};
//! use std::time::Duration;
//!
//! # fn scenario() -> Result<(), nodeimg_lab::LabError> {
//! let names = ["cp1", "cp2", "cp3"];
//! let lab = Lab::new(LabSpec {
//!     root_image: "dist/cplane/root.img".into(),
//!     nodeinit: None,
//!     folder: "/dev/shm/nodeimg-lab".into(),
//!     nodes: names.map(|n| NodeSpec::new(n, format!("lab/seeds/{n}"))).into(),
//! })?;
//! lab.power_on(&names)?;
//! lab.until_ready(&names, Duration::from_secs(60))?;
//! lab.node("cp2").power_cut()?;
//! lab.partition(&["cp1"], &["cp3"])?;
//! println!("{:?}\n{:?}", lab.records()?, lab.members());
//! # Ok(())
//! # }
//! ```
//!
//! Seeds are those of `nodeimg cluster new … --network static:ADDRESS/PREFIX`; every address goes, for each lab has a
//! network of its own. What makes a driver's machines differ from a real one stands in the driver's module and, as far
//! as nodeinit is concerned, in `nodeimg_contract::machine`.
//!
//! Takes images, seeds, folders. May touch what the driver's module says. Never touches the host's network or mounts.

pub mod by_hand;
mod command;
mod error;
mod lab;
mod machine;
mod namespace;
mod qemu;
mod said;
mod spec;
mod together;

pub use error::LabError;
pub use lab::{Lab, Member, Members, Records};
pub use machine::{Answer, Ended, Machine};
pub use namespace::{Moment, Node};
pub use qemu::{QemuLab, QemuLabSpec, QemuMachine, QemuNodeSpec};
pub use spec::{DISK_BYTES, DiskKind, LabSpec, NodeSpec};
