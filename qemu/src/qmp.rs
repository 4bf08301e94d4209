//! The few words of QMP that a machine needs.
//!
//! Format: QEMU Machine Protocol specification: one JSON object a line, a greeting first, then
//! `qmp_capabilities`, then commands; events come in between.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

/// What a line from QEMU means to us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The greeting: capabilities may be negotiated now.
    Greeting,
    /// The guest was reset.
    Reset,
    /// Anything else.
    Other,
}

/// Reads one line; what is no JSON is something else.
pub(crate) fn parse(line: &[u8]) -> Said {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) else { return Said::Other };
    if value.get("QMP").is_some() {
        return Said::Greeting;
    }
    match value.get("event").and_then(|e| e.as_str()) {
        Some("RESET") => Said::Reset,
        _ => Said::Other,
    }
}

/// Sends a command without arguments.
pub(crate) fn execute(to: &UnixStream, command: &str) -> io::Result<()> {
    send(to, &serde_json::json!({ "execute": command }))
}

/// Sends a command with arguments.
pub(crate) fn execute_with(to: &UnixStream, command: &str, arguments: &serde_json::Value) -> io::Result<()> {
    send(to, &serde_json::json!({ "execute": command, "arguments": arguments }))
}

fn send(mut to: &UnixStream, object: &serde_json::Value) -> io::Result<()> {
    to.write_all(format!("{object}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn greeting_and_events_are_known() {
        assert_eq!(parse(br#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#), Said::Greeting);
        assert_eq!(parse(br#"{"timestamp": {}, "event": "RESET", "data": {"guest": true}}"#), Said::Reset);
        assert_eq!(parse(br#"{"return": {}}"#), Said::Other);
    }

    proptest! {
        #[test]
        fn anything_is_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }
    }
}
