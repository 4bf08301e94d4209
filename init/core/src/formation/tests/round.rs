//! One node of three, with the answers of the others written by hand.

use crate::formation::*;
use nodeimg_contract::birth::{Birth, BirthId, Incarnation, Participant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

mod adopted;
mod afterwards;
mod external;
mod joins;
mod lost;
mod outside;
mod participant;
mod promises;

const NAMES: [&str; 3] = ["cp1", "cp2", "cp3"];

fn address(n: usize) -> IpAddr {
    format!("192.0.2.1{n}").parse().expect("an address")
}

fn incarnation(n: usize) -> Incarnation {
    Incarnation(format!("{n:032x}"))
}

fn permit() -> Permit {
    Permit {
        cluster: "8f14e45f-ceea-467f-a0e6-d3a4c9b1f001".into(),
        nonce: "0".repeat(32),
        not_after: "2030-01-01T00:00:00Z".parse().expect("a time"),
    }
}

fn now() -> Now {
    Now { monotonic: Duration::ZERO, wall: "2026-01-01T00:00:00Z".parse().expect("a time") }
}

fn seeded(me: usize) -> Seeded {
    Seeded {
        name: NAMES[me].into(),
        address: address(me),
        kind: Kind::StackedControlPlane,
        listed: (0..3).map(|n| Listed { name: NAMES[n].into(), address: address(n) }).collect(),
        permit: Some(permit()),
        method: Method::Quorum,
        without: BTreeSet::new(),
        adopt: false,
        steps: ClusterStep::KUBEADM.to_vec(),
    }
}

/// The birth of these (node, incarnation).
fn birth(method: Method, of: &[(usize, usize)]) -> Birth {
    let participant = |(n, i): &(usize, usize)| Participant {
        name: NAMES[*n].into(),
        address: address(*n),
        incarnation: incarnation(*i),
    };
    Birth::new(permit(), method, of.iter().map(participant).collect())
}

fn blank(i: usize, promised: Option<&Birth>) -> Standing {
    Standing::Blank { incarnation: incarnation(i), promised: promised.cloned() }
}

/// A round, of a node whose etcd remembers nobody.
fn peers_answered(answers: BTreeMap<String, Answer>, endpoint: Endpoint) -> Event {
    Event::PeersAnswered { answers, endpoint, voters: Vec::new() }
}

/// A round: who says what; the others are silent.
fn heard(said: &[(usize, Standing)]) -> Event {
    let mut answers: BTreeMap<String, Answer> =
        NAMES.iter().map(|n| (n.to_string(), Answer::Silent("no route".into()))).collect();
    for (n, standing) in said {
        answers.insert(NAMES[*n].into(), Answer::Said { standing: standing.clone(), differs: Vec::new() });
    }
    peers_answered(answers, Endpoint::Nothing)
}

struct Node {
    seeded: Seeded,
    state: State,
    action: Action,
}

impl Node {
    /// Blank, with incarnation 1, pinned; the next thing is to ask.
    fn blank(seeded: Seeded) -> Self {
        Self::boot(seeded, RecordFile::Missing, RecordFile::Missing, EtcdData::Absent)
    }
    fn boot(
        seeded: Seeded,
        record: RecordFile<Record>,
        node: RecordFile<NodeRecord>,
        etcd: EtcdData,
    ) -> Self {
        let mut node = Self { state: State::new(seeded.clone()), seeded, action: Action::Steady }
            .with(Event::Disks { record, node, etcd, fresh: incarnation(1) });
        node.write();
        node
    }
    fn with(mut self, event: Event) -> Self {
        self.hear(event);
        self
    }
    fn hear(&mut self, event: Event) {
        let (state, mut actions) = step(&self.state, event, now());
        (self.state, self.action) = (state, actions.remove(0));
    }
    /// Performs writes until something else is wanted.
    fn write(&mut self) {
        loop {
            match self.action.clone() {
                Action::WriteRecord(r) => self.hear(Event::RecordWritten(r)),
                Action::WriteNodeRecord(n) => self.hear(Event::NodeRecordWritten(n)),
                _ => return,
            }
        }
    }
    /// Hears a round, writes what it wants written.
    fn round(&mut self, said: &[(usize, Standing)]) -> &Action {
        assert_eq!(self.action, Action::AskPeers, "{}", self.seeded.name);
        self.hear(heard(said));
        self.write();
        &self.action
    }
    fn tick(&mut self) -> &mut Self {
        self.hear(Event::Tick);
        self
    }
    fn started(&self) -> Option<BirthId> {
        match self.state.standing() {
            Standing::Started { birth, .. } => Some(birth.id()),
            _ => None,
        }
    }
}

/// A node that has started the birth, whose gate is open and whose etcd has no leader.
fn lonely(etcd: EtcdData) -> Node {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let mut node = Node::blank(seeded(0));
    for _ in 0..2 {
        node.round(&[(1, blank(2, Some(&x))), (2, blank(3, Some(&x)))]);
    }
    node.hear(Event::Rendered);
    node.write();
    assert!(matches!(&node.action, Action::OpenGate(gate) if *gate.birth() == x.id()));
    node.hear(Event::GateOpened);
    assert_eq!(node.action, Action::AwaitApi);
    node.hear(Event::ApiNotYet(etcd));
    node
}

fn member(id: u64, n: usize, learner: bool, healthy: bool) -> EtcdMember {
    EtcdMember { id, name: NAMES[n].into(), address: address(n), learner, healthy }
}

/// A view of the cluster of `birth`, from what the API answers.
fn view(birth: &Birth, own: Option<(usize, Option<u64>)>, members: Vec<EtcdMember>) -> ClusterView {
    let line = |n: usize, i: usize, member: Option<u64>| {
        let member = member.map_or(String::new(), |m| format!(",\\\"member\\\":{m}"));
        format!(
            "\\\"{}\\\":{{\\\"address\\\":\\\"{}\\\",\\\"incarnation\\\":\\\"{}\\\"{member}}}",
            NAMES[n],
            address(n),
            incarnation(i).0
        )
    };
    let mut lines = vec![line(1, 2, None), line(2, 3, None)];
    lines.extend(own.map(|(i, member)| line(0, i, member)));
    let json = format!(
        "{{\"metadata\":{{\"name\":\"nodeimg\",\"namespace\":\"kube-public\",\"resourceVersion\":\"1\"}},\
         \"data\":{{\"schema\":\"1\",\"birth\":\"{}\",\"done\":\"\",\"members\":\"{{{}}}\"}}}}",
        birth.id(),
        lines.join(",")
    );
    ClusterView {
        adopted: None,
        record: Some(ClusterRecord::from_json(json.as_bytes()).expect("a record")),
        members,
        ailments: BTreeMap::new(),
        node: NodeSeen::Absent,
        quiet: QUIET,
        answers_at_stale_address: false,
        learner: Silence::default(),
        skew: None,
    }
}
