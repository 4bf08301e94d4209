//! How long to wait before a service is started again. Pure.

use std::time::Duration;

/// Longest pause between two starts.
const LONGEST: Duration = Duration::from_secs(30);
/// A run at least this long was a good one.
pub const GOOD_RUN: Duration = Duration::from_secs(20);
/// Short runs in a row that make a fault.
const FAULT_AFTER: u32 = 3;

/// Counts short runs in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    short_runs: u32,
}

impl Backoff {
    /// The service has ended after `ran`: the pause before its next start. Doubles from 250 ms to 30 s, and begins anew
    /// after a good run.
    pub fn ended(&mut self, ran: Duration) -> Duration {
        self.short_runs = if ran >= GOOD_RUN { 1 } else { self.short_runs.saturating_add(1) };
        let doublings = self.short_runs.saturating_sub(1).min(16);
        Duration::from_millis(250).saturating_mul(1 << doublings).min(LONGEST)
    }

    /// Whether it has failed often enough to tell somebody.
    pub fn keeps_failing(&self) -> bool {
        self.short_runs >= FAULT_AFTER
    }
}
