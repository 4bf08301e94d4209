//! A cluster that lives on nodes outside of the list: behind the endpoint, or asking. Nothing is born beside it.

use super::*;

fn all_blank(x: Option<&Birth>) -> BTreeMap<String, Answer> {
    let said = |n: usize| Answer::Said { standing: blank(n + 1, x), differs: Vec::new() };
    (1..3).map(|n| (NAMES[n].to_owned(), said(n))).collect()
}

/// A member that is not in the list has asked; its seed is another one.
fn with_asker(mut answers: BTreeMap<String, Answer>, standing: Standing) -> Event {
    let asker = Answer::Said { standing, differs: vec!["nodeimg.controlPlanes".into()] };
    answers.insert("cp4".into(), asker);
    peers_answered(answers, Endpoint::Nothing)
}

fn behind(endpoint: Endpoint, promised: Option<&Birth>) -> Event {
    peers_answered(all_blank(promised), endpoint)
}

fn joins(action: &Action, birth: &Birth) -> bool {
    matches!(action, Action::WriteRecord(r) if r.joining() == Some(&birth.id()))
}

#[test]
fn nothing_is_promised_or_started_beside_the_cluster_behind_the_endpoint() {
    let old = birth(Method::First, &[(0, 9)]);
    let hidden = || Endpoint::Ours(Err("its etcd has no leader".into()));
    let mut node = Node::blank(seeded(0));
    node.hear(behind(hidden(), None));
    let Action::Wait(wait) = &node.action else { panic!("{:?}", node.action) };
    assert_eq!(wait.fault().code, nodeimg_contract::fault::Code::ClusterElsewhere);
    assert!(wait.to_string().contains("its etcd has no leader"), "{wait}");
    node.tick().hear(behind(Endpoint::Ours(Ok(old.id())), None));
    assert!(joins(&node.action, &old), "{:?}", node.action);

    // Between promise and start, too.
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let mut node = Node::blank(seeded(0));
    node.hear(behind(Endpoint::Nothing, None));
    node.write();
    assert_eq!(node.action, Action::AskPeers, "it has promised");
    node.hear(behind(hidden(), Some(&x)));
    assert!(matches!(node.action, Action::Wait(Wait::Outside(_))), "{:?}", node.action);
    assert_eq!(node.started(), None);
    node.tick().hear(behind(Endpoint::Nothing, Some(&x)));
    node.write();
    assert_eq!(node.started(), Some(x.id()), "it was gone: the birth goes on");
}

#[test]
fn a_node_alone_in_its_list_asks_the_endpoint_as_well() {
    let old = birth(Method::First, &[(0, 9)]);
    let alone = Seeded { listed: vec![Listed { name: "cp1".into(), address: address(0) }], ..seeded(0) };
    let mut node = Node::blank(alone);
    assert_eq!(node.action, Action::AskPeers);
    node.hear(peers_answered(BTreeMap::new(), Endpoint::Ours(Ok(old.id()))));
    assert!(joins(&node.action, &old), "{:?}", node.action);
}

#[test]
fn a_late_start_is_of_the_birth_behind_the_endpoint_or_none() {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]);
    let mut node = Node::blank(seeded(0));
    node.round(&[(1, blank(2, None)), (2, blank(3, None))]);
    let started = Standing::Started { incarnation: incarnation(2), birth: x.clone() };
    let mut answers = all_blank(Some(&x));
    answers.insert("cp2".into(), Answer::Said { standing: started, differs: Vec::new() });
    let old = birth(Method::First, &[(0, 9)]);
    let mut other = Node { seeded: seeded(0), state: node.state.clone(), action: node.action.clone() };
    other.hear(peers_answered(answers.clone(), Endpoint::Ours(Ok(old.id()))));
    assert!(matches!(other.action, Action::Refuse(Refusal::TwoBirths { .. })), "{:?}", other.action);
    node.hear(peers_answered(answers, Endpoint::Ours(Ok(x.id()))));
    node.write();
    assert_eq!(node.started(), Some(x.id()));
}

#[test]
fn a_member_that_asks_is_a_cluster() {
    let old = birth(Method::First, &[(0, 9)]);
    let member = |holds| Standing::Member { incarnation: incarnation(7), birth: old.id(), holds };
    let mut node = Node::blank(seeded(0));
    node.hear(with_asker(all_blank(None), member(true)));
    assert!(joins(&node.action, &old), "{:?}", node.action);

    let mut node = Node::blank(seeded(0));
    node.hear(with_asker(all_blank(None), member(false)));
    assert!(
        matches!(&node.action, Action::WriteRecord(r) if r.promised().is_some()),
        "who holds nothing of it is no witness: {:?}",
        node.action
    );
}

#[test]
fn a_cluster_that_only_a_member_outside_of_the_list_told_of_is_not_given_up() {
    let old = birth(Method::First, &[(0, 9)]);
    let mut node = Node::blank(seeded(0));
    let member = |holds| Standing::Member { incarnation: incarnation(7), birth: old.id(), holds };
    node.hear(with_asker(all_blank(None), member(true)));
    node.write();
    assert_eq!(node.action, Action::LookAtCluster(old.id()));
    for holds in [true, false] {
        node.hear(Event::ClusterHidden("nobody has a quorum".into()));
        node.hear(with_asker(all_blank(None), member(holds)));
        assert!(matches!(node.action, Action::Wait(Wait::Outside(_))), "{holds} {:?}", node.action);
        node.tick();
    }
}

#[test]
fn what_a_listed_node_told_of_is_given_up_once_nobody_holds_it_in_the_list_or_outside() {
    let old = birth(Method::First, &[(2, 9)]);
    let started = Standing::Started { incarnation: incarnation(9), birth: old.clone() };
    let mut node = Node::blank(seeded(0));
    node.round(&[(1, blank(2, None)), (2, started)]);
    assert_eq!(node.action, Action::LookAtCluster(old.id()));
    let member = |holds| Standing::Member { incarnation: incarnation(7), birth: old.id(), holds };
    node.hear(Event::ClusterHidden("nobody has a quorum".into()));
    node.hear(with_asker(all_blank(None), member(true)));
    assert!(matches!(node.action, Action::Wait(Wait::Cluster(_))), "{:?}", node.action);
    node.tick().hear(Event::ClusterHidden("nobody has a quorum".into()));
    node.hear(with_asker(all_blank(None), member(false)));
    assert!(
        matches!(&node.action, Action::WriteNodeRecord(n) if n.giving_up() == Some(GivingUp::Worthless)),
        "{:?}",
        node.action
    );
}
