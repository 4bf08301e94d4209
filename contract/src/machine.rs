//! A node that is no machine of its own: the lab's driver `namespace` says so in one file, before PID 1 starts.
//!
//! nodeinit reads [`MACHINE`] once, and nothing else decides how it behaves: no file, the node has a kernel of its own.
//! The file lies on `/run`, a fresh tmpfs that only who starts PID 1 can have written to. What it changes, all of it:
//!
//! - no modules, no udevd, no sysctls but those of the network namespace (the kernel is the host's);
//! - the command line is [`Namespace::command_line`], never the host's;
//! - a disk is a machine's disk if it has a node in `/dev`, a link is hardware if it is one of [`Namespace::links`];
//! - the clock is the host's plus [`Namespace::clock_offset_seconds`], and setting it changes that offset alone;
//! - cgroups stay as they are mounted when they are v1, and the kubelet is told not to mind;
//! - containerd and kube-proxy leave alone what a namespace may not set.

use serde::{Deserialize, Serialize};

/// Where the document lies.
pub const MACHINE: &str = "/run/nodeimg/machine.json";
/// Version of the document.
pub const SCHEMA: u32 = 1;

/// A machine made of namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Namespace {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Stands for the kernel's command line.
    pub command_line: String,
    /// What is mounted at `/sys/fs/cgroup`.
    pub cgroups: Cgroups,
    /// Whether processes may lower their `oom_score_adj` (CAP_SYS_RESOURCE).
    pub lowers_oom_score: bool,
    /// Names of links that count as hardware.
    pub links: Vec<String>,
    /// Seconds by which nodeinit's clock differs from the host's.
    #[serde(default)]
    pub clock_offset_seconds: i64,
}

/// Version of the control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cgroups {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy.
    V2,
}

/// The file is there and is not what it has to be.
#[derive(Debug, thiserror::Error)]
pub enum NotAMachine {
    /// No such document.
    #[error("it is no machine document: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Of another version.
    #[error("its schema is {0}, this nodeinit knows {SCHEMA}")]
    Schema(u32),
}

impl Namespace {
    /// Reads the document.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAMachine> {
        let machine: Self = serde_json::from_slice(bytes)?;
        if machine.schema == SCHEMA { Ok(machine) } else { Err(NotAMachine::Schema(machine.schema)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_and_unknown_fields_are_refused() {
        let machine = Namespace {
            schema: SCHEMA,
            command_line: "ds=nocloud".into(),
            cgroups: Cgroups::V1,
            lowers_oom_score: false,
            links: vec!["eth0".into()],
            clock_offset_seconds: -600,
        };
        let text = serde_json::to_string(&machine).expect("written");
        assert_eq!(Namespace::parse(text.as_bytes()).expect("read"), machine);
        let newer = text.replace("\"schema\":1", "\"schema\":2");
        assert!(matches!(Namespace::parse(newer.as_bytes()), Err(NotAMachine::Schema(2))));
        let more = text.replace("\"schema\"", "\"x\":1,\"schema\"");
        assert!(matches!(Namespace::parse(more.as_bytes()), Err(NotAMachine::Malformed(_))));
        assert!(Namespace::parse(b"").is_err());
    }
}
