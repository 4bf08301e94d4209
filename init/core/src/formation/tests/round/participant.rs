//! A participant of a birth that it comes to by the way of a joiner: by then it had promised another. etcd lists it as a
//! voter since the birth: that is no word on its disk.

use super::*;

fn members() -> Vec<EtcdMember> {
    vec![member(1, 0, false, false), member(2, 1, false, true), member(3, 2, false, true)]
}

/// Its gate is open, its etcd was begun with [`members`], and nothing was heard of it yet.
fn late_voter() -> (Node, Birth) {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let mut node = Node::blank(seeded(0));
    // Behind the endpoint no participants are named.
    node.hear(peers_answered(BTreeMap::new(), Endpoint::Ours(Ok(x.id()))));
    node.write();
    looks(&mut node, &x, members());
    assert!(matches!(node.action, Action::Render(EtcdStart::Joins { .. })), "{:?}", node.action);
    node.hear(Event::Rendered);
    node.write();
    assert!(matches!(node.action, Action::OpenGate(_)), "{:?}", node.action);
    node.hear(Event::GateOpened);
    assert_eq!(node.action, Action::AwaitApi);
    (node, x)
}

fn looks(node: &mut Node, x: &Birth, members: Vec<EtcdMember>) {
    assert_eq!(node.action, Action::LookAtCluster(x.id()));
    node.hear(Event::ClusterSeen(Box::new(view(x, Some((1, Some(1))), members))));
}

#[test]
fn it_has_joined_when_its_etcd_has_begun() {
    for begins in [EtcdData::Absent, EtcdData::Unstarted, EtcdData::Empty] {
        let (mut node, x) = late_voter();
        node.hear(Event::ApiNotYet(begins));
        assert_eq!(node.action, Action::Wait(Wait::OwnEtcd), "{begins:?}");
        node.tick();
        looks(&mut node, &x, members());
        assert_eq!(node.action, Action::AwaitApi);
        node.hear(Event::ApiNotYet(EtcdData::Present));
        assert!(
            matches!(&node.action, Action::WriteRecord(r) if r.joined() == Some(&x.id())),
            "{:?}",
            node.action
        );
    }
}

#[test]
fn with_an_old_list_it_leaves_and_joins_anew() {
    let two = || members().into_iter().filter(|m| m.id != 3).collect::<Vec<_>>();
    for (begins, stays) in [(EtcdData::Absent, false), (EtcdData::Unstarted, false), (EtcdData::Empty, true)]
    {
        let (mut node, x) = late_voter();
        node.tick();
        // An operator removed cp3 meanwhile.
        looks(&mut node, &x, two());
        assert_eq!(node.action, Action::AwaitApi, "it may be slow");
        node.hear(Event::ApiNotYet(begins));
        if stays {
            assert_eq!(
                node.action,
                Action::Wait(Wait::OwnEtcd),
                "its etcd has begun with the list that it had"
            );
            continue;
        }
        assert_eq!(node.action, Action::RemoveMember(1), "{begins:?}");
        node.hear(Event::MembersChanged);
        looks(&mut node, &x, vec![member(2, 1, false, true)]);
        node.write();
        assert_eq!(node.action, Action::StartAfresh(GivingUp::Removed));
    }
}

#[test]
fn what_etcd_made_before_it_was_a_member_is_rendered_over() {
    let x = birth(Method::Quorum, &[(0, 9), (1, 2), (2, 3)]);
    let record = Record::blank(incarnation(1)).begin_join(x.id(), false).expect("a blank node's");
    let pin = format!("{{\"schema\":1,\"pinned\":\"{}\",\"rendered\":\"{}\"}}", incarnation(1).0, x.id());
    let boot = |etcd| {
        let pin = NodeRecord::from_bytes(pin.as_bytes()).expect("a node record");
        Node::boot(seeded(0), RecordFile::Good(record.clone()), RecordFile::Good(pin), etcd)
    };
    for etcd in [EtcdData::Absent, EtcdData::Unstarted] {
        assert_eq!(boot(etcd).action, Action::LookAtCluster(x.id()), "{etcd:?}");
    }
    for etcd in [EtcdData::Empty, EtcdData::Present] {
        assert!(matches!(boot(etcd).action, Action::OpenGate(_)), "{etcd:?}: a member that may have voted");
    }
}
