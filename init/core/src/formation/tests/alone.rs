//! Formation of a node that is alone in its list, under an adversary: power cuts at every action, lost events, lost and
//! swapped disks, wipes, clocks. Several nodes are the simulator's (init/sim).

use crate::formation::*;
use nodeimg_contract::birth::{BirthId, Incarnation};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn permit(not_after: &str) -> Permit {
    Permit {
        cluster: "8f14e45f-ceea-467f-a0e6-d3a4c9b1f001".into(),
        nonce: "0".repeat(32),
        not_after: not_after.parse().expect("a time"),
    }
}

fn seeded() -> Seeded {
    let mut steps = ClusterStep::KUBEADM.to_vec();
    steps.push(ClusterStep::CoreDns { forward: true });
    steps.push(ClusterStep::Addon("flannel".into()));
    Seeded {
        name: "cp1".into(),
        address: "192.0.2.11".parse().expect("an address"),
        kind: Kind::StackedControlPlane,
        listed: vec![Listed { name: "cp1".into(), address: "192.0.2.11".parse().expect("an address") }],
        without: BTreeSet::new(),
        adopt: false,
        permit: Some(permit("2030-01-01T00:00:00Z")),
        method: Method::Quorum,
        steps,
    }
}

fn now(wall: &str) -> Now {
    Now { monotonic: Duration::ZERO, wall: wall.parse().expect("a time") }
}

const IN_TIME: &str = "2026-01-01T00:00:00Z";
const TOO_LATE: &str = "2031-01-01T00:00:00Z";

/// A round in which nobody was asked.
fn peers_answered() -> Event {
    Event::PeersAnswered { answers: BTreeMap::new(), endpoint: Endpoint::Nothing, voters: Vec::new() }
}

/// Two disks, an etcd and a cluster that keep what was done to them; everything else is lost at a power cut.
#[derive(Default, Clone)]
struct World {
    record: Option<Vec<u8>>,
    node: Option<Vec<u8>>,
    etcd_born: Option<BirthId>,
    rendered_for: Option<BirthId>,
    manifest_existing: bool,
    cluster: Option<Vec<u8>>,
    incarnations: u8,
    /// Every birth whose etcd was ever started on the disk that lies there now.
    births: BTreeSet<BirthId>,
    steps_run: Vec<ClusterStep>,
}

impl World {
    fn disks(&mut self) -> Event {
        self.incarnations += 1;
        Event::Disks {
            record: RecordFile::read(self.record.as_deref(), Record::from_bytes),
            node: RecordFile::read(self.node.as_deref(), NodeRecord::from_bytes),
            etcd: if self.etcd_born.is_some() { EtcdData::Present } else { EtcdData::Absent },
            fresh: Incarnation(format!("{:032x}", self.incarnations)),
        }
    }

    /// Does an action, durable effects included; checks what must hold at that moment.
    fn perform(&mut self, action: &Action) -> Option<Event> {
        Some(match action.clone() {
            Action::WriteRecord(r) => {
                self.record = Some(r.to_bytes().expect("bytes"));
                Event::RecordWritten(r)
            }
            Action::WriteNodeRecord(n) => {
                self.node = Some(n.to_bytes().expect("bytes"));
                Event::NodeRecordWritten(n)
            }
            Action::Render(EtcdStart::Born(birth)) => {
                assert!(self.etcd_born.is_none(), "rendering clears folders: never after etcd has started");
                self.rendered_for = Some(birth.id());
                self.manifest_existing = false;
                Event::Rendered
            }
            Action::SettleEtcd => {
                assert_eq!(self.etcd_born, self.rendered_for);
                self.manifest_existing = true;
                Event::EtcdSettled
            }
            Action::OpenGate(gate) => {
                let record = Record::from_bytes(self.record.as_deref().expect("a record")).expect("good");
                let node = NodeRecord::from_bytes(self.node.as_deref().expect("a pin")).expect("good");
                assert_eq!(
                    record.cluster().as_ref(),
                    Some(gate.birth()),
                    "the gate is for the started birth"
                );
                assert_eq!(node.pinned(), Some(record.incarnation()), "the gate is for the pinned disk");
                assert_eq!(self.rendered_for, Some(gate.birth()).cloned(), "manifests are there");
                assert!(!(self.manifest_existing && self.etcd_born.is_none()), "etcd has data to go on with");
                // The kubelet starts etcd: a new member if the folder is empty.
                let id = self.etcd_born.get_or_insert_with(|| gate.birth().clone()).clone();
                self.births.insert(id);
                Event::GateOpened
            }
            Action::AskPeers => peers_answered(),
            Action::AwaitApi => Event::ApiReady,
            Action::ReadClusterRecord => Event::ClusterRecordRead(
                self.cluster.as_deref().map(|b| ClusterRecord::from_json(b).expect("a record")),
            ),
            Action::WriteClusterRecord(c) => {
                self.cluster = Some(c.to_json().expect("bytes"));
                Event::ClusterRecordWritten(c)
            }
            Action::HoldLease => Event::LeaseHeld,
            Action::RunNodeSteps => Event::NodeStepsDone,
            Action::RunSteps(steps) => {
                self.steps_run.extend(steps.clone());
                Event::StepsDone(steps)
            }
            Action::RemoveSuperAdmin => Event::SuperAdminRemoved,
            Action::AwaitNode => Event::NodeReady,
            Action::Steady | Action::Refuse(_) => return None,
            other => panic!("a node alone is never asked for {other:?}"),
        })
    }

    /// One boot: at most `limit` actions, then the power goes. `lost`: the last action is done, its event never comes.
    fn boot(&mut self, limit: usize, lost: bool, wall: &str) -> Option<Action> {
        let state = State::new(seeded());
        let (mut state, mut actions) = step(&state, self.disks(), now(wall));
        for n in 0..200 {
            let [action] = &actions[..] else { panic!("one action at a time") };
            if n == limit {
                if lost {
                    self.perform(action);
                }
                return None;
            }
            let Some(event) = self.perform(action) else { return Some(action.clone()) };
            (state, actions) = step(&state, event, now(wall));
        }
        panic!("no end in 200 actions");
    }
}

#[test]
fn forms_once_and_then_only_opens_the_gate() {
    let mut world = World::default();
    assert_eq!(world.boot(usize::MAX, false, IN_TIME), Some(Action::Steady));
    assert_eq!(world.steps_run, seeded().steps);
    assert!(!world.manifest_existing);
    assert_eq!(
        world.boot(usize::MAX, false, TOO_LATE),
        Some(Action::Steady),
        "a started node needs no permit"
    );
    assert_eq!(world.steps_run, seeded().steps, "nothing is formed again");
    assert!(world.manifest_existing);
    assert_eq!(world.births.len(), 1);
}

#[test]
fn a_power_cut_at_any_two_actions_still_ends_steady_with_one_birth() {
    for first in 0..30 {
        for second in (0..30).step_by(3) {
            for lost in 0..4 {
                let mut world = World::default();
                world.boot(first, lost & 1 != 0, IN_TIME);
                world.boot(second, lost & 2 != 0, IN_TIME);
                assert_eq!(
                    world.boot(usize::MAX, false, IN_TIME),
                    Some(Action::Steady),
                    "{first} {second} {lost}"
                );
                assert_eq!(world.births.len(), 1);
            }
        }
    }
}

#[test]
fn a_lost_or_swapped_etcd_disk_is_refused() {
    let mut world = World::default();
    world.boot(usize::MAX, false, IN_TIME);
    let mut lost = World { record: None, etcd_born: None, ..world.clone() };
    assert_eq!(lost.boot(usize::MAX, false, IN_TIME), Some(Action::Refuse(Refusal::EtcdDiskLost)));
    let mut other = World { incarnations: 100, ..World::default() };
    other.boot(usize::MAX, false, IN_TIME);
    let mut swapped = World { record: other.record, ..world.clone() };
    assert_eq!(swapped.boot(usize::MAX, false, IN_TIME), Some(Action::Refuse(Refusal::EtcdDiskSwapped)));
    let mut state_lost = World { node: None, ..world.clone() };
    assert_eq!(state_lost.boot(usize::MAX, false, IN_TIME), Some(Action::Refuse(Refusal::StateLost)));
    let mut torn = World { record: Some(b"{\"schema\":1".to_vec()), ..world.clone() };
    assert_eq!(
        torn.boot(usize::MAX, false, IN_TIME),
        Some(Action::Refuse(Refusal::BadRecord(BadRecord::Damaged)))
    );
    let mut newer = World { record: Some(b"{\"schema\":2}".to_vec()), ..world };
    assert_eq!(
        newer.boot(usize::MAX, false, IN_TIME),
        Some(Action::Refuse(Refusal::BadRecord(BadRecord::Newer(2))))
    );
}

#[test]
fn data_without_a_record_is_somebody_elses() {
    let mut world = World { etcd_born: Some(BirthId("x".into())), ..World::default() };
    assert_eq!(world.boot(usize::MAX, false, IN_TIME), Some(Action::Refuse(Refusal::ForeignData)));
    assert!(world.record.is_none());
}

#[test]
fn a_blank_node_needs_a_permit_and_goes_on_when_it_gets_one() {
    let blank = Seeded { permit: None, ..seeded() };
    let mut world = World::default();
    let (mut state, mut actions) = step(&State::new(blank), world.disks(), now(IN_TIME));
    for _ in 0..3 {
        let event = world.perform(&actions[0]).expect("record, pin, question");
        (state, actions) = step(&state, event, now(IN_TIME));
    }
    assert_eq!(actions, [Action::Refuse(Refusal::NoPermit)]);
    let (state, actions) = step(&state, Event::Reseeded(Box::new(seeded())), now(TOO_LATE));
    assert_eq!(actions, [Action::AskPeers]);
    let (state, actions) = step(&state, peers_answered(), now(TOO_LATE));
    assert!(matches!(actions[..], [Action::Refuse(Refusal::PermitExpired { .. })]));
    let (state, actions) = step(&state, Event::Tick, now(IN_TIME));
    assert_eq!(actions, [Action::AskPeers]);
    let (_, actions) = step(&state, peers_answered(), now(IN_TIME));
    assert!(
        matches!(&actions[..], [Action::WriteRecord(r)] if r.promised().is_some() && r.started().is_none())
    );
}

#[test]
fn a_permit_that_ends_between_promise_and_start_starts_nothing() {
    let mut world = World::default();
    world.boot(4, false, IN_TIME); // record, pin, question, promise
    assert!(world.births.is_empty());
    assert!(matches!(
        world.boot(usize::MAX, false, TOO_LATE),
        Some(Action::Refuse(Refusal::PermitExpired { .. }))
    ));
    assert!(world.births.is_empty());
}

#[test]
fn another_name_on_the_same_disk_is_refused() {
    let mut world = World::default();
    world.boot(usize::MAX, false, IN_TIME);
    let renamed = Seeded { name: "cp9".into(), ..seeded() };
    let (_, actions) = step(&State::new(renamed), world.disks(), now(IN_TIME));
    assert!(matches!(&actions[..], [Action::Refuse(Refusal::AnotherNode { name, .. })] if name == "cp1"));
}

#[test]
fn a_cluster_of_another_birth_is_not_written_to() {
    let mut world = World::default();
    world.boot(usize::MAX, false, IN_TIME);
    let text = String::from_utf8(world.cluster.clone().expect("a record")).expect("text");
    let id = world.births.first().expect("a birth").0.clone();
    world.cluster = Some(text.replace(&id, &"f".repeat(64)).into_bytes());
    let before = world.cluster.clone();
    assert!(matches!(
        world.boot(usize::MAX, false, IN_TIME),
        Some(Action::Refuse(Refusal::AnotherBirth { .. }))
    ));
    assert_eq!(world.cluster, before);
}

#[test]
fn a_step_of_a_newer_image_is_the_only_one_that_runs() {
    let mut world = World::default();
    world.boot(usize::MAX, false, IN_TIME);
    world.steps_run.clear();
    let mut more = seeded();
    more.steps.push(ClusterStep::Addon("metrics".into()));
    let (mut state, mut actions) = step(&State::new(more), world.disks(), now(IN_TIME));
    while let Some(event) = world.perform(&actions[0]) {
        (state, actions) = step(&state, event, now(IN_TIME));
    }
    assert_eq!(world.steps_run, [ClusterStep::Addon("metrics".into())]);
}

/// What the adversary does between two boots.
#[derive(Debug, Clone)]
enum Blow {
    Cut { at: usize, lost: bool, late: bool },
    LoseEtcdDisk,
    LoseStateDisk,
    WipeBoth,
}

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        6 => (0usize..35, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(at, lost, late)| Blow::Cut { at, lost, late }),
        1 => Just(Blow::LoseEtcdDisk),
        1 => Just(Blow::LoseStateDisk),
        1 => Just(Blow::WipeBoth),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_adversary_gets_no_second_birth_on_one_disk(blows in prop::collection::vec(blow(), 0..8)) {
        let mut world = World::default();
        for blow in blows {
            match blow {
                Blow::Cut { at, lost, late } => {
                    world.boot(at, lost, if late { TOO_LATE } else { IN_TIME });
                }
                Blow::LoseEtcdDisk => {
                    (world.record, world.etcd_born) = (None, None);
                    world.births.clear();
                    world.cluster = None;
                }
                Blow::LoseStateDisk => (world.node, world.rendered_for) = (None, None),
                Blow::WipeBoth => world = World { incarnations: world.incarnations, ..World::default() },
            }
            prop_assert!(world.births.len() <= 1);
        }
        // The adversary stops: steady, or refused with a reason, and the second boot says the same.
        let end = world.boot(usize::MAX, false, IN_TIME);
        prop_assert!(matches!(end, Some(Action::Steady | Action::Refuse(_))));
        prop_assert!(world.births.len() <= 1);
        prop_assert_eq!(world.boot(usize::MAX, false, IN_TIME), end);
    }

    #[test]
    fn records_never_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Record::from_bytes(&bytes);
        let _ = NodeRecord::from_bytes(&bytes);
        let _ = ClusterRecord::from_json(&bytes);
    }
}
