//! A DHCPv4 client, decided: states of RFC 2131 section 4.4, without sockets and clocks.
//!
//! Takes an event and the time, gives what to send, what to set on the link and when to wake it up:
//! `client.step(event, now) -> actions`. Bytes from the network pass [`wire::parse`] first. Pure: randomness and time
//! come from the caller. One address at a time, no DECLINE (the caller does not probe for duplicates), no INFORM.

pub mod ip;
mod lease;
pub mod wire;

pub use lease::{Lease, Route};

use crate::network::Mac;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Time as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A clock that never goes back; any zero.
    pub monotonic: Duration,
    /// A fresh random number for every step: transaction ids and jitter.
    pub random: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The link came up: begin, or begin anew.
    Start,
    /// The time that [`Action::WakeAt`] named has come.
    Timer,
    /// A message from a server.
    Received(Box<wire::Reply>),
}

/// What the caller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to 255.255.255.255, or to one server from the leased address.
    Send {
        /// What.
        request: wire::Request,
        /// `None`: broadcast.
        to: Option<Ipv4Addr>,
    },
    /// Set this on the link; replaces what an earlier lease set.
    Configure(Lease),
    /// The lease is over: take everything off the link.
    Deconfigure,
    /// Give [`Event::Timer`] at this time; replaces an earlier one.
    WakeAt(Duration),
}

/// Where the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Init,
    Selecting { xid: u32, since: Duration, tries: u32 },
    Requesting { xid: u32, since: Duration, tries: u32, offer: Lease },
    Bound { lease: Lease, times: Times },
    Renewing { xid: u32, since: Duration, lease: Lease, times: Times },
    Rebinding { xid: u32, since: Duration, lease: Lease, times: Times },
}

/// When a lease wants attention; `None`: never (an infinite lease).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    renew: Option<Duration>,
    rebind: Option<Duration>,
    end: Option<Duration>,
}

/// The client of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    mac: Mac,
    hostname: Option<String>,
    state: State,
}

/// Tries for one offer before the search starts again (RFC 2131, 3.1 point 5: four, about a minute).
const REQUEST_TRIES: u32 = 4;
/// No two tries further apart than this (RFC 2131, 4.1).
const LONGEST: Duration = Duration::from_secs(64);
/// No two tries of a renewal closer than this (RFC 2131, 4.4.5).
const RENEW_GAP: Duration = Duration::from_secs(60);

impl Client {
    /// A client that does nothing until [`Event::Start`]. `hostname` is told to the server (option 12).
    pub fn new(mac: Mac, hostname: Option<String>) -> Self {
        Self { mac, hostname, state: State::Init }
    }

    /// The lease that holds.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Init | State::Selecting { .. } | State::Requesting { .. } => None,
            State::Bound { lease, .. } | State::Renewing { lease, .. } | State::Rebinding { lease, .. } => {
                Some(lease)
            }
        }
    }

    /// The one transition.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Action> {
        match event {
            Event::Start => self.start(now),
            Event::Timer => self.timer(now),
            Event::Received(reply) => self.received(*reply, now),
        }
    }

    fn start(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.lease().is_some() {
            actions.push(Action::Deconfigure);
        }
        actions.extend(self.discover(now, now.random, now.monotonic, 0));
        actions
    }

    fn discover(&mut self, now: Now, xid: u32, since: Duration, tries: u32) -> Vec<Action> {
        self.state = State::Selecting { xid, since, tries };
        let request = self.request(wire::Kind::Discover, xid, now.monotonic.saturating_sub(since));
        vec![Action::Send { request, to: None }, wake(now, backoff(tries, now.random))]
    }

    fn ask(&mut self, now: Now, xid: u32, since: Duration, tries: u32, offer: Lease) -> Vec<Action> {
        let mut request = self.request(wire::Kind::Request, xid, now.monotonic.saturating_sub(since));
        request.requested = Some(offer.address);
        request.server = Some(offer.server);
        self.state = State::Requesting { xid, since, tries, offer };
        vec![Action::Send { request, to: None }, wake(now, backoff(tries, now.random))]
    }

    fn request(&self, kind: wire::Kind, xid: u32, elapsed: Duration) -> wire::Request {
        wire::Request {
            kind,
            xid,
            seconds: u16::try_from(elapsed.as_secs()).unwrap_or(u16::MAX),
            mac: self.mac,
            hostname: self.hostname.clone(),
            client_address: None,
            requested: None,
            server: None,
        }
    }

    fn timer(&mut self, now: Now) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Init) {
            State::Init => Vec::new(),
            State::Selecting { xid, since, tries } => self.discover(now, xid, since, tries.saturating_add(1)),
            State::Requesting { xid, since, tries, offer } if tries + 1 < REQUEST_TRIES => {
                self.ask(now, xid, since, tries + 1, offer)
            }
            State::Requesting { since, .. } => self.discover(now, now.random, since, 0),
            State::Bound { lease, times } => self.keep(now, now.random, now.monotonic, lease, times),
            State::Renewing { xid, since, lease, times } | State::Rebinding { xid, since, lease, times } => {
                self.keep(now, xid, since, lease, times)
            }
        }
    }

    /// Renews, rebinds or gives up, by the clock alone.
    fn keep(&mut self, now: Now, xid: u32, since: Duration, lease: Lease, times: Times) -> Vec<Action> {
        let reached = |time: Option<Duration>| time.is_some_and(|time| now.monotonic >= time);
        if reached(times.end) {
            let mut actions = vec![Action::Deconfigure];
            actions.extend(self.discover(now, now.random, now.monotonic, 0));
            return actions;
        }
        if !reached(times.renew) {
            let wake = times.renew.map(Action::WakeAt);
            self.state = State::Bound { lease, times };
            return wake.into_iter().collect();
        }
        let mut request = self.request(wire::Kind::Request, xid, now.monotonic.saturating_sub(since));
        request.client_address = Some(lease.address);
        let (to, limit) = match reached(times.rebind) {
            true => (None, times.end),
            false => (Some(lease.server), times.rebind),
        };
        // Half of what is left, at least a minute (RFC 2131, 4.4.5), and never past the limit itself.
        let left = limit.map(|limit| limit.saturating_sub(now.monotonic)).unwrap_or(LONGEST);
        let next = now.monotonic + (left / 2).max(RENEW_GAP).min(left.max(Duration::from_secs(1)));
        self.state = match to {
            Some(_) => State::Renewing { xid, since, lease, times },
            None => State::Rebinding { xid, since, lease, times },
        };
        vec![Action::Send { request, to }, Action::WakeAt(next)]
    }

    fn received(&mut self, reply: wire::Reply, now: Now) -> Vec<Action> {
        let (xid, since) = match &self.state {
            State::Init | State::Bound { .. } => return Vec::new(),
            State::Selecting { xid, since, .. }
            | State::Requesting { xid, since, .. }
            | State::Renewing { xid, since, .. }
            | State::Rebinding { xid, since, .. } => (*xid, *since),
        };
        if reply.xid != xid || reply.mac != self.mac {
            return Vec::new();
        }
        match (&self.state, reply.kind) {
            (State::Selecting { .. }, wire::ReplyKind::Offer) => match Lease::from_reply(&reply) {
                // The first usable offer: waiting for others would only make the boot slower.
                Some(offer) => self.ask(now, xid, since, 0, offer),
                None => Vec::new(),
            },
            (State::Requesting { offer, .. }, wire::ReplyKind::Ack) => {
                match Lease::from_reply(&reply).filter(|lease| lease.server == offer.server) {
                    Some(lease) => self.bind(now, lease, true),
                    None => Vec::new(),
                }
            }
            (
                State::Renewing { lease: old, .. } | State::Rebinding { lease: old, .. },
                wire::ReplyKind::Ack,
            ) => match Lease::from_reply(&reply) {
                Some(lease) => {
                    let changed = lease != *old;
                    self.bind(now, lease, changed)
                }
                None => Vec::new(),
            },
            (State::Requesting { offer, .. }, wire::ReplyKind::Nak) => {
                match reply.server.is_none_or(|server| server == offer.server) {
                    // Not at once: a server that refuses what it offered would be asked in a tight loop.
                    true => {
                        self.state = State::Selecting { xid: now.random, since, tries: 0 };
                        vec![wake(now, backoff(1, now.random))]
                    }
                    false => Vec::new(),
                }
            }
            (State::Renewing { .. } | State::Rebinding { .. }, wire::ReplyKind::Nak) => {
                let mut actions = vec![Action::Deconfigure];
                actions.extend(self.discover(now, now.random, now.monotonic, 0));
                actions
            }
            _ => Vec::new(),
        }
    }

    fn bind(&mut self, now: Now, lease: Lease, changed: bool) -> Vec<Action> {
        let at = |after: Option<Duration>| after.map(|after| now.monotonic + after);
        let times = Times { renew: at(lease.renew()), rebind: at(lease.rebind()), end: at(lease.length()) };
        let mut actions = Vec::new();
        if changed {
            actions.push(Action::Configure(lease.clone()));
        }
        // A timer of the search must not fire into an infinite lease: it is moved far away.
        let far = now.monotonic + Duration::from_secs(86_400);
        actions.push(Action::WakeAt(times.renew.unwrap_or(far)));
        self.state = State::Bound { lease, times };
        actions
    }
}

/// 1, 2, 4 … 64 s with up to half a second more. RFC 2131 suggests 4 s first; a port that drops the first packet
/// while it comes up is common enough, and a boot waits for this, to begin with 1 s.
fn backoff(tries: u32, random: u32) -> Duration {
    let base = Duration::from_secs(1u64 << tries.min(6)).min(LONGEST);
    base + Duration::from_millis(u64::from(random % 500))
}

fn wake(now: Now, after: Duration) -> Action {
    Action::WakeAt(now.monotonic + after)
}

#[cfg(test)]
mod tests;
