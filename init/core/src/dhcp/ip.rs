//! IPv4 and UDP around a DHCP payload, for a link that has no address yet.
//!
//! Takes and gives bytes. Pure. Formats: RFC 791, RFC 768, RFC 1071. The UDP checksum of what comes in is not looked
//! at: between virtual machines it is left to hardware that is not there.

use super::wire::{CLIENT_PORT, MAX_PAYLOAD, SERVER_PORT};
use std::net::Ipv4Addr;

const IP: usize = 20;
const UDP: usize = 8;
const PROTOCOL_UDP: u8 = 17;

/// An IPv4 packet from 0.0.0.0:68 to 255.255.255.255:67. `None`: the payload is too large for one.
pub fn broadcast(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    let udp_len = u16::try_from(UDP + payload.len()).ok()?;
    let total = u16::try_from(IP).ok()?.checked_add(udp_len)?;
    let (from, to) = (Ipv4Addr::UNSPECIFIED.octets(), Ipv4Addr::BROADCAST.octets());

    let mut header = vec![0x45, 0xc0];
    header.extend(total.to_be_bytes());
    header.extend([0, 0, 0, 0, 64, PROTOCOL_UDP, 0, 0]);
    header.extend(from);
    header.extend(to);
    let sum = checksum(&[&header]).to_be_bytes();
    let mut packet: Vec<u8> =
        header.iter().take(10).chain(&sum).chain(header.iter().skip(12)).copied().collect();

    let [ports, length] =
        [[CLIENT_PORT, SERVER_PORT], [udp_len, 0]].map(|pair| pair.map(u16::to_be_bytes).concat());
    let udp = [ports.as_slice(), length.as_slice()].concat();
    let pseudo = [&from[..], &to[..], &[0, PROTOCOL_UDP], &udp_len.to_be_bytes()].concat();
    let sum = match checksum(&[&pseudo, &udp, payload]) {
        0 => 0xffff,
        sum => sum,
    };
    packet.extend(udp.iter().take(6));
    packet.extend(sum.to_be_bytes());
    packet.extend(payload);
    Some(packet)
}

/// The payload of an IPv4 packet that is UDP, whole (no fragment), and for a DHCP client.
pub fn payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < IP || *packet.get(9)? != PROTOCOL_UDP {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    // More fragments, or a fragment's offset.
    if u16_at(6)? & 0x3fff != 0 {
        return None;
    }
    if u16_at(header)? != SERVER_PORT || u16_at(header + 2)? != CLIENT_PORT {
        return None;
    }
    let udp_len = usize::from(u16_at(header + 4)?);
    let total = usize::from(u16_at(2)?).min(packet.len());
    packet.get(header + UDP..(header + udp_len).min(total))
}

fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            let (high, low) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
            sum += u64::from(u16::from_be_bytes([high, low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn as_if_answered(packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet
    }

    #[test]
    fn checksums_add_up_to_nothing() {
        let packet = broadcast(b"hello").expect("a packet");
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let pseudo = [&packet[12..20], &[0, 17, 0, 13]].concat();
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(payload(&packet), None, "a request is for a server");
        assert_eq!(payload(&as_if_answered(&packet)), Some(&b"hello"[..]));
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = payload(&bytes);
        }

        #[test]
        fn what_goes_in_comes_out(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let packet = as_if_answered(&broadcast(&bytes).expect("a packet"));
            prop_assert_eq!(payload(&packet), Some(&bytes[..]));
        }
    }
}
