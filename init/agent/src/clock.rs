//! The node's clock: not before its floor, and right where the seed names time servers.
//!
//! Takes the floor (the later of the image's SOURCE_DATE_EPOCH and the seed's `issuedAt`), servers and a way to
//! resolve names; sets the clock. May touch: CLOCK_REALTIME, UDP port 123 of the servers. Never goes before the floor,
//! whatever a server says, and never holds a boot for ever when the clock is plausible without an answer.

use crate::machine;
use crate::report::Reporter;
use jiff::{SignedDuration, Timestamp};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use nodeimg_contract::fault::{Code, Fault};
use rsntp::{Config, SntpClient};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Deadline of the wait for a time server.
const NTP_DEADLINE: Duration = Duration::from_secs(15);
/// One server's patience.
const ANSWER: Duration = Duration::from_secs(2);
/// Pause between rounds while nobody answers.
const PAUSE: Duration = Duration::from_secs(2);
/// Servers that are asked, and addresses of each.
const MAX_SERVERS: usize = 16;
/// Smaller differences are left alone when booting.
const TOLERANCE: Duration = Duration::from_millis(100);
/// How often a running node asks again.
const KEEP: Duration = Duration::from_secs(1024);
/// A running node's clock is slewed up to this difference, and stepped above it.
const SLEW: Duration = Duration::from_millis(500);

/// Milliseconds by which this node's clock differs from the system's; 0 outside of a lab.
static INJECTED_MS: AtomicI64 = AtomicI64::new(0);

/// Resolves a server's name.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>;

/// The earliest time that can be now.
pub fn floor(source_date_epoch: u64, issued_at: Option<Timestamp>) -> Timestamp {
    let epoch = i64::try_from(source_date_epoch).ok().and_then(|s| Timestamp::from_second(s).ok());
    let epoch = epoch.unwrap_or(Timestamp::UNIX_EPOCH);
    issued_at.map_or(epoch, |issued| issued.max(epoch))
}

/// What the clock was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// A time server agrees, or has set it.
    Synchronised,
    /// Nobody was asked, or nobody answered; it is not before the floor.
    Trusted,
    /// It was before the floor and stands at the floor now.
    Floor,
}

/// Checks and sets the clock. With servers: waits for one, raises NI-TIME-001 at the deadline, and then goes on if the
/// clock was not before the floor. `give_up` is asked all the while.
pub fn check(
    reporter: &Reporter,
    floor: Timestamp,
    servers: &[String],
    resolve: Resolve<'_>,
    mut give_up: impl FnMut() -> bool,
) -> Checked {
    let before = now();
    let early = before < floor;
    if early {
        reporter.line(format!("the clock says {before}, before {floor}: set to that"));
        if let Err(error) = set(floor) {
            reporter.fault(before_floor(format!("it says {before} and cannot be set: {error}")));
        }
    }
    if servers.is_empty() {
        if early {
            reporter.fault(before_floor(format!(
                "it said {before}; it stands at {floor} now, which is certainly too early"
            )));
            return Checked::Floor;
        }
        reporter.warn("no time server is named: the machine's own clock is trusted");
        return Checked::Trusted;
    }
    let fault = Fault {
        code: Code::TimeNoAnswer,
        object: servers.join(", "),
        cause: "no answer yet".into(),
        help: "check the names and addresses below ntp in the seed, and UDP port 123 on the way there".into(),
    };
    let began = Instant::now();
    let wait = reporter.waiting("a time server", NTP_DEADLINE, fault);
    loop {
        match ask(servers, resolve) {
            Ok(offset) => {
                reporter.clear_fault(Code::TimeBeforeFloor);
                return apply(reporter, floor, offset);
            }
            Err(cause) => wait.cause(cause),
        }
        if give_up() || (!early && began.elapsed() >= NTP_DEADLINE) {
            reporter.warn(format!(
                "no time server answered ({}): the clock is trusted as it is",
                servers.join(", ")
            ));
            return if early { Checked::Floor } else { Checked::Trusted };
        }
        std::thread::sleep(PAUSE);
    }
}

/// Keeps a running node's clock, in a thread of its own: asks now and then, slews small differences, steps large ones.
/// Does nothing without servers.
pub fn keep(
    reporter: Reporter,
    floor: Timestamp,
    servers: Vec<String>,
    resolve: impl Fn(&str) -> Result<Vec<IpAddr>, String> + Send + 'static,
) {
    if servers.is_empty() {
        return;
    }
    let keep = move || {
        loop {
            std::thread::sleep(KEEP);
            let Ok(offset) = ask(&servers, &resolve) else { continue };
            if offset.abs() <= SLEW.as_secs_f64() {
                slew(offset);
            } else {
                apply(&reporter, floor, offset);
            }
        }
    };
    // Without this thread the clock only drifts, as it does on a machine without time servers.
    let _ = std::thread::Builder::new().name("clock".into()).spawn(keep);
}

/// Seconds that the clock is behind (negative: ahead), by the first server that answers sensibly.
fn ask(servers: &[String], resolve: Resolve<'_>) -> Result<f64, String> {
    let mut cause = String::from("no server is named");
    for server in servers.iter().take(MAX_SERVERS) {
        let addresses = match resolve(server) {
            Ok(addresses) => addresses,
            Err(error) => {
                cause = error;
                continue;
            }
        };
        for address in addresses.into_iter().take(MAX_SERVERS) {
            match ask_one(SocketAddr::new(address, 123)) {
                Ok(offset) => return Ok(offset),
                Err(error) => cause = format!("{server}: {error}"),
            }
        }
    }
    Err(cause)
}

fn ask_one(server: SocketAddr) -> Result<f64, String> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let bind = any.parse().map_err(|_| "no local address".to_owned())?;
    // An address needs no resolver: glibc's could not be linked statically.
    let config = Config::default().bind_address(bind).timeout(ANSWER);
    let answer = SntpClient::with_config(config).synchronize(server).map_err(|error| error.to_string())?;
    let offset = answer.clock_offset().as_secs_f64();
    match offset.is_finite() && offset.abs() < 100.0 * 366.0 * 86_400.0 {
        true => Ok(offset - INJECTED_MS.load(Ordering::Relaxed) as f64 / 1e3),
        false => Err("an answer that is no time".into()),
    }
}

fn apply(reporter: &Reporter, floor: Timestamp, offset: f64) -> Checked {
    let Some(right) = SignedDuration::try_from_secs_f64(offset).ok().and_then(|d| now().checked_add(d).ok())
    else {
        return Checked::Trusted;
    };
    if right < floor {
        reporter.warn(format!("a time server says {right}, which is before {floor}: not believed"));
        return Checked::Trusted;
    }
    if offset.abs() <= TOLERANCE.as_secs_f64() {
        return Checked::Synchronised;
    }
    match set(right) {
        Ok(()) => {
            reporter.line(format!("the clock was {offset:+.1} s off: set by a time server"));
            Checked::Synchronised
        }
        Err(error) => {
            reporter.warn(format!("the clock is {offset:+.1} s off and cannot be set: {error}"));
            Checked::Trusted
        }
    }
}

/// The calendar's time as this node has it. Ask here, not the system: in a lab the two differ.
pub fn now() -> Timestamp {
    let injected = SignedDuration::from_millis(INJECTED_MS.load(Ordering::Relaxed));
    system().checked_add(injected).unwrap_or(Timestamp::MAX)
}

/// The time that kubelet, etcd and all other programs of this node go by.
pub fn system() -> Timestamp {
    let read = clock_gettime(ClockId::CLOCK_REALTIME).ok();
    let read = read.and_then(|t| Timestamp::new(t.tv_sec(), i32::try_from(t.tv_nsec()).unwrap_or(0)).ok());
    read.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// From now on the node's clock differs from the system's by so many seconds (a lab's wish).
pub fn inject(seconds: i64) {
    INJECTED_MS.store(seconds.saturating_mul(1000), Ordering::Relaxed);
}

fn set(time: Timestamp) -> nix::Result<()> {
    if machine::namespace().is_some() {
        let off = time.as_millisecond().saturating_sub(system().as_millisecond());
        INJECTED_MS.store(off, Ordering::Relaxed);
        return Ok(());
    }
    let spec = TimeSpec::new(time.as_second(), i64::from(time.subsec_nanosecond()).max(0));
    clock_settime(ClockId::CLOCK_REALTIME, spec)
}

fn slew(offset: f64) {
    if machine::namespace().is_some() {
        INJECTED_MS.fetch_add((offset * 1e3) as i64, Ordering::Relaxed);
        return;
    }
    let micros = (offset * 1e6) as libc::suseconds_t;
    let delta = libc::timeval { tv_sec: micros.div_euclid(1_000_000), tv_usec: micros.rem_euclid(1_000_000) };
    // SAFETY: the value outlives the call; a null pointer says that the old one is not wanted.
    unsafe { libc::adjtime(&raw const delta, std::ptr::null_mut()) };
}

fn before_floor(cause: String) -> Fault {
    Fault {
        code: Code::TimeBeforeFloor,
        object: "clock".into(),
        cause,
        help: "set the machine's clock in its firmware, or name time servers below ntp in the seed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_later_one() {
        let issued = Timestamp::from_second(2_000).expect("a time");
        assert_eq!(floor(1_000, Some(issued)), issued);
        assert_eq!(floor(3_000, Some(issued)).as_second(), 3_000);
        assert_eq!(floor(u64::MAX, None), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_clock_after_the_floor_is_trusted_without_servers() {
        let folder = tempfile::tempdir().expect("a folder");
        let reporter = Reporter::quiet(folder.path().to_owned());
        let resolve = |_: &str| Err::<Vec<IpAddr>, _>("nobody".to_owned());
        assert_eq!(check(&reporter, floor(1_000, None), &[], &resolve, || false), Checked::Trusted);
        assert_eq!(reporter.status().warnings.len(), 1);
    }

    #[test]
    fn a_wait_for_time_can_be_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let reporter = Reporter::quiet(folder.path().to_owned());
        let resolve = |name: &str| Err::<Vec<IpAddr>, _>(format!("{name} has no address"));
        let servers = ["ntp.example.net".to_owned()];
        assert_eq!(check(&reporter, floor(1_000, None), &servers, &resolve, || true), Checked::Trusted);
        assert!(reporter.status().waiting.is_none());
    }
}
