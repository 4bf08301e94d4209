//! The agreement, from the first question to the start, and what ends it.

use super::*;

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
