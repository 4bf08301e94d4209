//! Where a frame goes. Pure: frames in, sockets out.
//!
//! An Ethernet switch that learns addresses (IEEE 802.1D, 7.8), with cables that can be pulled and machines that can be on
//! different sides. Each machine has a second, private socket, its way: the far end of ports that are forwarded from the
//! host. A way sees what its own machine sends to it, and nothing else; only its machine sees what it sends.

use std::collections::HashMap;

type Mac = [u8; 6];

/// Bytes of a frame's header: two addresses and a type.
const HEADER: usize = 14;
/// EtherType of ARP (RFC 826), big-endian.
const ARP: [u8; 2] = [0x08, 0x06];
/// Addresses that are learned at most, so that a guest cannot fill the memory.
const MOST: usize = 1024;

/// One socket of the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plug {
    /// The card of the machine with this number.
    Card(usize),
    /// The way of the machine with this number.
    Way(usize),
}

/// The switch.
pub(crate) struct Switch {
    ports: Vec<Port>,
    learned: HashMap<Mac, usize>,
}

struct Port {
    up: bool,
    side: u8,
    /// The way's address, once it has sent anything.
    way: Option<Mac>,
}

impl Switch {
    /// With this many machines, all connected, all on one side.
    pub(crate) fn new(machines: usize) -> Self {
        let port = |_| Port { up: true, side: 0, way: None };
        Self { ports: (0..machines).map(port).collect(), learned: HashMap::new() }
    }

    /// Pulls a machine's cable, or puts it back.
    pub(crate) fn link(&mut self, machine: usize, up: bool) {
        if let Some(port) = self.ports.get_mut(machine) {
            port.up = up;
        }
    }

    /// Puts a machine on a side; nothing passes between sides.
    pub(crate) fn side(&mut self, machine: usize, side: u8) {
        if let Some(port) = self.ports.get_mut(machine) {
            port.side = side;
        }
    }

    /// Where a frame from `from` goes.
    pub(crate) fn route(&mut self, from: Plug, frame: &[u8]) -> Vec<Plug> {
        let Some((to, rest)) = frame.split_first_chunk::<6>().filter(|_| frame.len() >= HEADER) else {
            return Vec::new();
        };
        let Some((source, rest)) = rest.split_first_chunk::<6>() else { return Vec::new() };
        let arp = rest.starts_with(&ARP);
        match from {
            Plug::Way(machine) => self.of_way(machine, *source),
            Plug::Card(machine) => self.of_card(machine, *to, *source, arp),
        }
    }

    fn of_way(&mut self, machine: usize, source: Mac) -> Vec<Plug> {
        let Some(port) = self.ports.get_mut(machine) else { return Vec::new() };
        port.way = Some(source);
        if port.up { vec![Plug::Card(machine)] } else { Vec::new() }
    }

    fn of_card(&mut self, machine: usize, to: Mac, source: Mac, arp: bool) -> Vec<Plug> {
        let Some(own) = self.ports.get(machine).filter(|p| p.up) else { return Vec::new() };
        let (side, way) = (own.side, own.way);
        if is_group(source) {
            return Vec::new();
        }
        if way == Some(to) {
            return vec![Plug::Way(machine)];
        }
        if self.learned.len() < MOST || self.learned.contains_key(&source) {
            self.learned.insert(source, machine);
        }
        let reachable = |(number, port): &(usize, &Port)| *number != machine && port.up && port.side == side;
        let all = self.ports.iter().enumerate().filter(reachable).map(|(number, _)| number);
        match self.learned.get(&to).filter(|_| !is_group(to)) {
            Some(one) => all.filter(|n| n == one).map(Plug::Card).collect(),
            None => {
                // The way answers TCP for machines that it is not: it may see who asks for an address, and no more.
                let asks = (is_group(to) && arp).then_some(Plug::Way(machine));
                all.map(Plug::Card).chain(asks).collect()
            }
        }
    }
}

/// Broadcast or multicast.
fn is_group(mac: Mac) -> bool {
    let [first, ..] = mac;
    first & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::Plug::{Card, Way};
    use super::*;

    const ALL: Mac = [0xff; 6];
    const HOST: Mac = [0x52, 0x55, 0, 0, 0, 0xfe];

    fn mac(machine: usize) -> Mac {
        [0x52, 0x54, 0, 0, 0, machine as u8]
    }

    fn frame(to: Mac, from: Mac, kind: [u8; 2]) -> Vec<u8> {
        [&to[..], &from, &kind, &[0; 46]].concat()
    }

    fn ip(to: Mac, from: Mac) -> Vec<u8> {
        frame(to, from, [8, 0])
    }

    /// All have said something.
    fn known(machines: usize) -> Switch {
        let mut switch = Switch::new(machines);
        for m in 0..machines {
            switch.route(Card(m), &ip(ALL, mac(m)));
        }
        switch
    }

    #[test]
    fn it_floods_until_it_has_learned() {
        let mut switch = Switch::new(3);
        assert_eq!(switch.route(Card(0), &ip(mac(1), mac(0))), [Card(1), Card(2)]);
        assert_eq!(switch.route(Card(1), &ip(mac(0), mac(1))), [Card(0)]);
        assert_eq!(switch.route(Card(0), &ip(mac(1), mac(0))), [Card(1)]);
        assert_eq!(switch.route(Card(0), &ip(ALL, mac(0))), [Card(1), Card(2)]);
        assert_eq!(switch.route(Card(0), &[0; 13]), [], "no frame");
        assert_eq!(switch.route(Card(7), &ip(ALL, mac(7))), [], "no such machine");
    }

    #[test]
    fn nothing_passes_a_pulled_cable_or_between_sides() {
        let mut switch = known(3);
        switch.link(1, false);
        assert_eq!(switch.route(Card(0), &ip(mac(1), mac(0))), []);
        assert_eq!(switch.route(Card(1), &ip(mac(0), mac(1))), []);
        assert_eq!(switch.route(Card(0), &ip(ALL, mac(0))), [Card(2)]);
        switch.link(1, true);
        switch.side(2, 1);
        assert_eq!(switch.route(Card(0), &ip(mac(2), mac(0))), []);
        assert_eq!(switch.route(Card(2), &ip(ALL, mac(2))), []);
        assert_eq!(switch.route(Card(0), &ip(mac(1), mac(0))), [Card(1)]);
        switch.side(2, 0);
        assert_eq!(switch.route(Card(2), &ip(mac(0), mac(2))), [Card(0)]);
    }

    #[test]
    fn a_way_is_its_machines_alone() {
        let mut switch = known(2);
        assert_eq!(switch.route(Way(0), &frame(ALL, HOST, ARP)), [Card(0)]);
        assert_eq!(switch.route(Card(0), &ip(HOST, mac(0))), [Way(0)]);
        assert_eq!(switch.route(Card(0), &frame(ALL, mac(0), ARP)), [Card(1), Way(0)]);
        assert_eq!(switch.route(Card(0), &ip(ALL, mac(0))), [Card(1)], "no other broadcast");
        assert_eq!(switch.route(Card(0), &ip([0x52; 6], mac(0))), [Card(1)], "no unknown address");
        assert_eq!(switch.route(Card(1), &ip(HOST, mac(1))), [Card(0)], "never another machine's way");
        switch.link(0, false);
        assert_eq!(switch.route(Way(0), &ip(mac(0), HOST)), [], "the forwards hang on the same cable");
    }

    #[test]
    fn a_guest_cannot_fill_the_memory() {
        let mut switch = Switch::new(2);
        for i in 0..5000u16 {
            let [a, b] = i.to_be_bytes();
            switch.route(Card(0), &ip(ALL, [0x52, 0, 0, 0, a, b]));
        }
        assert_eq!(switch.learned.len(), MOST);
    }
}
