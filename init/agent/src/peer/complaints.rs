//! What strangers do to the port, said at a bounded rate: whoever can connect could fill the console.

use crate::report::Reporter;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line in this time.
const PAUSE: Duration = Duration::from_secs(30);

/// Tells the reporter now and then.
pub struct Complaints {
    reporter: Reporter,
    said: Mutex<Said>,
}

struct Said {
    next: Option<Instant>,
    held_back: u64,
}

impl Complaints {
    pub fn new(reporter: Reporter) -> Self {
        Self { reporter, said: Mutex::new(Said { next: None, held_back: 0 }) }
    }

    /// Says it, or counts it.
    pub fn say(&self, text: &str) {
        self.say_at(text, Instant::now());
    }

    fn say_at(&self, text: &str, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.next.is_some_and(|next| now < next) {
            said.held_back = said.held_back.saturating_add(1);
            return false;
        }
        let more = std::mem::take(&mut said.held_back);
        said.next = Some(now + PAUSE);
        drop(said);
        if more == 0 {
            self.reporter.line(format!("peers: {text}"));
        } else {
            self.reporter.line(format!("peers: {text} (and {more} more such since the last line)"));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_half_a_minute() {
        let dir = tempfile::tempdir().expect("a folder");
        let complaints = Complaints::new(Reporter::quiet(dir.path().into()));
        let start = Instant::now();
        assert!(complaints.say_at("a", start));
        assert!(!complaints.say_at("b", start + Duration::from_secs(29)));
        assert!(complaints.say_at("c", start + Duration::from_secs(30)));
        assert!(!complaints.say_at("d", start + Duration::from_secs(31)));
    }
}
