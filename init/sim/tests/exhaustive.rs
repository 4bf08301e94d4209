//! Every order in which three nodes can ask, be answered, write, lose power and be wiped until all have started, to a
//! bounded depth: the agreement alone, with the real machine. Random schedules go deeper (`formation-sim`).

use nodeimg_contract::birth::{Birth, Incarnation, Method, Permit};
use nodeimg_init_core::formation::*;
use stateright::{Checker, Model, Property};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const NODES: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    record: Record,
    pin: NodeRecord,
    /// Of the round that goes on, by slot; `None`: silence.
    heard: BTreeMap<usize, Option<Standing>>,
    /// Decided, not written yet.
    decided: Option<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Nodes {
    nodes: Vec<Node>,
    wipes: u8,
    cuts: u8,
    silences: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Move {
    Hear(usize, usize),
    Silence(usize, usize),
    Write(usize),
    Cut(usize),
    Wipe(usize),
}

struct Agreement {
    rules: Rules,
    wipes: u8,
    cuts: u8,
    silences: u8,
}

fn name(n: usize) -> String {
    format!("n{n}")
}

fn address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, n as u8 + 1))
}

fn now() -> Now {
    Now { monotonic: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH }
}

fn seeded(n: usize) -> Seeded {
    Seeded {
        name: name(n),
        address: address(n),
        kind: Kind::StackedControlPlane,
        listed: (0..NODES).map(|n| Listed { name: name(n), address: address(n) }).collect(),
        permit: Some(Permit { cluster: "c".into(), nonce: "n".into(), not_after: jiff::Timestamp::MAX }),
        method: Method::Quorum,
        without: BTreeSet::new(),
        adopt: false,
        steps: Vec::new(),
    }
}

impl Agreement {
    fn boot(
        &self,
        n: usize,
        record: RecordFile<Record>,
        node: RecordFile<NodeRecord>,
        fresh: Incarnation,
    ) -> (State, Action) {
        let event = Event::Disks { record, node, etcd: EtcdData::Absent, fresh };
        let (state, mut actions) = step(&State::with_rules(seeded(n), self.rules), event, now());
        (state, actions.remove(0))
    }

    fn blank(&self, n: usize, number: usize) -> Node {
        let fresh = Incarnation(format!("{number:032x}"));
        let (_, action) = self.boot(n, RecordFile::Missing, RecordFile::Missing, fresh.clone());
        let Action::WriteRecord(record) = action else { panic!("{action:?}") };
        let (_, action) = self.boot(n, RecordFile::Good(record.clone()), RecordFile::Missing, fresh);
        let Action::WriteNodeRecord(pin) = action else { panic!("{action:?}") };
        Node { record, pin, heard: BTreeMap::new(), decided: None }
    }

    fn standing(&self, n: usize, node: &Node) -> Standing {
        let fresh = Incarnation("f".repeat(32));
        self.boot(n, RecordFile::Good(node.record.clone()), RecordFile::Good(node.pin.clone()), fresh)
            .0
            .standing()
    }

    /// A whole round was heard.
    fn decide(&self, n: usize, node: &mut Node) {
        let fresh = Incarnation("f".repeat(32));
        let (state, _) =
            self.boot(n, RecordFile::Good(node.record.clone()), RecordFile::Good(node.pin.clone()), fresh);
        let answer = |s: Option<Standing>| match s {
            Some(standing) => Answer::Said { standing, differs: Vec::new() },
            None => Answer::Silent(String::new()),
        };
        let answers =
            std::mem::take(&mut node.heard).into_iter().map(|(n, s)| (name(n), answer(s))).collect();
        let (_, actions) = step(
            &state,
            Event::PeersAnswered { answers, endpoint: Endpoint::Nothing, voters: Vec::new() },
            now(),
        );
        if let [Action::WriteRecord(record)] = &actions[..] {
            node.decided = Some(record.clone());
        }
    }
}

impl Model for Agreement {
    type State = Nodes;
    type Action = Move;

    fn init_states(&self) -> Vec<Nodes> {
        let nodes = (0..NODES).map(|n| self.blank(n, n + 1)).collect();
        vec![Nodes { nodes, wipes: self.wipes, cuts: self.cuts, silences: self.silences }]
    }

    fn actions(&self, s: &Nodes, moves: &mut Vec<Move>) {
        for (n, node) in s.nodes.iter().enumerate() {
            if node.record.cluster().is_none() {
                if node.decided.is_some() {
                    moves.push(Move::Write(n));
                } else {
                    for peer in (0..NODES).filter(|p| *p != n && !node.heard.contains_key(p)) {
                        moves.push(Move::Hear(n, peer));
                        if s.silences > 0 {
                            moves.push(Move::Silence(n, peer));
                        }
                    }
                }
                if s.cuts > 0 && (node.decided.is_some() || !node.heard.is_empty()) {
                    moves.push(Move::Cut(n));
                }
            }
            if s.wipes > 0 {
                moves.push(Move::Wipe(n));
            }
        }
    }

    fn next_state(&self, s: &Nodes, action: Move) -> Option<Nodes> {
        let mut next = s.clone();
        match action {
            Move::Hear(n, peer) => {
                let said = self.standing(peer, &s.nodes[peer]);
                next.nodes[n].heard.insert(peer, Some(said));
                if next.nodes[n].heard.len() == NODES - 1 {
                    self.decide(n, &mut next.nodes[n]);
                }
            }
            Move::Silence(n, peer) => {
                next.silences -= 1;
                next.nodes[n].heard.insert(peer, None);
                if next.nodes[n].heard.len() == NODES - 1 {
                    self.decide(n, &mut next.nodes[n]);
                }
            }
            Move::Write(n) => next.nodes[n].record = next.nodes[n].decided.take()?,
            Move::Cut(n) => {
                next.cuts -= 1;
                next.nodes[n].heard.clear();
                next.nodes[n].decided = None;
            }
            Move::Wipe(n) => {
                let number = NODES + 1 + usize::from(self.wipes - s.wipes);
                next.wipes -= 1;
                next.nodes[n] = self.blank(n, number);
            }
        }
        (next != *s).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one birth is started on the disks that exist", |_, s: &Nodes| {
                births(s) <= 1
            }),
            Property::sometimes("all start one birth", |_, s: &Nodes| {
                let births: BTreeSet<_> = s.nodes.iter().map(|n| n.record.started().map(Birth::id)).collect();
                births.len() == 1 && !births.contains(&None)
            }),
        ]
    }
}

/// Births that somebody has started, on the disks that exist. (Two quorums at once would say less: three nodes have no
/// room for them.)
fn births(s: &Nodes) -> usize {
    s.nodes.iter().filter_map(|n| n.record.started()).collect::<BTreeSet<&Birth>>().len()
}

fn check(rules: Rules, wipes: u8, cuts: u8, silences: u8, depth: usize) -> impl Checker<Agreement> {
    Agreement { rules, wipes, cuts, silences }.checker().threads(2).target_max_depth(depth).spawn_bfs().join()
}

#[test]
fn without_a_wipe_every_order_ends_in_at_most_one_birth() {
    let all = check(Rules::ALL, 0, 1, 1, 40);
    all.assert_properties();
    assert!(all.unique_state_count() > 1_000, "{}", all.unique_state_count());
    println!("no wipe: {} states", all.unique_state_count());
}

#[test]
fn with_a_wipe_every_order_to_a_depth_ends_in_at_most_one_birth() {
    let all = check(Rules::ALL, 1, 0, 0, 17);
    assert!(all.discovery("at most one birth is started on the disks that exist").is_none());
    println!("one wipe: {} states", all.unique_state_count());
}

#[test]
fn hasty_starts_are_found() {
    let hasty = Rules { everybody_promised: false, ..Rules::ALL };
    let all = check(hasty, 1, 0, 0, 17);
    assert!(all.discovery("at most one birth is started on the disks that exist").is_some());
}
