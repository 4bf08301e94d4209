//! What is done with several machines at once, whichever driver stands behind them.

use crate::error::LabError;
use crate::machine::Machine;
use crate::said::News;
use nodeimg_contract::status::milestone;
use std::time::Duration;

/// Lines of each console that an error shows.
const LINES: usize = 60;

/// The machines of a lab.
pub(crate) struct Together<'a> {
    pub(crate) machines: Vec<&'a dyn Machine>,
    pub(crate) news: &'a News,
}

impl<'a> Together<'a> {
    pub(crate) fn find(&self, name: &str) -> Result<&'a dyn Machine, LabError> {
        let found = self.machines.iter().find(|m| m.name() == name);
        found.copied().ok_or_else(|| LabError::NoNode(name.to_owned()))
    }

    fn those(&self, names: &[&str]) -> Result<Vec<&'a dyn Machine>, LabError> {
        names.iter().map(|n| self.find(n)).collect()
    }

    /// Does it with each of these at the same time.
    pub(crate) fn each(
        &self,
        names: &[&str],
        work: impl Fn(&dyn Machine) -> Result<(), LabError> + Sync,
    ) -> Result<(), LabError> {
        let (machines, work) = (self.those(names)?, &work);
        std::thread::scope(|scope| {
            let threads: Vec<_> = machines.into_iter().map(|m| scope.spawn(move || work(m))).collect();
            threads.into_iter().try_for_each(|t| match t.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// Waits until all of these say that they are Ready and steady.
    pub(crate) fn until_ready(&self, names: &[&str], limit: Duration) -> Result<(), LabError> {
        let machines = self.those(names)?;
        // A machine that is off will not come.
        let off = || machines.iter().find(|m| !m.is_on());
        let ready = |machine: &&dyn Machine| {
            machine.status().is_some_and(|s| {
                s.ready == Some(true) && s.milestones.iter().any(|m| m.name == milestone::STEADY)
            })
        };
        let all = || machines.iter().all(ready);
        self.until(&format!("Ready of {}", names.join(", ")), limit, || all() || off().is_some())?;
        match off() {
            Some(machine) => Err(LabError::Power { node: machine.name().to_owned(), state: "off" }),
            None => Ok(()),
        }
    }

    /// Waits for anything; at the deadline the error shows the consoles.
    pub(crate) fn until(
        &self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut() -> bool,
    ) -> Result<(), LabError> {
        let came = self.news.until(limit, || done().then_some(()));
        came.ok_or_else(|| LabError::Deadline { what: what.to_owned(), limit, seen: self.consoles() })
    }

    /// The last lines of every console.
    pub(crate) fn consoles(&self) -> String {
        let tail = |machine: &&dyn Machine| {
            let text = machine.console();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
            format!("== {} ==\n{last}\n", machine.name())
        };
        self.machines.iter().map(tail).collect()
    }
}
