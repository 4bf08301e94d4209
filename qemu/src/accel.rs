//! KVM where it truly works, else TCG.
//!
//! `/dev/kvm` may open, answer every ioctl and even run a few instructions, and still hang a guest (nested
//! virtualisation, filtered hypervisors). So a guest decides: firmware, a boot sector from a disk, one write to QEMU's
//! debug exit port. It answers within a second where KVM works.

use crate::error::VmError;
use crate::program::QemuProgram;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG",
        })
    }
}

/// What was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccelChoice {
    /// What to use.
    pub accel: Accel,
    /// One line for the person who waits.
    pub why: String,
}

const KVM: &str = "/dev/kvm";
/// A guest under a KVM that works answers in well under a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// isa-debug-exit ends QEMU with (value << 1) | 1.
const ANSWER: u8 = 0x10;
const ANSWER_STATUS: i32 = (ANSWER as i32) << 1 | 1;

/// mov al, ANSWER; out 0xf4, al; hlt; jmp back to hlt.
const BOOT_CODE: [u8; 7] = [0xb0, ANSWER, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];

/// Asks a guest. Takes up to some seconds where KVM is broken: ask once, keep the answer. Never fails because of KVM.
pub fn choose_accel(program: &QemuProgram) -> Result<AccelChoice, VmError> {
    let tcg = |why: String| AccelChoice { accel: Accel::Tcg, why };
    if let Err(e) = OpenOptions::new().read(true).write(true).open(KVM) {
        return Ok(tcg(format!("TCG (software), because {KVM} cannot be opened: {e}")));
    }
    Ok(match probe(program, Accel::Kvm, PATIENCE)? {
        Answer::Yes => AccelChoice { accel: Accel::Kvm, why: "KVM (a guest answered)".into() },
        Answer::Silence => tcg(format!(
            "TCG (software), because a guest under KVM did not answer within {} s",
            PATIENCE.as_secs()
        )),
        Answer::Failed(text) => tcg(format!("TCG (software), because QEMU cannot use KVM: {text}")),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    Silence,
    Failed(String),
}

fn probe(program: &QemuProgram, accel: Accel, patience: Duration) -> Result<Answer, VmError> {
    let dir = tempfile::Builder::new().prefix("nodeimg-probe-").tempdir();
    let dir = dir.map_err(|source| VmError::Io {
        action: "create a folder in",
        path: std::env::temp_dir(),
        source,
    })?;
    let disk = dir.path().join("disk");
    let mut bytes = vec![0u8; 1 << 20];
    bytes[..BOOT_CODE.len()].copy_from_slice(&BOOT_CODE);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&disk, bytes).map_err(|source| VmError::Io { action: "write", path: disk.clone(), source })?;
    let mut command = program.start();
    arguments(&mut command, accel, &disk);
    // A QEMU that aborts may leave a core file: it goes with the folder.
    command.current_dir(dir.path());
    let mut child = command.spawn().map_err(|source| VmError::Start { program: program.name(), source })?;
    let deadline = Instant::now() + patience;
    let answer = loop {
        match child.try_wait() {
            Ok(Some(status)) if status.code() == Some(ANSWER_STATUS) => break Answer::Yes,
            Ok(Some(status)) => {
                let mut text = String::new();
                if let Some(stderr) = child.stderr.take() {
                    let _ = stderr.take(4096).read_to_string(&mut text);
                }
                // An assertion may follow: the first error says more.
                let line = text.lines().find(|l| l.contains("error:")).or(text.lines().last());
                break Answer::Failed(line.map_or_else(|| status.to_string(), str::to_owned));
            }
            Ok(None) if Instant::now() >= deadline => break Answer::Silence,
            // A child has no event to wait on with a deadline but its end: ask often.
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(source) => return Err(VmError::Start { program: program.name(), source }),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    Ok(answer)
}

fn arguments(command: &mut Command, accel: Accel, disk: &Path) {
    let (accel, cpu) = match accel {
        Accel::Kvm => ("kvm", "host"),
        Accel::Tcg => ("tcg", "max,la57=off"),
    };
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-accel", accel, "-cpu", cpu])
        .args(["-M", "q35", "-m", "64", "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive"])
        .arg(format!("if=ide,format=raw,snapshot=on,file={}", disk.display()))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qemu(test: &str) -> Option<QemuProgram> {
        nodeimg_test_programs::tool(test, "qemu-system-x86_64").map(|c| QemuProgram::from_command(&c))
    }

    #[test]
    fn a_guest_answers_under_tcg() {
        let Some(program) = qemu("a_guest_answers_under_tcg") else { return };
        assert_eq!(probe(&program, Accel::Tcg, Duration::from_secs(60)).expect("probe"), Answer::Yes);
    }

    #[test]
    fn kvm_is_believed_only_when_a_guest_answers() {
        let Some(program) = qemu("kvm_is_believed_only_when_a_guest_answers") else { return };
        let choice = choose_accel(&program).expect("choice");
        let answered = probe(&program, Accel::Kvm, PATIENCE).expect("probe") == Answer::Yes;
        assert_eq!(choice.accel == Accel::Kvm, answered, "{}", choice.why);
    }

    #[test]
    fn silence_and_failure_are_told_apart() {
        let shell = |script: &str| QemuProgram {
            command: ["sh", "-c", script].map(Into::into).to_vec(),
            environment: std::env::vars_os().filter(|(n, _)| n == "PATH").collect(),
            ovmf_code: None,
            ovmf_vars: None,
        };
        let ask = |script, patience| probe(&shell(script), Accel::Kvm, patience).expect("probe");
        let long = Duration::from_secs(60);
        assert_eq!(ask("exit 33", long), Answer::Yes);
        assert_eq!(
            ask("echo one >&2; echo no such accel >&2; exit 1", long),
            Answer::Failed("no such accel".into())
        );
        assert_eq!(ask("exec sleep 1000", Duration::from_millis(100)), Answer::Silence);
    }
}
