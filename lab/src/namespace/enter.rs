//! Threads that step into namespaces.
//!
//! Takes descriptors of processes and namespaces, gives children and results. A thread that has stepped in ends there;
//! the caller's own namespaces never change.

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command};

/// A descriptor of a process that is not reaped yet: it never means another one.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the system call takes a number and flags, and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Signals the process; one that has ended is well.
pub(crate) fn signal(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and no siginfo is handed over.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal as i32, none, 0) };
    match io::Error::last_os_error() {
        _ if sent == 0 => Ok(()),
        e if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        e => Err(e),
    }
}

/// Runs `work` in a thread of its own, which it may move into any namespace.
pub(crate) fn aside<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("aside".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the lab failed")))
    })
}

/// A new network namespace; it lasts as long as somebody holds it or runs in it.
pub(crate) fn new_network() -> io::Result<OwnedFd> {
    aside(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })
}

/// Runs `work` in a network namespace.
pub(crate) fn in_network<T: Send>(
    network: &OwnedFd,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    aside(|| {
        setns(network, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// Runs `work` with mounts of its own: what it mounts is gone when it returns.
pub(crate) fn with_own_mounts<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    aside(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        private_mounts()?;
        work()
    })
}

/// Keeps this thread's mounts to itself.
pub(crate) fn private_mounts() -> io::Result<()> {
    let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    Ok(nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?)
}

/// Starts a command in all namespaces of a process, as its sibling.
pub(crate) fn spawn_inside(process: &OwnedFd, mut command: Command) -> io::Result<Child> {
    aside(move || {
        // setns(2): a thread that shares its root folder with others cannot change its mounts.
        unshare(CloneFlags::CLONE_FS)?;
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        setns(process, all)?;
        command.spawn()
    })
}
