//! Devices that appear while the root is looked for.
//!
//! The kernel's uevents (netlink family KOBJECT_UEVENT, group 1): `ACTION@PATH`, then `KEY=VALUE`, each ended by NUL.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, recv, socket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// Messages that one look takes off the socket.
const MAX_MESSAGES: usize = 256;

/// The socket, where the kernel gives one.
pub struct Hotplug {
    socket: Option<OwnedFd>,
}

impl Hotplug {
    /// Listens from now on. Without a socket the search still goes on by looking again.
    pub fn listen() -> Self {
        let open = || -> nix::Result<OwnedFd> {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkKObjectUEvent,
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
            Ok(socket)
        };
        Self { socket: open().ok() }
    }

    /// Waits for devices, at most so long, and returns what they say of themselves.
    pub fn next(&mut self, at_most: Duration) -> Vec<String> {
        let Some(socket) = &self.socket else {
            std::thread::sleep(at_most);
            return Vec::new();
        };
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout);
        let mut aliases = Vec::new();
        let mut buffer = [0u8; 8192];
        for _ in 0..MAX_MESSAGES {
            match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(size) => aliases.extend(modalias(buffer.get(..size).unwrap_or_default())),
                Err(_) => break,
            }
        }
        aliases
    }
}

/// What a newly added device says of itself.
fn modalias(message: &[u8]) -> Option<String> {
    let mut fields = message.split(|b| *b == 0);
    if !fields.next()?.starts_with(b"add@") {
        return None;
    }
    fields.find_map(|f| f.strip_prefix(b"MODALIAS=")).map(|alias| String::from_utf8_lossy(alias).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_device_names_its_driver() {
        let message = b"add@/devices/x\0ACTION=add\0MODALIAS=virtio:d00000002v00001AF4\0SEQNUM=1\0";
        assert_eq!(modalias(message).as_deref(), Some("virtio:d00000002v00001AF4"));
        assert_eq!(modalias(b"remove@/devices/x\0MODALIAS=a\0"), None);
    }

    proptest! {
        #[test]
        fn any_message_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = modalias(&bytes);
        }
    }
}
