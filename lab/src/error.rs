//! What can go wrong in a lab.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A lab or one of its machines did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces, loop devices and mounts are root's.
    #[error("a lab of namespaces needs root\nhelp: run it as root")]
    NotRoot,
    /// The kernel refused.
    #[error("cannot {action} \"{object}\": {source}")]
    Kernel {
        /// A verb.
        action: &'static str,
        /// On what.
        object: String,
        /// Why.
        source: io::Error,
    },
    /// The image has no root that can be mounted.
    #[error("\"{}\" is no root image: {cause}\nhelp: build it with \"nodeimg build\"", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The lab has no such machine.
    #[error("the lab has no node \"{0}\"")]
    NoNode(String),
    /// It is not in the state that this needs.
    #[error("node \"{node}\" is {state}")]
    Power {
        /// Which.
        node: String,
        /// On or off.
        state: &'static str,
    },
    /// Its disk keeps everything at once.
    #[error("the disk of node \"{node}\" has no volatile cache\nhelp: DiskKind::Volatile needs /dev/fuse")]
    Disk {
        /// Which.
        node: String,
    },
    /// A product image has nobody who would run a command for the host, and gets nobody.
    #[error(
        "node \"{node}\" is a virtual machine: nothing in it runs commands for the host\nhelp: ask the cluster with kubectl"
    )]
    NoAgent {
        /// Which.
        node: String,
    },
    /// QEMU did not do what was asked.
    #[error("node \"{node}\": {source}")]
    Vm {
        /// Which.
        node: String,
        /// Why.
        source: nodeimg_qemu::VmError,
    },
    /// A command in a node did not end well.
    #[error("\"{command}\" in node \"{node}\" failed: {complaint}")]
    Command {
        /// Which.
        node: String,
        /// What was run.
        command: String,
        /// How it ended, and its last words.
        complaint: String,
    },
    /// Something did not come in time. Carries the consoles, for whoever has to find out why.
    #[error("{what} did not come within {} s\n{seen}", limit.as_secs())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What the nodes said.
        seen: String,
    },
}

impl LabError {
    /// For `map_err` on an I/O result.
    pub(crate) fn kernel<E: Into<io::Error>>(
        action: &'static str,
        object: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let object = object.into();
        move |e| LabError::Kernel { action, object, source: e.into() }
    }
}
