//! A disk with a volatile cache: an image behind a FUSE file, behind a loop device.
//!
//! Takes an image, gives an open file whose writes stay apart until an fsync, which is what a loop device makes of a
//! flush and of forced unit access. The loop device uses direct I/O: no page cache keeps what a cut forgets.
//!
//! Nothing is mounted where the host sees it, and nothing hangs when this process is killed. The file system is served by
//! a thread with mounts and descriptors of its own. Its mount is gone as soon as the file is open. Its descriptor of
//! `/dev/fuse` is nobody else's, so that whatever still waits for the disk when the process ends is released with an
//! error: a thread that closes a loop device waits for the disk, never for a descriptor that it would close itself later.

use super::enter::private_mounts;
use super::write_cache::WriteCache;
use crate::said::lock;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    Session, SessionACL, WriteFlags,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

/// Name of the one file.
const FILE: &str = "disk";
/// Its inode.
const INODE: INodeNo = INodeNo(2);
/// Nothing about it changes.
const TTL: Duration = Duration::from_secs(3600);
/// Bytes of the longest write.
const MAX_WRITE: u32 = 1 << 20;

/// include/uapi/linux/prctl.h
const PR_SET_IO_FLUSHER: libc::c_int = 57;

/// Whether this host can have such disks.
pub(crate) fn is_possible() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
}

/// Serves an image until the last user of the file is gone. `folder`: an empty one, to mount on where nobody sees it.
pub(crate) fn serve(image: &Path, folder: &Path, cache: Arc<Mutex<WriteCache>>) -> io::Result<File> {
    let (mounted, ready) = channel();
    let (opened, go_on) = channel();
    let (image, own) = (image.to_owned(), folder.to_owned());
    std::thread::Builder::new()
        .name("disk".into())
        .spawn(move || serve_here(image, own, cache, &mounted, &go_on))?;
    let thread = ready.recv().map_err(|_| io::Error::other("the thread of the disk failed"))??;
    // The mounts of that thread, seen from here.
    let root = PathBuf::from(format!("/proc/self/task/{thread}/root"));
    let path = root.join(folder.strip_prefix("/").unwrap_or(folder)).join(FILE);
    let file = OpenOptions::new().read(true).write(true).open(path);
    let _ = opened.send(());
    file
}

fn serve_here(
    image: PathBuf,
    folder: PathBuf,
    cache: Arc<Mutex<WriteCache>>,
    mounted: &Sender<io::Result<i32>>,
    opened: &Receiver<()>,
) {
    let session = match mounted_session(&image, &folder, cache) {
        Ok(session) => session,
        Err(e) => {
            let _ = mounted.send(Err(e));
            return;
        }
    };
    // The thread that serves shares this one's descriptors and mounts.
    let Ok(serving) = std::thread::Builder::new().name("serve disk".into()).spawn(move || session.run())
    else {
        return;
    };
    let _ = mounted.send(Ok(nix::unistd::gettid().as_raw()));
    let _ = opened.recv();
    // What is open stays open; the last user's end is the end of the session.
    let _ = umount2(&folder, MntFlags::MNT_DETACH);
    let _ = serving.join();
}

fn mounted_session(
    image: &Path,
    folder: &Path,
    cache: Arc<Mutex<WriteCache>>,
) -> io::Result<Session<VolatileFile>> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
    private_mounts()?;
    own_descriptors()?;
    // Who serves a disk must not wait for that disk to get memory (prctl(2)); a host that forbids it has enough, mostly.
    // SAFETY: the request takes numbers alone.
    let _ = unsafe { libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) };
    let image = OpenOptions::new().read(true).write(true).open(image)?;
    let size = image.metadata()?.len();
    let fuse: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/fuse")?.into();
    // Kernel Documentation/filesystems/fuse/fuse.rst, "Mount options".
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("nodeimg-lab"), folder, Some("fuse"), flags, Some(options.as_str()))?;
    Session::from_fd(VolatileFile { image, size, cache }, fuse, SessionACL::Owner, Config::default())
}

/// This thread's descriptors are its own from now on, and there are none but the standard ones.
fn own_descriptors() -> io::Result<()> {
    // SAFETY: the request takes numbers. It closes copies of descriptors: those of the other threads stay open, and this
    // thread has made none before.
    let done = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE as libc::c_int) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A file system of one file.
struct VolatileFile {
    /// Of the serving thread's own descriptors: no other thread may use it.
    image: File,
    size: u64,
    cache: Arc<Mutex<WriteCache>>,
}

impl VolatileFile {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, size) = match inode {
            INODE => (FileType::RegularFile, self.size),
            _ => (FileType::Directory, 0),
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn fits(&self, at: u64, length: usize) -> bool {
        at.checked_add(length as u64).is_some_and(|end| end <= self.size)
    }
}

impl Filesystem for VolatileFile {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The kernel's own limit is well.
        let _ = config.set_max_write(MAX_WRITE);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == FILE {
            true => reply.entry(&TTL, &self.attributes(INODE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let length = u64::from(size).min(self.size.saturating_sub(at));
        let mut bytes = vec![0; length as usize];
        match lock(&self.cache).read(&self.image, at, &mut bytes) {
            Ok(()) => reply.data(&bytes),
            Err(e) => reply.error(e.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if !self.fits(at, bytes.len()) {
            return reply.error(Errno::ENOSPC);
        }
        match lock(&self.cache).write(&self.image, at, bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(e) => reply.error(e.into()),
        }
    }

    /// Of close(2); no promise.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let flushed = lock(&self.cache).flush(&self.image);
        match flushed {
            Ok(None) => reply.ok(),
            Ok(Some(cut)) => {
                cut();
                // Whoever is still there to hear this has neither a network nor a disk.
                reply.ok();
            }
            Err(e) => reply.error(e.into()),
        }
    }

    /// Discards and zeroes are not for free: the kernel then writes zeroes, which wait for a flush as any write.
    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
