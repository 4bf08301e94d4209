//! A control plane whose etcd runs elsewhere.

use super::*;

fn named(cluster: u64) -> BirthId {
    crate::etcd_gateway::birth_of(cluster)
}

/// What the etcd nodes keep in etcd.
fn kept(birth: &Birth) -> ClusterRecord {
    view(birth, None, Vec::new()).record.expect("a record")
}

/// Its etcd, and the ConfigMap behind its API server.
struct World {
    etcd: ExternalCluster,
    map: Option<ClusterRecord>,
    gates_closed: usize,
}

impl World {
    /// Does what the node wants until it is steady or refuses.
    fn lead(&mut self, node: &mut Node) {
        for _ in 0..50 {
            let event = match node.action.clone() {
                Action::WriteRecord(r) => Event::RecordWritten(r),
                Action::WriteNodeRecord(n) => Event::NodeRecordWritten(n),
                Action::AskExternalEtcd => Event::ExternalEtcd(self.etcd.clone()),
                Action::Render(EtcdStart::External(_)) => Event::Rendered,
                Action::OpenGate(_) => Event::GateOpened,
                Action::CloseGate => {
                    self.gates_closed += 1;
                    Event::GateClosed
                }
                Action::AwaitApi => Event::ApiReady,
                Action::ReadClusterRecord => Event::ClusterRecordRead(self.map.clone()),
                Action::WriteClusterRecord(r) => {
                    self.map = Some(r.clone());
                    Event::ClusterRecordWritten(r)
                }
                Action::HoldLease => Event::LeaseHeld,
                Action::RunSteps(steps) => Event::StepsDone(steps),
                Action::RunNodeSteps => Event::NodeStepsDone,
                Action::RemoveSuperAdmin => Event::SuperAdminRemoved,
                Action::AwaitNode => Event::NodeReady,
                Action::Steady | Action::Refuse(_) => return,
                other => panic!("{other:?}"),
            };
            node.hear(event);
        }
        panic!("it goes round: {:?}", node.action);
    }
}

fn control_plane() -> Node {
    Node::blank(Seeded { kind: Kind::ExternalControlPlane, listed: Vec::new(), permit: None, ..seeded(0) })
}

fn recovered() -> (Birth, Birth, ExternalCluster) {
    let before = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let after = birth(Method::Recover, &[(1, 9)]);
    let etcd = ExternalCluster::of(named(8), Some(&kept(&before).reborn(after.id(), after.participants())));
    (before, after, etcd)
}

#[test]
fn it_goes_on_with_an_etcd_that_was_recovered() {
    let (before, after, etcd) = recovered();
    let mut world =
        World { etcd: ExternalCluster::of(named(7), Some(&kept(&before))), map: None, gates_closed: 0 };
    let mut node = control_plane();
    world.lead(&mut node);
    assert_eq!((&node.action, world.map.as_ref().map(|m| m.birth())), (&Action::Steady, Some(&before.id())));
    let done = ClusterStep::Kubeadm(crate::kubeadm::Phase::UploadConfig);
    assert!(world.map.as_ref().is_some_and(|m| m.has(&done)));
    // etcd serves already, under another id; its node has not written the record anew yet.
    world.etcd = ExternalCluster::of(named(8), Some(&kept(&before)));
    world.lead(node.tick());
    assert_eq!(node.action, Action::Steady);
    world.etcd = etcd;
    world.lead(node.tick());
    assert_eq!(node.action, Action::Steady);
    let map = world.map.as_ref().expect("a ConfigMap");
    assert_eq!(map.birth(), &after.id());
    assert!(map.goes_on_from(&before.id()), "its workers follow");
    assert!(map.has(&done), "nothing is done a second time");
    assert_eq!(world.gates_closed, 0, "its kubelet goes on");
}

#[test]
fn a_wiped_one_finds_the_recovered_etcd_as_well() {
    let (before, after, etcd) = recovered();
    let mut world = World { etcd, map: Some(kept(&before)), gates_closed: 0 };
    let mut node = control_plane();
    world.lead(&mut node);
    assert_eq!(node.action, Action::Steady);
    assert_eq!(world.map.as_ref().map(|m| m.birth()), Some(&after.id()));
}

#[test]
fn an_etcd_is_named_by_its_id_until_it_has_a_record() {
    let x = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let mut world = World { etcd: ExternalCluster::of(named(7), None), map: None, gates_closed: 0 };
    let mut node = control_plane();
    world.lead(&mut node);
    assert_eq!(world.map.as_ref().map(|m| m.birth()), Some(&named(7)));
    world.etcd = ExternalCluster::of(named(7), Some(&kept(&x)));
    world.lead(node.tick());
    assert_eq!((&node.action, world.map.as_ref().map(|m| m.birth())), (&Action::Steady, Some(&x.id())));
    assert_eq!(world.gates_closed, 0);
}

#[test]
fn another_etcd_is_refused() {
    let x = birth(Method::Quorum, &[(1, 2), (2, 3)]);
    let mut world =
        World { etcd: ExternalCluster::of(named(7), Some(&kept(&x))), map: None, gates_closed: 0 };
    let mut node = control_plane();
    world.lead(&mut node);
    // Born anew with the same nodes, and one that nodeimg did not make.
    let again = birth(Method::Quorum, &[(1, 5), (2, 6)]);
    for other in [ExternalCluster::of(named(9), Some(&kept(&again))), ExternalCluster::of(named(9), None)] {
        world.etcd = other;
        world.lead(node.tick());
        assert!(matches!(&node.action, Action::Refuse(Refusal::AnotherBirth { .. })), "{:?}", node.action);
    }
    assert_eq!(world.gates_closed, 1);
    assert_eq!(world.map.as_ref().map(|m| m.birth()), Some(&x.id()), "nothing is written");
}
