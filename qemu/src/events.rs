//! What a machine tells: a queue that its readers never wait for.

use nodeimg_contract::status::NodeStatus;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Something that happened in or to a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A line of the serial console, without its end; what is no UTF-8 is replaced.
    Console(String),
    /// nodeinit's status.
    Status(Box<NodeStatus>),
    /// A line of the status port that is none; the text says why.
    StatusUnreadable(String),
    /// The guest reset itself (a reboot).
    Reset,
    /// A line of QEMU's own standard error.
    Qemu(String),
    /// QEMU has ended, and nothing will follow.
    Exited(Exit),
}

/// How QEMU ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal; 0 if its number is not known.
    Signal(i32),
}

impl Exit {
    /// QEMU failed an assertion of its own, or crashed: nobody asked it to end.
    pub fn is_crash(self) -> bool {
        use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
        matches!(self, Exit::Signal(SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV))
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "QEMU ended with code {code}"),
            Exit::Signal(signal) => write!(f, "QEMU was ended by signal {signal}"),
        }
    }
}

/// A person who looks away for an hour must not make QEMU wait, nor fill the memory: the oldest lines go.
const MOST: usize = 20_000;

#[derive(Default)]
pub(crate) struct EventQueue {
    events: Mutex<VecDeque<Event>>,
    more: Condvar,
}

impl EventQueue {
    pub(crate) fn push(&self, event: Event) {
        let mut events = self.locked();
        if events.len() >= MOST {
            events.pop_front();
        }
        events.push_back(event);
        self.more.notify_one();
    }

    /// The next event; none when `timeout` passes first.
    pub(crate) fn next(&self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        let mut events = self.locked();
        loop {
            if let Some(event) = events.pop_front() {
                return Some(event);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            events = self.more.wait_timeout(events, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listening_costs_the_oldest_lines_and_nothing_else() {
        let queue = EventQueue::default();
        for i in 0..MOST + 5 {
            queue.push(Event::Console(i.to_string()));
        }
        queue.push(Event::Exited(Exit::Code(0)));
        assert_eq!(queue.next(Duration::ZERO), Some(Event::Console("6".into())));
        let mut last = None;
        while let Some(event) = queue.next(Duration::ZERO) {
            last = Some(event);
        }
        assert_eq!(last, Some(Event::Exited(Exit::Code(0))));
    }
}
