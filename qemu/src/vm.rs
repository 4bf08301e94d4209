//! A machine that runs.
//!
//! Takes a spec, gives events. One thread starts QEMU and waits for its end (so that the kernel ends QEMU when that
//! thread, and with it this process, is gone), one each reads the console, QEMU's standard error, the status port and
//! QMP. None of them ever waits for whoever asks for events.

use crate::accel::Accel;
use crate::bzimage;
use crate::command_line::{CARD, Sockets, command_line};
use crate::console::each_line;
use crate::disks::create_esp;
use crate::error::VmError;
use crate::events::{Event, EventQueue, Exit};
use crate::program::QemuProgram;
use crate::qmp::{self, Said};
use crate::spec::{Boot, VmSpec};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

const CONSOLE_LINE: usize = 4096;
const STATUS_LINE: usize = 1 << 20;
const QMP_LINE: usize = 1 << 20;
/// How long QEMU may take from its start to its connection for commands.
const QMP_PATIENCE: Duration = Duration::from_secs(20);

/// A running machine. Dropping it cuts its power and reaps it.
pub struct Vm {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
    /// Holds the sockets until the end.
    _sockets: tempfile::TempDir,
}

#[derive(Default)]
struct Shared {
    events: EventQueue,
    /// The process, while it can be signalled.
    pid: Mutex<Option<Pid>>,
    qmp: Mutex<Option<UnixStream>>,
    qmp_ready: Condvar,
    ended: AtomicBool,
}

impl Vm {
    /// Starts `spec`. `work` is a folder of this machine's own: under UEFI its variables (kept from run to run) and its
    /// EFI system partition (made anew) lie there, under TCG without UEFI the unpacked kernel.
    pub fn start(spec: &VmSpec, program: &QemuProgram, work: &Path) -> Result<Self, VmError> {
        let dir = tempfile::Builder::new().prefix("nodeimg-vm-").tempdir();
        let dir = dir.map_err(|source| VmError::Io {
            action: "create a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let files = Sockets {
            status: dir.path().join("status"),
            qmp: dir.path().join("qmp"),
            esp: work.join("esp.img"),
            vars: work.join("uefi-variables.fd"),
        };
        let mut spec = spec.clone();
        match &mut spec.boot {
            Boot::Uefi { uki } => prepare_uefi(uki, program, &files)?,
            Boot::Direct { kernel, .. } if spec.accel == Accel::Tcg => unpack_kernel(kernel, work)?,
            Boot::Direct { .. } => {}
        }
        let status = listen(&files.status)?;
        let control = listen(&files.qmp)?;
        let mut command = program.start();
        command
            .args(command_line(&spec, program, &files))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shared = Arc::new(Shared::default());
        let (started, start) = mpsc::channel();
        let keeper = {
            let shared = shared.clone();
            std::thread::spawn(move || keep(&shared, command, status, control, &started))
        };
        let vm = Self { shared, keeper: Some(keeper), _sockets: dir };
        match start.recv() {
            Ok(Ok(())) => Ok(vm),
            Ok(Err(source)) => Err(VmError::Start { program: program.name(), source }),
            Err(_) => Err(VmError::Start {
                program: program.name(),
                source: io::Error::other("its thread has ended"),
            }),
        }
    }

    /// The next event; none when `timeout` passes first.
    pub fn next_event(&self, timeout: Duration) -> Option<Event> {
        self.shared.events.next(timeout)
    }

    /// Presses the power button (ACPI): the guest shuts down in order, [`Event::Exited`] follows.
    pub fn powerdown(&self) -> Result<(), VmError> {
        self.tell("system_powerdown")
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<(), VmError> {
        self.tell("system_reset")
    }

    /// Lets QEMU write its files and end, without asking the guest.
    pub fn quit(&self) -> Result<(), VmError> {
        self.tell("quit")
    }

    /// Pulls the plug: QEMU is killed. [`Event::Exited`] follows.
    pub fn power_cut(&self) {
        self.shared.kill();
    }

    /// Pulls the cable of the guest's card, or puts it back: the guest sees its carrier go and come.
    pub fn link(&self, up: bool) -> Result<(), VmError> {
        self.command("set_link", |to| {
            qmp::execute_with(to, "set_link", &serde_json::json!({ "name": CARD, "up": up }))
        })
    }

    fn tell(&self, command: &'static str) -> Result<(), VmError> {
        self.command(command, |to| qmp::execute(to, command))
    }

    fn command(
        &self,
        command: &'static str,
        send: impl FnOnce(&UnixStream) -> io::Result<()>,
    ) -> Result<(), VmError> {
        let deaf = |source| VmError::Deaf { command, source };
        let guard = locked(&self.shared.qmp);
        let (guard, _) = self
            .shared
            .qmp_ready
            .wait_timeout_while(guard, QMP_PATIENCE, |q| {
                q.is_none() && !self.shared.ended.load(Ordering::SeqCst)
            })
            .unwrap_or_else(|e| e.into_inner());
        match &*guard {
            Some(stream) => send(stream).map_err(deaf),
            None => Err(deaf(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.shared.kill();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Shared {
    fn kill(&self) {
        if let Some(pid) = *locked(&self.pid) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

fn prepare_uefi(uki: &Path, program: &QemuProgram, files: &Sockets) -> Result<(), VmError> {
    let (Some(_), Some(vars)) = (&program.ovmf_code, &program.ovmf_vars) else {
        return Err(VmError::NoFirmware);
    };
    create_esp(uki, &files.esp)?;
    if !files.vars.exists() {
        let io = |source| VmError::Io { action: "write", path: files.vars.clone(), source };
        let bytes =
            fs::read(vars).map_err(|source| VmError::Io { action: "read", path: vars.clone(), source })?;
        // Not a copy: the firmware's file may be read-only, and this one is written to.
        fs::write(&files.vars, bytes).map_err(io)?;
    }
    Ok(())
}

/// Under TCG a kernel that need not unpack itself starts seconds earlier. One that cannot be unpacked stays as it is.
fn unpack_kernel(kernel: &mut PathBuf, work: &Path) -> Result<(), VmError> {
    let image =
        fs::read(&*kernel).map_err(|source| VmError::Io { action: "read", path: kernel.clone(), source })?;
    if let Some(unpacked) = bzimage::vmlinux(&image) {
        let path = work.join("vmlinux");
        fs::write(&path, unpacked).map_err(|source| VmError::Io {
            action: "write",
            path: path.clone(),
            source,
        })?;
        *kernel = path;
    }
    Ok(())
}

fn listen(path: &PathBuf) -> Result<UnixListener, VmError> {
    UnixListener::bind(path).map_err(|source| VmError::Io { action: "listen at", path: path.clone(), source })
}

/// Starts QEMU, reads what it says, waits for its end.
fn keep(
    shared: &Arc<Shared>,
    mut command: Command,
    status: UnixListener,
    control: UnixListener,
    started: &mpsc::Sender<io::Result<()>>,
) {
    // SAFETY: between fork and exec the child only calls prctl(2), which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            shared.ended.store(true, Ordering::SeqCst);
            let _ = started.send(Err(e));
            return;
        }
    };
    let pid = Pid::from_raw(child.id().cast_signed());
    *locked(&shared.pid) = Some(pid);
    let _ = started.send(Ok(()));
    let readers = readers(shared, &mut child, status, control);
    // Not reaped yet: the number stays ours until nobody can signal it any more.
    while let Err(nix::errno::Errno::EINTR) =
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
    {}
    let exit = {
        let mut signalled = locked(&shared.pid);
        *signalled = None;
        match child.wait() {
            Ok(status) => status.code().map_or(Exit::Signal(status.signal().unwrap_or(0)), Exit::Code),
            Err(_) => Exit::Signal(0),
        }
    };
    shared.ended.store(true, Ordering::SeqCst);
    shared.qmp_ready.notify_all();
    for reader in readers {
        let _ = reader.join();
    }
    shared.events.push(Event::Exited(exit));
}

fn readers(
    shared: &Arc<Shared>,
    child: &mut Child,
    status: UnixListener,
    control: UnixListener,
) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    if let Some(stdout) = child.stdout.take() {
        let shared = shared.clone();
        threads.push(std::thread::spawn(move || {
            each_line(stdout, CONSOLE_LINE, |l| shared.events.push(Event::Console(text(l))));
        }));
    }
    if let Some(stderr) = child.stderr.take() {
        let shared = shared.clone();
        threads.push(std::thread::spawn(move || {
            each_line(stderr, CONSOLE_LINE, |l| shared.events.push(Event::Qemu(text(l))));
        }));
    }
    {
        let shared = shared.clone();
        threads.push(std::thread::spawn(move || {
            let Some(stream) = accept(&status, &shared) else { return };
            each_line(stream, STATUS_LINE, |l| {
                if !l.is_empty() {
                    shared.events.push(status_event(l));
                }
            });
        }));
    }
    {
        let shared = shared.clone();
        threads.push(std::thread::spawn(move || {
            if let Some(stream) = accept(&control, &shared) {
                converse(&shared, stream);
            }
        }));
    }
    threads
}

fn status_event(line: &[u8]) -> Event {
    match serde_json::from_slice(line) {
        Ok(status) => Event::Status(Box::new(status)),
        Err(e) => Event::StatusUnreadable(e.to_string()),
    }
}

fn converse(shared: &Arc<Shared>, stream: UnixStream) {
    let Ok(writer) = stream.try_clone() else { return };
    let mut writer = Some(writer);
    each_line(stream, QMP_LINE, |line| match qmp::parse(line) {
        Said::Greeting => {
            if let Some(writer) = writer.take()
                && qmp::execute(&writer, "qmp_capabilities").is_ok()
            {
                *locked(&shared.qmp) = Some(writer);
                shared.qmp_ready.notify_all();
            }
        }
        Said::Reset => shared.events.push(Event::Reset),
        Said::Other => {}
    });
    locked(&shared.qmp).take();
}

/// QEMU's connection; none when QEMU ends without one.
fn accept(listener: &UnixListener, shared: &Shared) -> Option<UnixStream> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(200u8)) {
            Ok(0) if shared.ended.load(Ordering::SeqCst) => return None,
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return listener.accept().ok().map(|(stream, _)| stream),
            Err(_) => return None,
        }
    }
}
