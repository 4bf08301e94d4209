//! Sockets of a DHCP client: one below IP while the link has no address, UDP once it has one.
//!
//! Takes payloads, gives payloads. May touch: two sockets bound to one link. Never decides.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nodeimg_init_core::dhcp::ip;
use nodeimg_init_core::dhcp::wire::{CLIENT_PORT, MAX_PAYLOAD, SERVER_PORT};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What carries DHCP right now.
pub enum Socket {
    /// AF_PACKET without link header.
    Raw(OwnedFd, i32),
    /// From the leased address.
    Udp(UdpSocket),
}

impl Socket {
    /// For a link without an address.
    pub fn raw(index: u32) -> io::Result<Self> {
        let index = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        let protocol = i32::from((libc::ETH_P_IP as u16).to_be());
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let address = link_address(index);
        // SAFETY: the address outlives the call and its size is told.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self::Raw(fd, index))
    }

    /// For a link that has its leased address.
    pub fn udp(link: &str, address: Ipv4Addr) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddrV4::new(address, CLIENT_PORT))?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::BindToDevice, &link.into())?;
        socket.set_broadcast(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket))
    }

    /// Sends one payload to a server, or to all.
    pub fn send(&self, payload: &[u8], to: Option<Ipv4Addr>) -> io::Result<()> {
        match self {
            Socket::Udp(socket) => {
                let to = SocketAddrV4::new(to.unwrap_or(Ipv4Addr::BROADCAST), SERVER_PORT);
                socket.send_to(payload, to).map(|_| ())
            }
            Socket::Raw(fd, index) => {
                let packet = ip::broadcast(payload).ok_or(io::ErrorKind::InvalidInput)?;
                let mut address = link_address(*index);
                address.sll_halen = 6;
                for byte in address.sll_addr.iter_mut().take(6) {
                    *byte = 0xff;
                }
                // SAFETY: packet and address outlive the call and their sizes are told.
                let sent = unsafe {
                    let (data, to) = (packet.as_ptr().cast(), (&raw const address).cast());
                    libc::sendto(fd.as_raw_fd(), data, packet.len(), 0, to, ADDRESS_LEN)
                };
                if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
            }
        }
    }

    /// Waits for one payload that may be for a DHCP client.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let fd = match self {
            Socket::Raw(fd, _) => fd.as_fd(),
            Socket::Udp(socket) => socket.as_fd(),
        };
        let millis = u16::try_from(patience.as_millis()).unwrap_or(u16::MAX).max(1);
        let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::from(millis)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0u8; MAX_PAYLOAD + 128];
        let len =
            nix::sys::socket::recv(fd.as_raw_fd(), &mut buffer, nix::sys::socket::MsgFlags::MSG_DONTWAIT)?;
        let bytes = buffer.get(..len).unwrap_or_default();
        Ok(match self {
            Socket::Raw(..) => ip::payload(bytes).map(<[u8]>::to_vec),
            Socket::Udp(_) => Some(bytes.to_vec()),
        })
    }
}

const ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn link_address(index: i32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain numbers; all zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = index;
    address
}
