//! What every machine of a lab can do, whichever driver stands behind it.

use crate::error::LabError;
use nodeimg_contract::status::NodeStatus;
use std::time::Duration;

/// How a run of a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It went down by itself, in order.
    PowerOff,
    /// It went down to start again.
    Reboot,
    /// Its power was cut, or its PID 1 ended as no PID 1 may.
    Cut,
}

/// What a command in a machine said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// One machine. All of it may be called from several threads.
pub trait Machine: Send + Sync {
    /// Its name in the lab, which is its seed's.
    fn name(&self) -> &str;
    /// Boots. Returns when PID 1 runs (a virtual machine: when it has said its first word).
    fn power_on(&self) -> Result<(), LabError>;
    /// Ends everything at once. Nothing that runs inside gets a word in. Returns when nothing of it is left.
    fn power_cut(&self) -> Result<(), LabError>;
    /// Presses the power button: an orderly shutdown. Returns when the machine is off.
    fn power_off(&self, limit: Duration) -> Result<(), LabError>;
    /// An orderly reboot. Returns when PID 1 of the next boot runs. A virtual machine has no button for it: it is powered
    /// off and on.
    fn reboot(&self, limit: Duration) -> Result<(), LabError>;
    /// Whether it runs.
    fn is_on(&self) -> bool;
    /// Makes the state disk blank. The machine must be off.
    fn wipe_disk(&self) -> Result<(), LabError>;
    /// Takes the state disk away; from a running machine only before it is mounted, from a virtual one only while it is
    /// off.
    fn unplug_disk(&self) -> Result<(), LabError>;
    /// Puts it back; a virtual machine must be off.
    fn plug_disk(&self) -> Result<(), LabError>;
    /// Pulls the network cable, or puts it back.
    fn link(&self, up: bool) -> Result<(), LabError>;
    /// Everything that this boot and those before have said on the console.
    fn console(&self) -> String;
    /// What nodeinit last said of this boot; none before its first word.
    fn status(&self) -> Option<NodeStatus>;
    /// Runs a program inside, as root. In a virtual machine nobody is who could: an error ([`LabError::NoAgent`]).
    fn exec(&self, command: &[&str], limit: Duration) -> Result<Answer, LabError>;
}
