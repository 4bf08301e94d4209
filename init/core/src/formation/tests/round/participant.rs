//! A participant of a birth that it comes to by the way of a joiner: by then it had promised another.

use super::*;

#[test]
fn it_has_joined_when_its_etcd_has_begun() {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let members = || vec![member(1, 0, false, false), member(2, 1, false, true), member(3, 2, false, true)];
    let mut node = Node::blank(seeded(0));
    // Behind the endpoint no participants are named.
    node.hear(peers_answered(BTreeMap::new(), Endpoint::Ours(Ok(x.id()))));
    node.write();
    let seen = || Event::ClusterSeen(Box::new(view(&x, Some((1, Some(1))), members())));
    let look = |node: &mut Node| {
        assert_eq!(node.action, Action::LookAtCluster(x.id()));
        node.hear(seen());
    };
    look(&mut node);
    assert!(matches!(node.action, Action::Render(EtcdStart::Joins { .. })), "{:?}", node.action);
    node.hear(Event::Rendered);
    node.write();
    assert!(matches!(node.action, Action::OpenGate(_)), "{:?}", node.action);
    node.hear(Event::GateOpened);
    // etcd lists it as a voter since the birth: that is no word on its disk.
    assert_eq!(node.action, Action::AwaitApi);
    node.hear(Event::ApiNotYet(EtcdData::Absent));
    assert!(matches!(node.action, Action::Wait(Wait::Cluster(_))), "{:?}", node.action);
    node.tick();
    look(&mut node);
    assert_eq!(node.action, Action::AwaitApi);
    node.hear(Event::ApiNotYet(EtcdData::Present));
    assert!(
        matches!(&node.action, Action::WriteRecord(r) if r.joined() == Some(&x.id())),
        "{:?}",
        node.action
    );
}
