//! One node of three, with the answers of the others written by hand.

use crate::formation::*;
use nodeimg_contract::birth::{Birth, BirthId, Incarnation, Participant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

mod adopted;
mod external;
mod lost;
mod outside;
mod participant;

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

#[test]
fn promises_first_asks_again_then_starts() {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let mut node = Node::blank(seeded(0));
    assert_eq!(node.round(&[(1, blank(2, None)), (2, blank(3, Some(&x)))]), &Action::AskPeers);
    assert_eq!(node.state.standing(), blank(1, Some(&x)), "promised, and asks anew");
    let behind = Action::Wait(Wait::Promises(vec!["cp2".into()]));
    assert_eq!(node.round(&[(1, blank(2, None)), (2, blank(3, Some(&x)))]), &behind);
    node.tick();
    let render = Action::Render(EtcdStart::Born(x.clone()));
    assert_eq!(node.round(&[(1, blank(2, Some(&x))), (2, blank(3, Some(&x)))]), &render);
    assert_eq!(node.started(), Some(x.id()));
}

#[test]
fn silence_is_waited_for_by_name_unless_consent_names_it() {
    let mut node = Node::blank(seeded(0));
    let said = [(1, blank(2, None))];
    assert!(
        matches!(node.round(&said), Action::Wait(Wait::Peers(who)) if who[0].0 == "cp3" && who.len() == 1)
    );
    let consent = Seeded { without: BTreeSet::from(["cp3".into()]), ..seeded(0) };
    let two = birth(Method::Quorum, &[(0, 1), (1, 2)]);
    let mut node = Node::blank(consent);
    node.round(&said);
    assert_eq!(node.state.standing(), blank(1, Some(&two)));
    // It answers: consent is over, and the promise is replaced.
    let three = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    node.round(&[(1, blank(2, Some(&two))), (2, blank(3, None))]);
    assert_eq!(node.state.standing(), blank(1, Some(&three)));
    // Consent does not cover a node that answers that it cannot say.
    node.round(&[(1, blank(2, Some(&two))), (2, Standing::CannotSay { reason: "no disk".into() })]);
    assert!(matches!(&node.action, Action::Wait(Wait::Peers(_))));
    // Nor one that came, was promised a birth, and fell silent: it may have begun it.
    node.tick().round(&[(1, blank(2, Some(&two)))]);
    assert!(
        matches!(&node.action, Action::Wait(Wait::Peers(who)) if who[0].1.contains("came after the consent"))
    );
    assert_eq!(node.state.standing(), blank(1, Some(&three)));
    // Consent of another day does.
    let anew = Permit { nonce: "another".into(), ..permit() };
    node.hear(Event::Reseeded(Box::new(Seeded {
        without: BTreeSet::from(["cp3".into()]),
        permit: Some(anew.clone()),
        ..seeded(0)
    })));
    node.round(&[(1, blank(2, None))]);
    let promised = node.state.standing();
    assert!(
        matches!(&promised, Standing::Blank { promised: Some(b), .. } if *b.permit() == anew && b.participants().len() == 2),
        "{promised:?}"
    );
}

#[test]
fn first_has_one_participant_and_witnesses() {
    let first = |me| Seeded { method: Method::First, ..seeded(me) };
    let x = birth(Method::First, &[(0, 1)]);
    let mut lowest = Node::blank(first(0));
    let witnesses = [(1, blank(2, Some(&x))), (2, blank(3, Some(&x)))];
    lowest.round(&witnesses);
    lowest.round(&witnesses);
    assert_eq!(lowest.started(), Some(x.id()));
    // A witness, whose own incarnation is 1 here.
    let y = birth(Method::First, &[(0, 7)]);
    let mut witness = Node::blank(first(1));
    witness.round(&[(0, blank(7, None)), (2, blank(3, None))]);
    let both = [(0, blank(7, Some(&y))), (2, blank(3, Some(&y)))];
    assert!(matches!(witness.round(&both), Action::Wait(Wait::Participant(who)) if who == "cp1"));
    witness.tick();
    let started = Standing::Started { incarnation: incarnation(7), birth: y.clone() };
    assert_eq!(witness.round(&[(0, started)]), &Action::LookAtCluster(y.id()), "then it joins");
}

#[test]
fn starts_late_what_its_disk_is_in_and_joins_what_it_is_not_in() {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let started = Standing::Started { incarnation: incarnation(2), birth: x.clone() };
    let expired = Seeded { permit: None, ..seeded(0) };
    let mut late = Node::blank(expired.clone());
    late.round(&[(1, started.clone())]);
    assert_eq!(late.action, Action::AskPeers, "it promised first");
    late.round(&[(1, started)]);
    assert_eq!(late.started(), Some(x.id()));

    let without_it = birth(Method::Quorum, &[(0, 9), (1, 2), (2, 3)]);
    let started = Standing::Started { incarnation: incarnation(2), birth: without_it.clone() };
    let mut joiner = Node::blank(expired);
    assert_eq!(joiner.round(&[(1, started)]), &Action::LookAtCluster(without_it.id()));
}

#[test]
fn two_births_another_cluster_a_copy_and_other_seeds_are_refused_and_heal() {
    let x = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let y = birth(Method::Quorum, &[(1, 8), (2, 3)]);
    let mut node = Node::blank(seeded(0));
    let is = |i, b: &Birth| Standing::Started { incarnation: incarnation(i), birth: b.clone() };
    assert!(matches!(
        node.round(&[(1, is(2, &x)), (2, is(3, &y))]),
        Action::Refuse(Refusal::TwoBirths { .. })
    ));
    assert!(matches!(node.tick().round(&[(1, blank(1, None))]), Action::Refuse(Refusal::Copy { .. })));
    let other =
        Birth::new(Permit { cluster: "other".into(), ..permit() }, Method::Quorum, x.participants().into());
    assert!(matches!(
        node.tick().round(&[(1, is(2, &other))]),
        Action::Refuse(Refusal::AnotherCluster { .. })
    ));
    let differs = vec!["nodeimg.controlPlanes".into()];
    let other = Answer::Said { standing: blank(2, None), differs };
    node.tick().hear(peers_answered(BTreeMap::from([("cp2".into(), other)]), Endpoint::Nothing));
    assert!(matches!(&node.action, Action::Refuse(Refusal::Disagree { name, .. }) if name == "cp2"));
    assert_eq!(node.tick().action, Action::AskPeers);
    let differs = vec![format!("{KUBERNETES}1.34.1, this node 1.36.3")];
    let older = Answer::Said { standing: blank(2, None), differs };
    node.hear(peers_answered(BTreeMap::from([("cp2".into(), older)]), Endpoint::Nothing));
    let Action::Refuse(refusal) = &node.action else { panic!("two minor versions are born together") };
    assert_eq!(refusal.fault().code, nodeimg_contract::fault::Code::VersionSkew);
    assert!(refusal.to_string().starts_with("cp2 has Kubernetes 1.34.1, this node 1.36.3"));
    assert_eq!(node.tick().action, Action::AskPeers);
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

#[test]
fn a_learner_that_was_left_behind_goes_when_nobody_hears_of_it() {
    let x = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let started = Standing::Started { incarnation: incarnation(2), birth: x.clone() };
    let looks = |view| {
        let mut node = Node::blank(seeded(0));
        node.round(&[(1, started.clone())]);
        node.with(Event::ClusterSeen(Box::new(view))).action
    };
    let learner = |healthy| EtcdMember {
        address: "10.0.0.9".parse().expect("an address"),
        ..member(7, 2, true, healthy)
    };
    let sees = |quiet, answers, healthy| {
        let members = vec![member(2, 1, false, true), learner(healthy)];
        ClusterView { learner: Silence { quiet, answers }, ..view(&x, Some((1, None)), members) }
    };
    assert_eq!(looks(sees(QUIET, false, false)), Action::RemoveMember(7));
    let second = Duration::from_secs(1);
    for alive in [sees(QUIET - second, false, false), sees(QUIET, true, false), sees(QUIET, false, true)] {
        assert!(matches!(looks(alive), Action::Wait(Wait::Learner(_))));
    }
}

#[test]
fn a_joiner_removes_claims_adds_binds_and_only_then_starts() {
    let x = birth(Method::Quorum, &[(0, 9), (1, 2), (2, 3)]);
    let others = || vec![member(2, 1, false, true), member(3, 2, false, true)];
    let with = |own| [vec![own], others()].concat();
    let started = Standing::Started { incarnation: incarnation(2), birth: x.clone() };
    let joiner = || {
        let mut node = Node::blank(seeded(0));
        node.round(&[(1, started.clone())]);
        assert_eq!(node.action, Action::LookAtCluster(x.id()));
        node
    };
    let looks = |view| joiner().with(Event::ClusterSeen(Box::new(view))).action;
    let stale = |healthy| view(&x, Some((9, None)), with(member(1, 0, false, healthy)));
    assert_eq!(looks(stale(false)), Action::RemoveMember(1));
    for careful in [
        stale(true),
        ClusterView { quiet: QUIET - Duration::from_secs(1), ..stale(false) },
        ClusterView { answers_at_stale_address: true, ..stale(false) },
        ClusterView {
            members: vec![member(1, 0, false, false), member(2, 1, false, false), member(3, 2, false, true)],
            ..stale(false)
        },
    ] {
        assert!(matches!(looks(careful), Action::Wait(Wait::StaleMember(_))));
    }
    let claim = looks(view(&x, Some((9, None)), others()));
    assert!(
        matches!(claim, Action::WriteClusterRecord(r) if r.members()["cp1"].incarnation == incarnation(1))
    );
    let ready = ClusterView { node: NodeSeen::Ready, ..view(&x, Some((9, None)), others()) };
    assert_eq!(looks(ready), Action::Wait(Wait::NodeStillReady));
    assert_eq!(looks(view(&x, Some((1, None)), others())), Action::AddLearner);
    let sick = |name: &str, at: usize| {
        let (name, address) = (name.to_owned(), address(at));
        let sick = EtcdMember { name, address, ..member(2, 1, false, false) };
        let members = vec![sick, member(3, 2, false, true)];
        let ailments = BTreeMap::from([(2, "alarm NOSPACE".to_owned())]);
        looks(ClusterView { ailments, ..view(&x, Some((1, None)), members) })
    };
    for (name, at, who) in [("cp2", 1, "cp2"), ("", 1, "cp2"), ("", 7, "192.0.2.17")] {
        let Action::Wait(wait) = sick(name, at) else { panic!("nobody is added beside a sick member") };
        assert_eq!(wait, Wait::SickMember { who: who.into(), why: "alarm NOSPACE".into() });
        assert!(wait.fault().help.contains(&format!("nodeinit remove-member {who}")));
        assert!(wait.fault().cause.contains("NOSPACE"));
    }
    let bind = looks(view(&x, Some((1, None)), with(member(7, 0, true, false))));
    assert!(matches!(bind, Action::WriteClusterRecord(r) if r.members()["cp1"].member == Some(7)));
    let bound = || view(&x, Some((1, Some(7))), with(member(7, 0, true, false)));
    assert!(matches!(looks(bound()), Action::Render(EtcdStart::Joins { members, .. }) if members.len() == 3));
    // Somebody else claimed the name meanwhile: the listed member is not this machine's.
    let theirs = view(&x, Some((8, Some(7))), with(member(7, 0, true, true)));
    assert!(matches!(looks(theirs), Action::Wait(Wait::StaleMember(_))));
    let busy = [others(), vec![member(8, 0, true, false)]].concat();
    let busy = busy.into_iter().map(|m| EtcdMember {
        address: address(if m.id == 8 { 9 } else { m.id as usize - 1 }),
        name: String::new(),
        ..m
    });
    assert!(matches!(looks(view(&x, Some((1, None)), busy.collect())), Action::Wait(Wait::Learner(_))));

    // Started, promoted, joined; then removed by somebody.
    let mut node = joiner().with(Event::ClusterSeen(Box::new(bound()))).with(Event::Rendered);
    node.write();
    node.hear(Event::GateOpened);
    assert_eq!(node.action, Action::Promote);
    let mut removed = Node { seeded: seeded(0), state: node.state.clone(), action: node.action.clone() };
    node.hear(Event::Promoted);
    node.hear(Event::ClusterSeen(Box::new(view(&x, Some((1, Some(7))), with(member(7, 0, false, true))))));
    node.write();
    assert_eq!(node.action, Action::AwaitApi);
    removed.hear(Event::NotPromoted("it is behind".into()));
    assert_eq!(removed.action, Action::Wait(Wait::Promotion("it is behind".into())));
    removed.hear(Event::Tick);
    removed.hear(Event::ClusterSeen(Box::new(bound())));
    removed.hear(Event::Promoted);
    removed.hear(Event::ClusterSeen(Box::new(view(&x, Some((1, Some(7))), others()))));
    removed.write();
    assert_eq!(removed.action, Action::StartAfresh(GivingUp::Removed));
}

#[test]
fn an_etcd_disk_that_knows_of_fewer_starts_was_put_back() {
    let write = |node: &Node, event: Event| step(&node.state, event, now());
    let node = lonely(EtcdData::Present);
    let served = write(&node, Event::ApiReady).1;
    let [Action::WriteRecord(joined)] = &served[..] else { panic!("{served:?}") };
    let pin = |starts: u64| {
        let json = format!(
            "{{\"schema\":1,\"pinned\":\"{}\",\"rendered\":\"{}\",\"starts\":{starts}}}",
            incarnation(1).0,
            joined.cluster().expect("a cluster")
        );
        RecordFile::Good(NodeRecord::from_bytes(json.as_bytes()).expect("a node record"))
    };
    let boot = |record: &Record, starts, etcd| {
        Node::boot(seeded(0), RecordFile::Good(record.clone()), pin(starts), etcd)
    };
    assert_eq!(boot(joined, 1, EtcdData::Present).action, Action::SettleEtcd);
    assert_eq!(boot(joined, 2, EtcdData::Present).action, Action::Refuse(Refusal::EtcdDiskRolledBack));
    assert_eq!(boot(joined, 1, EtcdData::Absent).action, Action::Refuse(Refusal::EtcdDiskLost));
    assert!(matches!(boot(joined, 2, EtcdData::Present).state.standing(), Standing::CannotSay { .. }));
}

#[test]
fn a_worker_pins_the_birth_and_leaves_another_ones_cluster_alone() {
    let worker = Seeded { kind: Kind::Worker, listed: Vec::new(), permit: None, ..seeded(0) };
    let of = |b: &Birth| view(b, None, Vec::new()).record;
    let x = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let y = birth(Method::Quorum, &[(1, 8), (2, 3)]);
    let mut node = Node::blank(worker);
    assert_eq!(node.action, Action::ReadClusterRecord);
    node.hear(Event::ClusterRecordRead(None));
    assert_eq!(node.action, Action::Wait(Wait::ClusterRecord));
    node.tick().hear(Event::ClusterRecordRead(of(&x)));
    assert!(matches!(&node.action, Action::WriteNodeRecord(n) if n.birth() == Some(&x.id())));
    node.write();
    assert_eq!(node.action, Action::RenderKubelet);
    node.hear(Event::Rendered);
    node.write();
    node.hear(Event::GateOpened);
    node.hear(Event::NodeReady);
    assert_eq!(node.action, Action::Steady);
    node.tick().hear(Event::ClusterRecordRead(of(&y)));
    assert_eq!(node.action, Action::CloseGate);
    node.hear(Event::GateClosed);
    assert!(matches!(&node.action, Action::Refuse(Refusal::AnotherBirth { .. })));
    node.tick().hear(Event::ClusterRecordRead(of(&x)));
    assert!(matches!(&node.action, Action::OpenGate(_)), "its own cluster is back");
}

#[test]
fn an_etcd_node_writes_the_record_that_etcd_keeps_once() {
    let etcd = Seeded { kind: Kind::Etcd, steps: Vec::new(), ..seeded(0) };
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let record = Record::blank(incarnation(1)).promise(x.clone()).and_then(|r| r.start()).expect("started");
    let pin = RecordFile::Good(NodeRecord::pin(incarnation(1)));
    let mut node = Node::boot(etcd, RecordFile::Good(record), pin, EtcdData::Absent);
    for event in [Event::Rendered, Event::GateOpened, Event::ApiReady] {
        node.hear(event);
        node.write();
    }
    assert_eq!(node.action, Action::ReadClusterRecord);
    node.hear(Event::ClusterRecordRead(None));
    let Action::WriteClusterRecord(first) = node.action.clone() else { panic!("{:?}", node.action) };
    assert_eq!((first.birth(), first.members().len(), first.resource_version()), (&x.id(), 3, None));
    node.hear(Event::ClusterRecordConflict);
    assert_eq!(node.action, Action::ReadClusterRecord, "another node was quicker");
    node.hear(Event::ClusterRecordRead(Some(first)));
    assert_eq!(node.action, Action::Steady);
    node.tick()
        .hear(Event::ClusterRecordRead(view(&birth(Method::Quorum, &[(0, 8)]), None, Vec::new()).record));
    assert!(matches!(&node.action, Action::Refuse(Refusal::AnotherBirth { .. })));
}

#[test]
fn a_worker_goes_on_with_its_cluster_after_a_recovery() {
    let worker = Seeded { kind: Kind::Worker, listed: Vec::new(), permit: None, ..seeded(0) };
    let before = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let after = birth(Method::Recover, &[(1, 9)]);
    let record = view(&before, None, Vec::new()).record.expect("a record");
    let mut node = Node::blank(worker);
    node.hear(Event::ClusterRecordRead(Some(record.clone())));
    node.write();
    for event in [Event::Rendered, Event::GateOpened, Event::NodeReady] {
        node.hear(event);
        node.write();
    }
    assert_eq!(node.action, Action::Steady);
    let reborn = record.reborn(after.id(), after.participants());
    let read = ClusterRecord::from_json(&reborn.to_json().expect("JSON")).expect("a record");
    assert_eq!(read, reborn);
    node.tick().hear(Event::ClusterRecordRead(Some(read)));
    assert!(matches!(&node.action, Action::WriteNodeRecord(n) if n.birth() == Some(&after.id())));
    node.write();
    assert_eq!(node.action, Action::Steady, "nothing is rendered again, its kubelet goes on");
}

#[test]
fn the_survivor_recovers_as_a_birth_of_its_own() {
    let node = lonely(EtcdData::Present);
    let [Action::WriteRecord(joined)] = &step(&node.state, Event::ApiReady, now()).1[..] else { panic!() };
    let recovered =
        joined.recover(incarnation(5), permit(), "cp1".into(), address(0)).expect("it had a cluster");
    let bytes = recovered.to_bytes().expect("bytes");
    assert_eq!(Record::from_bytes(&bytes), Ok(recovered.clone()));
    let pin = RecordFile::Good(NodeRecord::pin(incarnation(5)));
    let mut node = Node::boot(seeded(0), RecordFile::Good(recovered.clone()), pin, EtcdData::Present);
    assert!(matches!(&node.action, Action::Render(EtcdStart::Born(b)) if b.participants().len() == 1));
    for event in [Event::Rendered, Event::GateOpened, Event::ApiReady] {
        node.hear(event);
        node.write();
    }
    let old = view(&birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]), None, Vec::new()).record;
    node.hear(Event::ClusterRecordRead(old));
    assert!(
        matches!(&node.action, Action::WriteClusterRecord(r) if Some(r.birth().clone()) == recovered.cluster()),
        "{:?}",
        node.action
    );
}

#[test]
fn the_record_of_a_cluster_is_read_again_under_the_lease() {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let mut node = lonely(EtcdData::Empty);
    node.hear(Event::ApiReady);
    node.write();
    let record = view(&x, None, Vec::new()).record;
    node.hear(Event::ClusterRecordRead(record.clone()));
    assert_eq!(node.action, Action::HoldLease);
    node.hear(Event::LeaseElsewhere("cp2".into()));
    assert_eq!(node.action, Action::RunNodeSteps, "the own label needs nobody else");
    node.hear(Event::Tick);
    node.hear(Event::ClusterRecordRead(record.clone()));
    node.hear(Event::LeaseHeld);
    assert_eq!(node.action, Action::ReadClusterRecord);
    node.hear(Event::ClusterRecordRead(record));
    assert_eq!(node.action, Action::RunSteps(ClusterStep::KUBEADM.to_vec()));
    node.hear(Event::StepsDone(ClusterStep::KUBEADM.to_vec()));
    assert_eq!(node.action, Action::HoldLease, "renewed before the steps are recorded");
}
