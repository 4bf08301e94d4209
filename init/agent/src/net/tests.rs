//! A node's network in a network namespace of its own, with a tiny DHCP server at the other end of a veth pair.
//! Needs root; says so and passes otherwise.

use super::*;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use nix::sched::{CloneFlags, unshare};
use nodeimg_init_core::network;
use rtnetlink::{LinkUnspec, LinkVeth};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::time::Instant;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn in_namespace(what: &str) -> bool {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("skipped {what}: needs root for a network namespace ({error})");
            false
        }
    }
}

/// Namespace B: waits for the veth's end, gives it an address, answers DHCP. Tells each request's type and source.
fn server(
    ready: mpsc::Sender<OwnedFd>,
    told: mpsc::Sender<(MessageType, IpAddr)>,
    start: mpsc::Receiver<()>,
) {
    if !in_namespace("the DHCP server") {
        return;
    }
    let here = std::fs::File::open("/proc/thread-self/ns/net").expect("the namespace");
    ready.send(here.into()).expect("told");
    let netlink = Netlink::connect().expect("netlink");
    let peer = wait_for(|| netlink.links().expect("links").into_iter().find(|link| link.name == "peer0"));
    netlink.up(peer.index).expect("up");
    netlink.add_address(peer.index, "192.0.2.1/24".parse().expect("a network")).expect("address");
    if start.recv().is_err() {
        return;
    }
    let socket = UdpSocket::bind("0.0.0.0:67").expect("port 67");
    socket.set_broadcast(true).expect("broadcast");
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::BindToDevice, &"peer0".into())
        .expect("bound");
    let mut buffer = [0u8; 1500];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let request = Message::decode(&mut Decoder::new(&buffer[..len])).expect("a request");
        let kind = request.opts().msg_type().expect("a type");
        let mut reply = request.clone();
        reply.set_opcode(Opcode::BootReply).set_yiaddr(ADDRESS);
        reply.opts_mut().clear();
        for option in [
            DhcpOption::MessageType(if kind == MessageType::Discover {
                MessageType::Offer
            } else {
                MessageType::Ack
            }),
            DhcpOption::ServerIdentifier(SERVER),
            DhcpOption::AddressLeaseTime(600),
            DhcpOption::Renewal(1),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::Router(vec![SERVER]),
            DhcpOption::DomainNameServer(vec![Ipv4Addr::new(192, 0, 2, 53)]),
            DhcpOption::DomainName("example.net".into()),
            DhcpOption::InterfaceMtu(1400),
        ] {
            reply.opts_mut().insert(option);
        }
        let mut bytes = Vec::new();
        reply.encode(&mut Encoder::new(&mut bytes)).expect("encodes");
        let to =
            if from.ip().is_unspecified() { "255.255.255.255:68".parse().expect("an address") } else { from };
        socket.send_to(&bytes, to).expect("sent");
        if told.send((kind, from.ip())).is_err() {
            return;
        }
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn veth(other: &OwnedFd) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
        tokio::spawn(connection);
        handle.link().add(LinkVeth::new("eth0", "peer0").build()).execute().await.expect("a veth pair");
        let move_peer = LinkUnspec::new_with_name("peer0").setns_by_fd(other.as_raw_fd()).build();
        handle.link().set(move_peer).execute().await.expect("moved");
    });
}

fn has_address(address: &str) -> bool {
    let wanted: IpAddr = address.parse().expect("an address");
    nix::ifaddrs::getifaddrs().expect("addresses").any(|entry| {
        entry.address.as_ref().and_then(|a| a.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()))) == Some(wanted)
    })
}

#[test]
fn a_lease_is_taken_used_and_renewed_and_a_static_address_replaces_it() {
    let ((ready, is_ready), (told, tells), (start, started)) =
        (mpsc::channel(), mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || server(ready, told, started));
    let Ok(other) = is_ready.recv() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    assert!(in_namespace("the node"));
    veth(&other);
    let reporter = Reporter::quiet(folder.path().to_owned());
    let network = Network::start(reporter.clone(), EtcFiles::below(folder.path())).expect("a network");
    network.apply(network::parse(b"version: 2\nethernets: {eth0: {dhcp4: true}}").expect("a spec"));

    // Nobody answers yet: the wait has the link's name.
    wait_for(|| reporter.status().waiting.filter(|waiting| waiting.what == "DHCP on eth0"));
    assert!(!network.wait_online(|| true));

    start.send(()).expect("started");
    let until = Instant::now() + Duration::from_secs(20);
    assert!(network.wait_online(|| Instant::now() > until), "no lease");
    assert!(has_address("192.0.2.77"));
    let facts = network.facts();
    assert_eq!(facts.networks, ["192.0.2.0/24".parse().expect("a network")]);
    assert_eq!(facts.dns_servers.len(), 1);
    let resolv = std::fs::read_to_string(folder.path().join(files::KUBELET_RESOLV_CONF)).expect("a file");
    assert!(resolv.contains("nameserver 192.0.2.53\nsearch example.net\n"), "{resolv}");
    wait_for(|| reporter.status().waiting.is_none().then_some(()));
    assert!(reporter.status().milestones.iter().any(|m| m.name == milestone::NETWORK));

    // T1 is a second: the renewal comes from the leased address, to the server alone.
    let renewal =
        |(kind, from): (MessageType, IpAddr)| kind == MessageType::Request && from == IpAddr::V4(ADDRESS);
    wait_for(|| tells.try_recv().ok().filter(|seen| renewal(*seen)));

    let fixed = b"version: 2\nethernets: {eth0: {addresses: [198.51.100.5/24], gateway4: 198.51.100.1, nameservers: {addresses: [198.51.100.53]}}}";
    network.apply(network::parse(fixed).expect("a spec"));
    assert!(network.wait_online(|| Instant::now() > until + Duration::from_secs(20)), "no link");
    assert!(has_address("198.51.100.5"));
    wait_for(|| (!has_address("192.0.2.77")).then_some(()));
    assert_eq!(network.dns().servers(), ["198.51.100.53".parse::<IpAddr>().expect("an address")]);
    assert_eq!(network.facts().networks, ["198.51.100.0/24".parse().expect("a network")]);
}

#[test]
fn a_link_that_is_not_there_is_named() {
    if !in_namespace("a link that is not there") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let reporter = Reporter::quiet(folder.path().to_owned());
    let network = Network::start(reporter.clone(), EtcFiles::below(folder.path())).expect("a network");
    network.apply(network::parse(b"version: 2\nethernets: {eth7: {dhcp4: true}}").expect("a spec"));
    wait_for(|| reporter.status().waiting.filter(|waiting| waiting.what == "link eth7"));
    network.apply(NetworkSpec::default());
    wait_for(|| reporter.status().waiting.filter(|waiting| waiting.what == "any Ethernet link"));
}
