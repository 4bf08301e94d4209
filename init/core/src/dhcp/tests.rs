use super::wire::{Reply, ReplyKind, Request, encode, parse};
use super::*;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use proptest::prelude::*;

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn now(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), random: 1000 }
}

/// A server's answer as bytes, by dhcproto.
fn answer(xid: u32, kind: MessageType, more: Vec<DhcpOption>) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, ADDRESS, none, none, &MAC.0);
    message.set_opcode(Opcode::BootReply);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(SERVER));
    message.opts_mut().insert(DhcpOption::AddressLeaseTime(3600));
    message.opts_mut().insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
    message.opts_mut().insert(DhcpOption::Router(vec![SERVER]));
    for option in more {
        message.opts_mut().insert(option);
    }
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).expect("encodes");
    bytes
}

fn reply(xid: u32, kind: MessageType) -> Event {
    Event::Received(Box::new(parse(&answer(xid, kind, vec![])).expect("a reply")))
}

fn sent(actions: &[Action]) -> (Request, Option<Ipv4Addr>) {
    actions
        .iter()
        .find_map(|action| match action {
            Action::Send { request, to } => Some((request.clone(), *to)),
            _ => None,
        })
        .expect("something is sent")
}

fn woken(actions: &[Action]) -> u64 {
    actions
        .iter()
        .find_map(|action| match action {
            Action::WakeAt(time) => Some(time.as_secs()),
            _ => None,
        })
        .expect("a timer")
}

fn bound() -> Client {
    let mut client = Client::new(MAC, Some("cp1".into()));
    let (discover, _) = sent(&client.step(Event::Start, now(0)));
    let (request, _) = sent(&client.step(reply(discover.xid, MessageType::Offer), now(0)));
    assert_eq!((request.requested, request.server), (Some(ADDRESS), Some(SERVER)));
    let actions = client.step(reply(request.xid, MessageType::Ack), now(0));
    assert!(
        matches!(&actions[..], [Action::Configure(lease), Action::WakeAt(_)] if lease.address == ADDRESS)
    );
    assert_eq!(woken(&actions), 1800);
    client
}

#[test]
fn four_messages_make_a_lease() {
    let client = bound();
    let lease = client.lease().expect("a lease");
    assert_eq!((lease.prefix, lease.routes.len()), (24, 1));
}

#[test]
fn a_silent_network_is_asked_less_and_less_often() {
    let mut client = Client::new(MAC, None);
    let mut actions = client.step(Event::Start, now(0));
    let mut gaps = Vec::new();
    let mut at = 0;
    for _ in 0..9 {
        let (request, to) = sent(&actions);
        assert_eq!((request.kind, to), (wire::Kind::Discover, None));
        let next = woken(&actions);
        gaps.push(next - at);
        at = next;
        actions = client.step(Event::Timer, now(at));
    }
    assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn an_offer_whose_server_is_gone_is_given_up() {
    let mut client = Client::new(MAC, None);
    let (discover, _) = sent(&client.step(Event::Start, now(0)));
    client.step(reply(discover.xid, MessageType::Offer), now(0));
    for _ in 0..3 {
        assert_eq!(sent(&client.step(Event::Timer, now(9))).0.kind, wire::Kind::Request);
    }
    assert_eq!(sent(&client.step(Event::Timer, now(60))).0.kind, wire::Kind::Discover);
}

#[test]
fn a_lease_is_renewed_with_its_server_then_with_anybody_then_given_up() {
    let mut client = bound();
    let actions = client.step(Event::Timer, now(1800));
    let (request, to) = sent(&actions);
    assert_eq!((request.client_address, request.requested, to), (Some(ADDRESS), None, Some(SERVER)));
    assert_eq!(woken(&actions), 1800 + (3150 - 1800) / 2);
    assert_eq!(sent(&client.step(Event::Timer, now(3150))).1, None);
    assert!(client.lease().is_some());
    let actions = client.step(Event::Timer, now(3600));
    assert_eq!(actions.first(), Some(&Action::Deconfigure));
    assert_eq!(sent(&actions).0.kind, wire::Kind::Discover);
    assert!(client.lease().is_none());
}

#[test]
fn a_renewed_lease_that_says_the_same_touches_nothing() {
    let mut client = bound();
    let (request, _) = sent(&client.step(Event::Timer, now(1800)));
    let actions = client.step(reply(request.xid, MessageType::Ack), now(1801));
    assert_eq!(actions, [Action::WakeAt(Duration::from_secs(1801 + 1800))]);
}

#[test]
fn a_refusal_takes_the_address_away() {
    let mut client = bound();
    let (request, _) = sent(&client.step(Event::Timer, now(1800)));
    let actions = client.step(reply(request.xid, MessageType::Nak), now(1801));
    assert_eq!(actions.first(), Some(&Action::Deconfigure));
}

#[test]
fn somebody_elses_answers_are_not_ours() {
    let mut client = Client::new(MAC, None);
    let (discover, _) = sent(&client.step(Event::Start, now(0)));
    assert_eq!(client.step(reply(discover.xid + 1, MessageType::Offer), now(0)), []);
    let mut other = parse(&answer(discover.xid, MessageType::Offer, vec![])).expect("a reply");
    other.mac = Mac([2; 6]);
    assert_eq!(client.step(Event::Received(Box::new(other)), now(0)), []);
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    let good = parse(&answer(1, MessageType::Offer, vec![])).expect("a reply");
    for bad in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        let offer = Reply { your_address: bad.parse().expect("an address"), ..good.clone() };
        assert_eq!(Lease::from_reply(&offer), None, "{bad}");
    }
    let mask = Reply { netmask: Some(Ipv4Addr::new(255, 0, 255, 0)), ..good.clone() };
    assert_eq!(Lease::from_reply(&mask), None);
    assert_eq!(Lease::from_reply(&Reply { lease_seconds: None, ..good }), None);
}

#[test]
fn options_are_understood() {
    let routes = vec![
        ("10.0.0.0/8".parse().expect("a network"), SERVER),
        ("0.0.0.0/0".parse().expect("a network"), Ipv4Addr::UNSPECIFIED),
    ];
    let bytes = answer(
        7,
        MessageType::Ack,
        vec![
            DhcpOption::ClasslessStaticRoute(routes),
            DhcpOption::DomainNameServer(vec![SERVER, Ipv4Addr::LOCALHOST]),
            DhcpOption::DomainName("Example.NET.\0".into()),
            DhcpOption::Hostname("cp1 && reboot".into()),
            DhcpOption::InterfaceMtu(1400),
            DhcpOption::NtpServers(vec![SERVER]),
            DhcpOption::Renewal(100),
            DhcpOption::Rebinding(4000),
        ],
    );
    let reply = parse(&bytes).expect("a reply");
    assert_eq!(reply.kind, ReplyKind::Ack);
    let lease = Lease::from_reply(&reply).expect("a lease");
    assert_eq!(lease.routes.iter().map(|r| r.via).collect::<Vec<_>>(), [Some(SERVER), None]);
    assert_eq!((lease.dns, lease.search), (vec![SERVER], vec!["example.net".to_owned()]));
    assert_eq!((lease.hostname, lease.mtu, lease.ntp), (None, Some(1400), vec![SERVER]));
}

#[test]
fn times_that_contradict_each_other_fall_back() {
    let said = vec![DhcpOption::Renewal(100), DhcpOption::Rebinding(4000)];
    let reply = parse(&answer(7, MessageType::Ack, said)).expect("a reply");
    let lease = Lease::from_reply(&reply).expect("a lease");
    assert_eq!(lease.renew(), Some(Duration::from_secs(100)));
    assert_eq!(lease.rebind(), Some(Duration::from_secs(3150)));
    let infinite = vec![DhcpOption::AddressLeaseTime(u32::MAX)];
    let reply = parse(&answer(7, MessageType::Ack, infinite)).expect("a reply");
    assert_eq!(Lease::from_reply(&reply).expect("a lease").length(), None);
}

#[test]
fn requests_are_what_a_server_expects() {
    let mut client = Client::new(MAC, Some("cp1".into()));
    let (discover, _) = sent(&client.step(Event::Start, now(0)));
    let bytes = encode(&discover).expect("bytes");
    assert!(bytes.len() >= 300);
    let message = Message::decode(&mut Decoder::new(&bytes)).expect("a message");
    assert_eq!(message.opcode(), Opcode::BootRequest);
    assert!(message.flags().broadcast());
    assert_eq!(message.chaddr(), MAC.0);
    assert!(message.opts().has_msg_type(MessageType::Discover));
    assert_eq!(parse(&bytes), None, "a request is no reply");
}

proptest! {
    #[test]
    fn no_packet_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
        let mut packet = answer(1, MessageType::Ack, vec![]);
        packet.truncate(240);
        packet.extend([53, 1, 5]);
        packet.extend(&bytes);
        if let Some(reply) = parse(&packet) {
            let _ = Lease::from_reply(&reply);
        }
    }

    /// Options that are used, with any content: dhcproto's own parsers must hold too.
    #[test]
    fn no_option_makes_it_panic(
        options in proptest::collection::vec(
            (prop::sample::select(&[1u8, 3, 6, 12, 15, 26, 42, 51, 53, 54, 58, 59, 119, 121][..]),
             proptest::collection::vec(any::<u8>(), 0..80)),
            0..12,
        ),
    ) {
        let mut packet = answer(1, MessageType::Ack, vec![]);
        packet.truncate(240);
        packet.extend([53, 1, 5]);
        for (code, value) in options {
            packet.extend([code, value.len() as u8]);
            packet.extend(value);
        }
        let _ = parse(&packet).and_then(|reply| Lease::from_reply(&reply));
    }

    #[test]
    fn one_changed_byte_makes_no_panic(at in 0usize..300, byte in any::<u8>()) {
        let mut packet = answer(1, MessageType::Offer, vec![DhcpOption::DomainName("example.net".into())]);
        if let Some(slot) = packet.get_mut(at) {
            *slot = byte;
        }
        let _ = parse(&packet).and_then(|reply| Lease::from_reply(&reply));
    }

    /// Whatever happens, in whatever order: no panic, always a timer once started, never two leases at once.
    #[test]
    fn any_order_of_events_keeps_it_alive(
        events in proptest::collection::vec((0u8..5, 0u64..5000, any::<u32>(), any::<bool>()), 1..60),
    ) {
        let mut client = Client::new(MAC, None);
        let (mut clock, mut xid, mut configured) = (0, 0, false);
        client.step(Event::Start, now(0));
        for (what, passed, random, known) in events {
            clock += passed;
            let now = Now { monotonic: Duration::from_secs(clock), random };
            let of = if known { xid } else { random };
            let event = match what {
                0 => Event::Start,
                1 => Event::Timer,
                2 => reply(of, MessageType::Offer),
                3 => reply(of, MessageType::Ack),
                _ => reply(of, MessageType::Nak),
            };
            let timed = matches!(event, Event::Start | Event::Timer);
            let actions = client.step(event, now);
            for action in &actions {
                match action {
                    Action::Send { request, .. } => xid = request.xid,
                    Action::Configure(_) => configured = true,
                    Action::Deconfigure => {
                        prop_assert!(configured);
                        configured = false;
                    }
                    Action::WakeAt(time) => prop_assert!(*time >= now.monotonic),
                }
            }
            prop_assert!(!timed || actions.iter().any(|a| matches!(a, Action::WakeAt(_))));
            prop_assert_eq!(configured, client.lease().is_some());
        }
    }
}
