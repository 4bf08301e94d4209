//! A TCP stream with one deadline for everything: a peer that sends a byte now and then is not waited for longer than
//! one that sends nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Reads and writes until its deadline; then [`io::ErrorKind::TimedOut`].
pub struct Deadlined {
    stream: TcpStream,
    until: Instant,
}

impl Deadlined {
    pub fn new(stream: TcpStream, until: Instant) -> Self {
        // Without it an answer of two small packets waits for an acknowledgement between them.
        let _ = stream.set_nodelay(true);
        Self { stream, until }
    }

    fn left(&self) -> io::Result<Duration> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }

    /// Ends the own half and reads on for a moment: closing with unread bytes would make the kernel throw away what was
    /// just sent (an alert, a rejection).
    pub fn hang_up(mut self, patience: Duration, max_bytes: u64) {
        if self.stream.shutdown(Shutdown::Write).is_ok() {
            self.until = self.until.min(Instant::now() + patience);
            let _ = io::copy(&mut (&mut self).take(max_bytes), &mut io::sink());
        }
    }
}

fn timed_out(e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { e }
}

impl Read for Deadlined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Deadlined {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer).map_err(timed_out)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_stream_that_never_ends_is_left_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let endless = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            while stream.write(b"x").is_ok() {}
        });
        let stream = TcpStream::connect(address).expect("connected");
        let start = Instant::now();
        let mut stream = Deadlined::new(stream, start + Duration::from_millis(200));
        let e = io::copy(&mut stream, &mut io::sink()).expect_err("there is no end");
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(3));
        drop(stream);
        endless.join().expect("ended by the reset");
    }
}
