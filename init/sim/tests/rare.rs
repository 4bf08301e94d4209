//! Mistakes that random schedules meet too seldom: each by hand, with its rule on and off.

use nodeimg_contract::birth::{BirthId, Incarnation, Method, Permit};
use nodeimg_formation_sim::Mutant;
use nodeimg_init_core::formation::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

fn address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, n as u8 + 1))
}

fn incarnation(n: usize) -> Incarnation {
    Incarnation(format!("{n:032x}"))
}

fn seeded(without: &[&str]) -> Seeded {
    Seeded {
        adopt: false,
        name: "n0".into(),
        address: address(0),
        kind: Kind::StackedControlPlane,
        listed: (0..3).map(|n| Listed { name: format!("n{n}"), address: address(n) }).collect(),
        permit: Some(Permit { cluster: "c".into(), nonce: "n".into(), not_after: jiff::Timestamp::MAX }),
        method: Method::Quorum,
        without: without.iter().map(|n| (*n).to_owned()).collect(),
        steps: Vec::new(),
    }
}

struct Node {
    state: State,
    action: Action,
}

impl Node {
    /// Blank, with incarnation 1; the next thing is to ask.
    fn blank(seeded: Seeded, rules: Rules) -> Self {
        let (record, node) = (RecordFile::Missing, RecordFile::Missing);
        let disks = Event::Disks { record, node, etcd: EtcdData::Absent, fresh: incarnation(1) };
        let mut blank = Self { state: State::with_rules(seeded, rules), action: Action::Steady };
        blank.hear(disks);
        blank.write();
        assert_eq!(blank.action, Action::AskPeers);
        blank
    }
    fn hear(&mut self, event: Event) {
        let now = Now { monotonic: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        let (state, mut actions) = step(&self.state, event, now);
        (self.state, self.action) = (state, actions.remove(0));
    }
    fn write(&mut self) {
        loop {
            match self.action.clone() {
                Action::WriteRecord(r) => self.hear(Event::RecordWritten(r)),
                Action::WriteNodeRecord(n) => self.hear(Event::NodeRecordWritten(n)),
                _ => return,
            }
        }
    }
    fn round(&mut self, said: Vec<(&str, Standing)>) {
        let answer = |(name, standing): (&str, Standing)| {
            (name.to_owned(), Answer::Said { standing, differs: Vec::new() })
        };
        let answers: BTreeMap<_, _> = said.into_iter().map(answer).collect();
        self.hear(Event::PeersAnswered { answers, endpoint: Endpoint::Nothing, voters: Vec::new() });
    }
}

/// `old-answers`: a promise is worth what was said after it; until then each of the others may have promised another.
#[test]
fn a_start_on_answers_from_before_the_promise() {
    let after_the_promise = |rules: Rules| {
        let blank = |n, promised| Standing::Blank { incarnation: incarnation(n), promised };
        let mut other = Node::blank(seeded(&[]), Rules::ALL);
        other.round(vec![("n1", blank(2, None)), ("n2", blank(3, None))]);
        let Action::WriteRecord(record) = &other.action else { panic!("{:?}", other.action) };
        let birth = record.promised().cloned();
        let mut node = Node::blank(seeded(&[]), rules);
        node.round(vec![("n1", blank(2, birth.clone())), ("n2", blank(3, birth))]);
        let Action::WriteRecord(promise) = node.action.clone() else { panic!("{:?}", node.action) };
        node.hear(Event::RecordWritten(promise));
        node.action
    };
    assert_eq!(after_the_promise(Rules::ALL), Action::AskPeers);
    let started = after_the_promise(Mutant::OldAnswers.rules());
    assert!(matches!(&started, Action::WriteRecord(r) if r.started().is_some()), "the mistake: {started:?}");
}

/// `deaf-consent`: the birth that a node promises must need everybody who answers: whom it leaves out may start another.
#[test]
fn consent_that_ignores_an_answer() {
    let promised = |rules: Rules| {
        let mut node = Node::blank(seeded(&["n2"]), rules);
        let blank = |n| Standing::Blank { incarnation: incarnation(n), promised: None };
        node.round(vec![("n1", blank(2)), ("n2", blank(3))]);
        let Action::WriteRecord(record) = &node.action else { panic!("{:?}", node.action) };
        let birth = record.promised().expect("a promise");
        birth.participants().iter().map(|p| p.name.clone()).collect::<BTreeSet<_>>()
    };
    let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(promised(Rules::ALL), names(&["n0", "n1", "n2"]));
    assert_eq!(promised(Mutant::DeafConsent.rules()), names(&["n0", "n1"]), "the mistake");
}

/// `unbound`: a member that was added under a name is started only after a write that fails if another machine has claimed
/// the name since the look.
#[test]
fn a_member_that_is_not_bound() {
    let birth = BirthId("b".repeat(64));
    let claims = format!("{{\"n0\":{{\"address\":\"192.0.2.1\",\"incarnation\":\"{:032x}\"}}}}", 1);
    let map = format!(
        "{{\"metadata\":{{\"name\":\"nodeimg\",\"namespace\":\"kube-public\"}},\"data\":{{\"schema\":\"1\",\"birth\":\"{}\",\
         \"done\":\"\",\"members\":{claims:?}}}}}",
        birth.0,
    );
    let record = ClusterRecord::from_json(map.as_bytes()).expect("a record").at_version("7".into());
    let member = |id, n: usize, name: &str, learner| EtcdMember {
        id,
        name: name.into(),
        address: address(n),
        learner,
        healthy: !learner,
    };
    let next = |rules: Rules| {
        let mut node = Node::blank(seeded(&[]), rules);
        let joined = |n| Standing::Member { incarnation: incarnation(n), birth: birth.clone(), holds: true };
        node.round(vec![("n1", joined(2)), ("n2", joined(3))]);
        node.write();
        assert_eq!(node.action, Action::LookAtCluster(birth.clone()));
        let view = ClusterView {
            adopted: None,
            record: Some(record.clone()),
            members: vec![member(5, 1, "n1", false), member(6, 2, "n2", false), member(7, 0, "", true)],
            ailments: BTreeMap::new(),
            node: NodeSeen::Absent,
            quiet: Duration::ZERO,
            answers_at_stale_address: false,
            learner: Silence { quiet: Duration::ZERO, answers: false },
            skew: None,
        };
        node.hear(Event::ClusterSeen(Box::new(view)));
        node.action
    };
    let bound = next(Rules::ALL);
    let Action::WriteClusterRecord(write) = &bound else { panic!("{bound:?}") };
    assert_eq!(write.resource_version(), Some("7"), "refused if somebody has written in between");
    assert_eq!(write.members().get("n0").and_then(|m| m.member), Some(7));
    let unbound = next(Mutant::Unbound.rules());
    assert!(matches!(unbound, Action::Render(_)), "the mistake: {unbound:?}");
}
