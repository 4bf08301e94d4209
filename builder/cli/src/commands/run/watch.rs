//! Watches one machine: its console, its status, the clock, Ctrl-C.
//!
//! Takes events, gives how it ended. Prints the console on standard output and its own words on standard error but for
//! the line with kubectl, which is for copying.

use crate::args::{RunArgs, Until};
use crate::failure::Failure;
use crate::timeline::Timeline;
use nodeimg_contract::status::NodeStatus;
use nodeimg_qemu::{Event, Exit, Vm};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long an orderly shutdown may take before the power is cut.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// How a run ended.
pub enum End {
    /// As asked.
    Done,
    /// Not as asked.
    Failed(Failure),
}

/// What was watched.
pub enum Watched {
    /// A machine that ran; with its timeline if it became Ready.
    Ended(End, Option<Timeline>),
    /// QEMU crashed before the guest had said anything: nothing of the node was done.
    Crashed(Exit),
}

/// What is said when the node is Ready.
#[derive(Clone)]
pub struct ReadyLine {
    /// The payload's kubectl, while the cache has it.
    pub kubectl: Option<PathBuf>,
    /// A kubeconfig that works from this machine, when the cluster's admin kubeconfig is known.
    pub kubeconfig: Option<PathBuf>,
}

/// Where the run is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Booting,
    Ready,
    GoingDown { since: Instant },
}

/// One machine being watched.
pub struct Watch<'a> {
    args: &'a RunArgs,
    console: bool,
    machine: String,
    ready: ReadyLine,
    start: Instant,
    stage: Stage,
    first: Option<(NodeStatus, u64)>,
    last: Option<NodeStatus>,
    failure: Option<Failure>,
    was_ready: bool,
}

impl<'a> Watch<'a> {
    /// Begins now: the machine has just been switched on.
    pub fn new(args: &'a RunArgs, console: bool, machine: String, ready: ReadyLine) -> Self {
        Self {
            args,
            console,
            machine,
            ready,
            start: Instant::now(),
            stage: Stage::Booting,
            first: None,
            last: None,
            failure: None,
            was_ready: false,
        }
    }

    /// Until the machine is off.
    pub fn until_the_end(mut self, vm: &Vm) -> Result<Watched, Failure> {
        let interrupts = count_interrupts()?;
        let mut answered = 0;
        loop {
            match vm.next_event(Duration::from_millis(200)) {
                Some(Event::Console(line)) if self.console => println!("{line}"),
                Some(Event::Status(status)) => self.status(*status, vm)?,
                Some(Event::StatusUnreadable(why)) => eprintln!("status port: {why}"),
                Some(Event::Qemu(line)) => eprintln!("qemu: {line}"),
                Some(Event::Reset) => eprintln!("The node reboots."),
                Some(Event::Exited(exit)) => return Ok(self.off(exit)),
                Some(Event::Console(_)) | None => {}
            }
            let asked = interrupts.load(Ordering::Relaxed);
            if asked > answered {
                answered = asked;
                self.interrupted(asked, vm)?;
            }
            self.clock(vm)?;
        }
    }

    fn status(&mut self, status: NodeStatus, vm: &Vm) -> Result<(), Failure> {
        let on = self.start.elapsed().as_millis() as u64;
        self.first.get_or_insert_with(|| (status.clone(), on));
        if self.stage == Stage::Booting && status.ready == Some(true) {
            self.stage = Stage::Ready;
            self.was_ready = true;
            self.say_ready();
            if self.args.vm.until == Some(Until::Ready) {
                self.go_down(vm)?;
            }
        }
        self.last = Some(status);
        Ok(())
    }

    fn say_ready(&self) {
        eprintln!("\nReady after {:.0} s.", self.start.elapsed().as_secs_f32());
        match (&self.ready.kubectl, &self.ready.kubeconfig) {
            (kubectl, Some(kubeconfig)) => {
                let kubectl = kubectl.as_deref().map_or("kubectl".into(), |p| p.display().to_string());
                println!("{kubectl} --kubeconfig {} get nodes,pods -A", kubeconfig.display());
            }
            (_, None) => eprintln!(
                "The cluster's admin kubeconfig is not beside the seed, so no kubectl line is given."
            ),
        }
        if self.args.vm.until.is_none() {
            eprintln!("Ctrl-C shuts the node down; a second Ctrl-C cuts its power.");
        }
    }

    fn go_down(&mut self, vm: &Vm) -> Result<(), Failure> {
        if !matches!(self.stage, Stage::GoingDown { .. }) {
            self.stage = Stage::GoingDown { since: Instant::now() };
            vm.powerdown()?;
        }
        Ok(())
    }

    fn interrupted(&mut self, times: usize, vm: &Vm) -> Result<(), Failure> {
        if self.stage == Stage::Booting && self.args.vm.until.is_some() {
            self.failure = Some(Failure::new(
                "interrupted before the node was Ready",
                "run it again: with --state DIR it goes on",
            ));
        }
        if times == 1 && !matches!(self.stage, Stage::GoingDown { .. }) {
            eprintln!("\nCtrl-C: shutting the node down; press it again to cut the power.");
            self.go_down(vm)
        } else {
            eprintln!("\nCtrl-C: power cut.");
            vm.power_cut();
            Ok(())
        }
    }

    fn clock(&mut self, vm: &Vm) -> Result<(), Failure> {
        match self.stage {
            Stage::Booting if self.start.elapsed() > self.args.vm.timeout => {
                self.failure = Some(self.too_late());
                self.go_down(vm)
            }
            Stage::GoingDown { since } if since.elapsed() > SHUTDOWN => {
                eprintln!("The node is not down after {} s: power cut.", SHUTDOWN.as_secs());
                vm.power_cut();
                self.stage = Stage::GoingDown { since: Instant::now() };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn too_late(&self) -> Failure {
        let seconds = self.args.vm.timeout.as_secs();
        let Some(last) = &self.last else {
            return Failure::new(
                format!("the node said nothing within {seconds} s"),
                "the console above shows how far it came; --direct leaves the firmware out",
            );
        };
        let mut sentence =
            format!("the node is not Ready after {seconds} s; its last phase is {}", last.phase);
        if let Some(waiting) = &last.waiting {
            sentence.push_str(&format!(", it waits for {}", waiting.what));
        }
        match &last.fault {
            Some(fault) => Failure::new(
                format!("{sentence}\n  {} {}: {}", fault.code, fault.object, fault.cause),
                fault.help.clone(),
            ),
            None => Failure::new(sentence, "give it longer with --timeout 30m, or look at the console above"),
        }
    }

    fn off(self, exit: Exit) -> Watched {
        let end = match (self.failure, self.stage) {
            (Some(failure), _) => End::Failed(failure),
            (None, Stage::GoingDown { .. }) => End::Done,
            (None, Stage::Ready) => {
                eprintln!("The node went down by itself.");
                End::Done
            }
            (None, Stage::Booting) if exit.is_crash() && self.last.is_none() => {
                return Watched::Crashed(exit);
            }
            (None, Stage::Booting) => End::Failed(went_off(exit)),
        };
        // The last status has every milestone; the one that first said Ready may not have that one yet.
        let timeline = match (&self.first, &self.last) {
            (Some((first, power_on_ms)), Some(last)) if self.was_ready => {
                Some(Timeline::new(self.machine, *power_on_ms, first, last))
            }
            _ => None,
        };
        Watched::Ended(end, timeline)
    }
}

/// The machine is off, and nobody had asked for it.
pub fn went_off(exit: Exit) -> Failure {
    let help = if exit.is_crash() {
        "this is a fault of QEMU: run it again; with --state DIR the node goes on"
    } else {
        "the console above shows how far it came"
    };
    Failure::new(format!("the machine went off before the node was Ready ({exit})"), help)
}

/// Counts SIGINT and SIGTERM from now on; the process no longer dies of them.
fn count_interrupts() -> Result<Arc<AtomicUsize>, Failure> {
    let count = Arc::new(AtomicUsize::new(0));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let counted = count.clone();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(count)
}
