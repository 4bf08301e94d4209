//! DHCP messages as bytes: what is sent, what is understood of an answer.
//!
//! Takes a [`Request`], gives the UDP payload; takes a payload, gives a [`Reply`] or nothing. Pure, by `dhcproto`.
//! Format: RFC 2131 section 2, options RFC 2132, 3397 (119), 3442 (121).

use crate::network::Mac;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// UDP port of a server.
pub const SERVER_PORT: u16 = 67;
/// UDP port of a client.
pub const CLIENT_PORT: u16 = 68;
/// Bytes of a payload that are looked at.
pub const MAX_PAYLOAD: usize = 1500;
/// Bytes before the options, with the magic cookie.
const FIXED: usize = 240;
/// A smaller message may be dropped by BOOTP relays.
const SMALLEST: usize = 300;

/// The client's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who is there?
    Discover,
    /// That address, please.
    Request,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub kind: Kind,
    /// Transaction.
    pub xid: u32,
    /// Since the search began.
    pub seconds: u16,
    /// The link.
    pub mac: Mac,
    /// Option 12.
    pub hostname: Option<String>,
    /// `ciaddr`: set when renewing and rebinding.
    pub client_address: Option<Ipv4Addr>,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
}

/// The server's messages that a client acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// An address could be had.
    Offer,
    /// It is yours.
    Ack,
    /// It is not.
    Nak,
}

/// What was understood of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which.
    pub kind: ReplyKind,
    /// Transaction.
    pub xid: u32,
    /// Whom it is for.
    pub mac: Mac,
    /// `yiaddr`.
    pub your_address: Ipv4Addr,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Option 1.
    pub netmask: Option<Ipv4Addr>,
    /// Option 3.
    pub routers: Vec<Ipv4Addr>,
    /// Option 121; beside it, option 3 does not count (RFC 3442).
    pub classless_routes: Option<Vec<(Ipv4Net, Ipv4Addr)>>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Option 119.
    pub search: Vec<String>,
    /// Option 42.
    pub ntp: Vec<Ipv4Addr>,
    /// Option 12.
    pub hostname: Option<String>,
    /// Option 26.
    pub mtu: Option<u16>,
    /// Option 51.
    pub lease_seconds: Option<u32>,
    /// Option 58.
    pub renew_seconds: Option<u32>,
    /// Option 59.
    pub rebind_seconds: Option<u32>,
}

/// The payload of a request. `None`: it cannot be encoded (a host name that no option can hold).
pub fn encode(request: &Request) -> Option<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let own = request.client_address.unwrap_or(none);
    let mut message = Message::new_with_id(request.xid, own, none, none, none, &request.mac.0);
    message.set_secs(request.seconds);
    if request.client_address.is_none() {
        // The link has no address yet: not every network card and switch passes a unicast answer to it.
        message.set_flags(Flags::default().set_broadcast());
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(match request.kind {
        Kind::Discover => MessageType::Discover,
        Kind::Request => MessageType::Request,
    }));
    let mut id = vec![1];
    id.extend(request.mac.0);
    options.insert(DhcpOption::ClientIdentifier(id));
    options.insert(DhcpOption::MaxMessageSize(MAX_PAYLOAD as u16));
    options.insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::ClasslessStaticRoute,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::Hostname,
        OptionCode::DomainName,
        OptionCode::InterfaceMtu,
        OptionCode::NtpServers,
        OptionCode::DomainSearch,
        OptionCode::Renewal,
        OptionCode::Rebinding,
    ]));
    if let Some(name) = request.hostname.as_ref().filter(|name| (1..=63).contains(&name.len())) {
        options.insert(DhcpOption::Hostname(name.clone()));
    }
    if let Some(address) = request.requested {
        options.insert(DhcpOption::RequestedIpAddress(address));
    }
    if let Some(server) = request.server {
        options.insert(DhcpOption::ServerIdentifier(server));
    }
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).ok()?;
    if bytes.len() < SMALLEST {
        bytes.resize(SMALLEST, 0);
    }
    Some(bytes)
}

/// Understands a payload. Anything that is not a whole answer to an Ethernet client gives `None`.
pub fn parse(payload: &[u8]) -> Option<Reply> {
    // Checked before dhcproto sees it: it trusts the length of the hardware address, and asserts lengths of options.
    if payload.len() < FIXED || payload.len() > MAX_PAYLOAD {
        return None;
    }
    if payload.get(..3)? != [2, 1, 6] || payload.get(236..FIXED)? != [99, 130, 83, 99] {
        return None;
    }
    let sound = sound_options(payload)?;
    let message = Message::decode(&mut Decoder::new(&sound)).ok()?;
    if message.opcode() != Opcode::BootReply {
        return None;
    }
    let options = message.opts();
    let mut reply = Reply {
        kind: match options.msg_type()? {
            MessageType::Offer => ReplyKind::Offer,
            MessageType::Ack => ReplyKind::Ack,
            MessageType::Nak => ReplyKind::Nak,
            _ => return None,
        },
        xid: message.xid(),
        mac: Mac(message.chaddr().try_into().ok()?),
        your_address: message.yiaddr(),
        server: None,
        netmask: None,
        routers: Vec::new(),
        classless_routes: None,
        dns: Vec::new(),
        domain: None,
        search: Vec::new(),
        ntp: Vec::new(),
        hostname: None,
        mtu: None,
        lease_seconds: None,
        renew_seconds: None,
        rebind_seconds: None,
    };
    for (_, option) in options.iter() {
        match option {
            DhcpOption::ServerIdentifier(server) => reply.server = Some(*server),
            DhcpOption::SubnetMask(mask) => reply.netmask = Some(*mask),
            DhcpOption::Router(routers) => reply.routers = routers.clone(),
            DhcpOption::ClasslessStaticRoute(routes) => reply.classless_routes = Some(routes.clone()),
            DhcpOption::DomainNameServer(servers) => reply.dns = servers.clone(),
            DhcpOption::DomainName(name) => reply.domain = word(name),
            DhcpOption::DomainSearch(names) => {
                reply.search = names.iter().filter_map(|name| word(&name.to_string())).collect();
            }
            DhcpOption::NtpServers(servers) => reply.ntp = servers.clone(),
            DhcpOption::Hostname(name) => reply.hostname = word(name),
            DhcpOption::InterfaceMtu(mtu) => reply.mtu = Some(*mtu),
            DhcpOption::AddressLeaseTime(seconds) => reply.lease_seconds = Some(*seconds),
            DhcpOption::Renewal(seconds) => reply.renew_seconds = Some(*seconds),
            DhcpOption::Rebinding(seconds) => reply.rebind_seconds = Some(*seconds),
            _ => {}
        }
    }
    Some(reply)
}

/// The same message with those options alone that are used here and have a length that they can have. Options of fixed
/// size count once; longer ones may come in pieces (RFC 3396), which dhcproto joins.
fn sound_options(payload: &[u8]) -> Option<Vec<u8>> {
    let mut sound = payload.get(..FIXED)?.to_vec();
    let mut rest = payload.get(FIXED..)?;
    let mut seen = Vec::new();
    loop {
        match rest {
            [0, after @ ..] => rest = after,
            [255, ..] | [] | [_] => break,
            [code, len, after @ ..] => {
                let value = after.get(..usize::from(*len))?;
                rest = after.get(usize::from(*len)..)?;
                let (fits, once) = match code {
                    1 | 51 | 54 | 58 | 59 => (value.len() == 4, true),
                    26 => (value.len() == 2, true),
                    53 => (value.len() == 1, true),
                    3 | 6 | 42 => (!value.is_empty() && value.len() % 4 == 0, false),
                    12 | 15 | 119 | 121 => (!value.is_empty(), false),
                    _ => (false, false),
                };
                if fits && !(once && seen.contains(code)) {
                    seen.push(*code);
                    sound.extend([*code, *len]);
                    sound.extend(value);
                }
            }
        }
    }
    sound.push(255);
    Some(sound)
}

/// A DNS name that can stand in a file; some servers end theirs with a NUL.
fn word(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['\0', '.']);
    let fits = (1..=253).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'));
    fits.then(|| text.to_ascii_lowercase())
}
