//! The state partition: found, prepared with consent, mounted at `/var`.
//!
//! Takes what the seed says about a disk. Gives a mounted state partition with its folders, or says what is in the way
//! and waits. May touch: a disk for which init-core's rules give consent, mounts below `/var` and `/etc`.
//! Never writes to any other disk.

mod format;
mod layout;
mod observe;

pub use layout::VAR;

use crate::mounts;
use crate::process::Processes;
use crate::report::Reporter;
use nix::mount::MsFlags;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::seed;
use nodeimg_init_core::consent::{self, Consent, Decision, DiskFacts, wipe_of_ours};
use std::process::Command;
use std::time::Duration;

/// Deadline of the wait for a disk; the wait goes on after it.
const DISK_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Limit of one check of a file system.
const CHECK_LIMIT: Duration = Duration::from_secs(1800);

/// What stands behind `/var`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A state partition that was there before.
    Kept,
    /// A state partition that was made now.
    New,
    /// Memory: gone with the next boot.
    Memory,
}

/// What the node does when no disk suits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutDisk {
    /// Waits: a control plane must not forget.
    Wait,
    /// Goes on in memory after the deadline (workers and load balancers).
    Memory,
}

/// Mounts the state partition, preparing it if that is consented to. Waits until that is possible; `give_up` is asked
/// all the while, and when it says yes, none is returned.
pub fn mount(
    reporter: &Reporter,
    processes: &Processes,
    named: Option<&seed::Disk>,
    without: WithoutDisk,
    mut give_up: impl FnMut() -> bool,
) -> Option<State> {
    let fault = Fault {
        code: Code::DiskMissing,
        object: "state disk".to_owned(),
        cause: "no disk was looked at yet".to_owned(),
        help: "add a blank disk of at least 1 GiB, or name one by its serial number below nodeimg.disk in the seed"
            .to_owned(),
    };
    let begun = std::time::Instant::now();
    let wait = reporter.waiting("a disk for the state", DISK_DEADLINE, fault);
    loop {
        match try_once(reporter, processes, named) {
            Ok(Step::Mounted(state)) => {
                for code in [Code::DiskForeign, Code::DiskFailed, Code::DiskLayout] {
                    reporter.clear_fault(code);
                }
                return Some(state);
            }
            Ok(Step::Nothing(seen)) => wait.cause(seen),
            Err(fault) => reporter.fault(fault),
        }
        if without == WithoutDisk::Memory && begun.elapsed() >= DISK_DEADLINE {
            return match in_memory(reporter) {
                Ok(()) => Some(State::Memory),
                Err(fault) => {
                    reporter.fault(fault);
                    None
                }
            };
        }
        if give_up() {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Mounts a state partition that is there already, without a seed. False when there is none, or no single one.
pub fn mount_kept(reporter: &Reporter, processes: &Processes) -> bool {
    if mounts::is_mounted(VAR) {
        return true;
    }
    let Decision::Use { partition, .. } = consent::decide(&observe::disks(), None) else { return false };
    match mount_partition(reporter, processes, &partition) {
        Ok(()) => true,
        Err(fault) => {
            reporter.fault(fault);
            false
        }
    }
}

enum Step {
    Mounted(State),
    Nothing(String),
}

fn try_once(reporter: &Reporter, processes: &Processes, named: Option<&seed::Disk>) -> Result<Step, Fault> {
    let disks = observe::disks();
    match consent::decide(&disks, named) {
        Decision::Use { disk, partition } => {
            if !mounts::is_mounted(VAR) {
                mount_partition(reporter, processes, &partition)?;
            }
            match asked_wipe(&disks, &disk, named) {
                Some((consent, used)) => {
                    let _ = mounts::unmount(VAR, false);
                    prepare(reporter, processes, &disks, &consent, used)
                }
                None => Ok(Step::Mounted(State::Kept)),
            }
        }
        Decision::Prepare(consent) => prepare(reporter, processes, &disks, &consent, Vec::new()),
        Decision::None { seen } => Ok(Step::Nothing(seen)),
        Decision::Foreign { disk, serial, found } => Err(foreign(&disk, serial.as_deref(), &found)),
        Decision::Ambiguous { disks } => Err(Fault {
            code: Code::DiskMissing,
            object: "state disk".to_owned(),
            cause: format!("more than one disk would do, and nodeimg does not guess: {disks}"),
            help:
                "name one in the seed: nodeimg: { disk: { serial: … } }, and reboot; or take the others away"
                    .to_owned(),
        }),
    }
}

fn foreign(disk: &str, serial: Option<&str>, found: &str) -> Fault {
    let help = match serial {
        Some(serial) => format!(
            "if its data may go, consent in the seed: nodeimg: {{ disk: {{ serial: \"{serial}\", wipe: \"a new word\" }} }}, \
             and reboot; or add a blank disk"
        ),
        None => "it has no serial number to consent with: wipe its first and last MiB yourself, or add a blank disk"
            .to_owned(),
    };
    Fault {
        code: Code::DiskForeign,
        object: format!("{disk} (serial number {})", serial.unwrap_or("unknown")),
        cause: format!("it holds {found}; nothing was written to it"),
        help,
    }
}

fn asked_wipe(disks: &[DiskFacts], disk: &str, named: Option<&seed::Disk>) -> Option<(Consent, Vec<String>)> {
    let facts = disks.iter().find(|d| d.name == disk)?;
    let used = layout::used_wipe_words();
    wipe_of_ours(facts, named, &used).map(|consent| (consent, used))
}

fn prepare(
    reporter: &Reporter,
    processes: &Processes,
    disks: &[DiskFacts],
    consent: &Consent,
    mut used: Vec<String>,
) -> Result<Step, Fault> {
    let failed = |cause: String| Fault {
        code: Code::DiskFailed,
        object: consent.disk().to_owned(),
        cause,
        help: "check the disk and its cable; trying goes on".to_owned(),
    };
    let size = disks.iter().find(|d| d.name == consent.disk()).map_or(0, |d| d.size);
    let why = consent.wipe().map_or("it is blank".to_owned(), |w| format!("the seed consents with \"{w}\""));
    reporter.line(format!("disk {} ({} MiB) becomes the state disk: {why}", consent.disk(), size >> 20));
    let partition = format::format(processes, consent).map_err(|e| failed(e.to_string()))?;
    mount_partition(reporter, processes, &partition)?;
    used.extend(consent.wipe().map(str::to_owned));
    layout::record_wipe_words(&used).map_err(|e| failed(e.to_string()))?;
    Ok(Step::Mounted(State::New))
}

fn mount_partition(reporter: &Reporter, processes: &Processes, partition: &str) -> Result<(), Fault> {
    let device = format!("/dev/{partition}");
    let failed = |cause: String| Fault {
        code: Code::DiskFailed,
        object: partition.to_owned(),
        cause,
        help: format!(
            "check the disk; \"e2fsck -f {device}\" from a rescue system repairs a file system; trying goes on"
        ),
    };
    if !observe::is_clean(partition) {
        reporter.line(format!("file system on {partition} was not unmounted: checking it"));
        let mut check = Command::new("e2fsck");
        check.args(["-p", &device]);
        let done = processes.run(check, CHECK_LIMIT).map_err(|e| failed(e.to_string()))?;
        // e2fsck(8): 1 is corrected, 2 asks for a reboot where it was mounted; 4 and more is not repaired.
        match done.status {
            crate::process::Exit::Code(0..=3) => {}
            status => return Err(failed(format!("e2fsck ended with {status}: {}", done.complaint()))),
        }
    }
    mounts::mount(&device, VAR, Some("ext4"), MsFlags::MS_NOATIME | MsFlags::MS_NODEV, "")
        .map_err(|e| failed(e.to_string()))?;
    layout::check_and_make().inspect_err(|_| {
        let _ = mounts::unmount(VAR, true);
    })
}

fn in_memory(reporter: &Reporter) -> Result<(), Fault> {
    let failed = |cause: String| Fault {
        code: Code::DiskFailed,
        object: VAR.to_owned(),
        cause,
        help: "add a blank disk".to_owned(),
    };
    mounts::mount("tmpfs", VAR, Some("tmpfs"), MsFlags::MS_NODEV, "mode=0755,size=60%")
        .map_err(|e| failed(e.to_string()))?;
    layout::check_and_make()?;
    reporter.warn("this node has no state disk: its state is in memory and gone with the next boot");
    Ok(())
}
