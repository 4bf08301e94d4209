//! KVM where it truly works, else TCG.
//!
//! `/dev/kvm` may open, answer every ioctl and even run a few instructions, and still hang a guest (nested
//! virtualisation, filtered hypervisors), or emulate all of them one by one and stop at the first that its emulator does not
//! know. So a guest decides: firmware, a boot sector from a disk, protected mode, one instruction that only a processor
//! carries out, one write to QEMU's debug exit port. It answers within a second where KVM works.

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

/// A boot sector. Protected mode, because there a processor needs no help with any instruction; the coprocessor, because
/// KVM's emulator knows none of its arithmetic and every processor does.
#[rustfmt::skip]
const BOOT_CODE: [u8; 70] = [
    0xfa,                                     // cli
    0x31, 0xc0,                               // xor ax, ax
    0x8e, 0xd8,                               // mov ds, ax
    0x66, 0x0f, 0x01, 0x16, 0x40, 0x7c,       // lgdt [0x7c40]
    0x0f, 0x20, 0xc0,                         // mov eax, cr0
    0x0c, 0x01,                               // or al, 1
    0x0f, 0x22, 0xc0,                         // mov cr0, eax
    0xea, 0x18, 0x7c, 0x08, 0x00,             // jmp 8:0x7c18
    0xdb, 0xe3,                               // fninit
    0xd9, 0xe8,                               // fld1
    0xdd, 0xd8,                               // fstp st(0)
    0xb0, ANSWER,                             // mov al, ANSWER
    0xe6, 0xf4,                               // out 0xf4, al
    0xf4,                                     // hlt
    0xeb, 0xfd,                               // jmp back to hlt
    0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,                   // 0x7c28: the descriptors: none,
    0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0,       // code, 4 GiB from 0,
    0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0,       // data, the same
    0x17, 0, 0x28, 0x7c, 0, 0,                // 0x7c40: their table's size and place
];

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
        Answer::Stopped(text) => tcg(format!("TCG (software), because KVM stopped a guest: {text}")),
        Answer::Failed(text) => tcg(format!("TCG (software), because QEMU cannot use KVM: {text}")),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    Silence,
    /// No answer, and QEMU complains.
    Stopped(String),
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
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() >= deadline => break None,
            // A child has no event to wait on with a deadline but its end: ask often.
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(source) => return Err(VmError::Start { program: program.name(), source }),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    let mut text = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    // An assertion or the registers may follow: the first error says more.
    let line = text.lines().find(|l| l.contains("error")).or(text.lines().last()).map(str::to_owned);
    Ok(match ended {
        Some(status) if status.code() == Some(ANSWER_STATUS) => Answer::Yes,
        Some(status) => Answer::Failed(line.unwrap_or_else(|| status.to_string())),
        None => line.map_or(Answer::Silence, Answer::Stopped),
    })
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
        assert_eq!(
            ask("echo KVM internal error. >&2; echo RAX=0 >&2; exec sleep 1000", Duration::from_millis(500)),
            Answer::Stopped("KVM internal error.".into())
        );
    }
}
