//! The switch's sockets: one a plug, at which QEMU connects whenever its machine is on.
//!
//! Takes and gives Ethernet frames, each behind its length (4 bytes, big-endian; QEMU, net/stream.c). Listens at Unix
//! sockets in the folder that it is given. A machine that does not read loses frames, as on any switch, and makes nobody
//! wait.

use super::switch::{Plug, Switch};
use crate::said::lock;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Longest frame that QEMU sends (its NET_BUFSIZE).
const FRAME: usize = (4 << 10) + (64 << 10);
/// Frames that wait for a machine.
const QUEUE: usize = 1024;

/// The switch and its sockets. Dropping it closes them.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    sockets: BTreeMap<Plug, PathBuf>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    switch: Mutex<Switch>,
    /// Who is connected.
    plugged: Mutex<BTreeMap<Plug, Plugged>>,
    closing: AtomicBool,
}

struct Plugged {
    frames: SyncSender<Arc<[u8]>>,
    stream: UnixStream,
}

impl Hub {
    /// Listens in `folder` for this many machines.
    pub(crate) fn new(machines: usize, folder: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            switch: Mutex::new(Switch::new(machines)),
            plugged: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let mut hub = Self { shared, sockets: BTreeMap::new(), threads: Vec::new() };
        for machine in 0..machines {
            for (plug, name) in [(Plug::Card(machine), "card"), (Plug::Way(machine), "way")] {
                let path = folder.join(format!("{name}{machine}"));
                let listener = UnixListener::bind(&path)?;
                let shared = hub.shared.clone();
                hub.threads.push(std::thread::spawn(move || shared.serve(plug, &listener)));
                hub.sockets.insert(plug, path);
            }
        }
        Ok(hub)
    }

    /// Where QEMU connects.
    pub(crate) fn socket(&self, plug: Plug) -> PathBuf {
        self.sockets.get(&plug).cloned().unwrap_or_default()
    }

    /// Pulls a machine's cable, or puts it back.
    pub(crate) fn link(&self, machine: usize, up: bool) {
        lock(&self.shared.switch).link(machine, up);
    }

    /// Puts a machine on a side; nothing passes between sides.
    pub(crate) fn side(&self, machine: usize, side: u8) {
        lock(&self.shared.switch).side(machine, side);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for plugged in lock(&self.shared.plugged).values() {
            let _ = plugged.stream.shutdown(std::net::Shutdown::Both);
        }
        for path in self.sockets.values() {
            // Wakes the thread that waits for somebody to connect.
            let _ = UnixStream::connect(path);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, plug: Plug, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(stream) = stream {
                // One machine's connection ends before the next: it is switched off and on, and no two share a plug.
                let _ = self.connected(plug, stream);
                lock(&self.plugged).remove(&plug);
            }
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn connected(&self, plug: Plug, mut stream: UnixStream) -> io::Result<()> {
        let (frames, queue) = sync_channel(QUEUE);
        let to = stream.try_clone()?;
        let plugged = Plugged { frames, stream: stream.try_clone()? };
        let writer = std::thread::spawn(move || write_frames(to, &queue));
        lock(&self.plugged).insert(plug, plugged);
        let mut frame = vec![0; FRAME];
        // Whoever closes the hub ends what is plugged in; one that is plugged in after that ends here.
        while !self.closing.load(Ordering::SeqCst)
            && let Ok(length) = read_frame(&mut stream, &mut frame)
        {
            self.pass(plug, frame.get(..length).unwrap_or_default());
        }
        // A write that waits for a machine which no longer reads ends as well.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        lock(&self.plugged).remove(&plug);
        let _ = writer.join();
        Ok(())
    }

    fn pass(&self, from: Plug, frame: &[u8]) {
        let to = lock(&self.switch).route(from, frame);
        if to.is_empty() {
            return;
        }
        let frame: Arc<[u8]> = frame.into();
        let plugged = lock(&self.plugged);
        for plug in to {
            if let Some(plugged) = plugged.get(&plug) {
                let _ = plugged.frames.try_send(frame.clone());
            }
        }
    }
}

fn read_frame(from: &mut impl Read, frame: &mut [u8]) -> io::Result<usize> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let room = frame.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    from.read_exact(room)?;
    Ok(length)
}

fn write_frames(mut to: UnixStream, queue: &Receiver<Arc<[u8]>>) {
    let mut bytes = Vec::new();
    while let Ok(frame) = queue.recv() {
        let Ok(length) = u32::try_from(frame.len()) else { continue };
        bytes.clear();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&frame);
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(20);

    fn frame(to: u8, from: u8, word: &str) -> Vec<u8> {
        [&[0x52, 0, 0, 0, 0, to][..], &[0x52, 0, 0, 0, 0, from], &[8, 0], word.as_bytes()].concat()
    }

    fn plug(hub: &Hub, plug: Plug) -> UnixStream {
        let stream = UnixStream::connect(hub.socket(plug)).expect("connected");
        stream.set_read_timeout(Some(LONG)).expect("a limit");
        let deadline = Instant::now() + LONG;
        while !lock(&hub.shared.plugged).contains_key(&plug) {
            assert!(Instant::now() < deadline, "{plug:?} is not served");
            std::thread::sleep(Duration::from_millis(5));
        }
        stream
    }

    fn send(mut to: &UnixStream, frame: &[u8]) {
        to.write_all(&(frame.len() as u32).to_be_bytes()).expect("length");
        to.write_all(frame).expect("frame");
    }

    fn receive(mut from: &UnixStream) -> Vec<u8> {
        let mut frame = vec![0; FRAME];
        let length = read_frame(&mut from, &mut frame).expect("a frame");
        frame.truncate(length);
        frame
    }

    #[test]
    fn frames_pass_also_after_a_machine_was_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let hub = Hub::new(2, folder.path()).expect("hub");
        let one = plug(&hub, Plug::Card(0));
        let two = plug(&hub, Plug::Card(1));
        send(&one, &frame(2, 1, "hello"));
        assert_eq!(receive(&two), frame(2, 1, "hello"));
        hub.link(1, false);
        send(&one, &frame(2, 1, "lost"));
        // The same way back shows that the switch is done with the frame before.
        let way = plug(&hub, Plug::Way(0));
        send(&way, &frame(1, 9, "here"));
        assert_eq!(receive(&one), frame(1, 9, "here"));
        send(&one, &frame(9, 1, "here too"));
        assert_eq!(receive(&way), frame(9, 1, "here too"));
        hub.link(1, true);

        drop(two);
        let deadline = Instant::now() + LONG;
        while lock(&hub.shared.plugged).contains_key(&Plug::Card(1)) {
            assert!(Instant::now() < deadline, "it is still served");
            std::thread::sleep(Duration::from_millis(5));
        }
        let two = plug(&hub, Plug::Card(1));
        send(&one, &frame(2, 1, "again"));
        assert_eq!(receive(&two), frame(2, 1, "again"), "what was sent while it was cut off is lost");
    }

    #[test]
    fn one_that_does_not_read_makes_nobody_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let hub = Hub::new(3, folder.path()).expect("hub");
        let (one, deaf, three) =
            (plug(&hub, Plug::Card(0)), plug(&hub, Plug::Card(1)), plug(&hub, Plug::Card(2)));
        for (stream, number) in [(&deaf, 2), (&three, 3)] {
            send(stream, &frame(1, number, "I am here"));
            receive(&one);
        }
        for _ in 0..5 * QUEUE {
            send(&one, &frame(2, 1, &"x".repeat(1400)));
        }
        send(&one, &frame(3, 1, "done"));
        while receive(&three) != frame(3, 1, "done") {}
        drop(hub);
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        let folder = tempfile::tempdir().expect("a folder");
        let hub = Hub::new(1, folder.path()).expect("hub");
        let mut one = plug(&hub, Plug::Card(0));
        one.write_all(&u32::MAX.to_be_bytes()).expect("a length");
        assert_eq!(one.read(&mut [0; 8]).expect("an end"), 0);
    }
}
