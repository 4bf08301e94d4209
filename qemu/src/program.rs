//! Which QEMU is started, and how.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A QEMU for x86-64 guests with its firmware. Whoever has one (a tools tree, a distribution) describes it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuProgram {
    /// Program and what must stand before QEMU's own arguments (`ld.so --library-path … qemu-system-x86_64 -L …`).
    pub command: Vec<OsString>,
    /// Environment variables to set; nothing else is handed on.
    pub environment: Vec<(OsString, OsString)>,
    /// UEFI firmware code (`OVMF_CODE_4M.fd`), for [`crate::Boot::Uefi`].
    pub ovmf_code: Option<PathBuf>,
    /// UEFI variables to begin with (`OVMF_VARS_4M.fd`); every machine gets a copy.
    pub ovmf_vars: Option<PathBuf>,
}

impl QemuProgram {
    /// From a command that starts `qemu-system-x86_64` and has none of a machine's arguments yet.
    pub fn from_command(command: &Command) -> Self {
        let program = [command.get_program()].into_iter().chain(command.get_args());
        let environment = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        Self { command: program.map(OsString::from).collect(), environment, ovmf_code: None, ovmf_vars: None }
    }

    /// With this firmware.
    pub fn with_ovmf(mut self, code: PathBuf, vars: PathBuf) -> Self {
        self.ovmf_code = Some(code);
        self.ovmf_vars = Some(vars);
        self
    }

    /// A command ready for a machine's arguments.
    pub(crate) fn start(&self) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words).env_clear().envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        self.command.first().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
    }
}
