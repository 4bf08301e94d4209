//! What a node does with what its disks and its cluster hold: later boots, guests, a recovery, the cluster's record.

use super::*;

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
