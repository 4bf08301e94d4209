//! A node that joins: what it claims, removes and adds before it starts.

use super::*;

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
