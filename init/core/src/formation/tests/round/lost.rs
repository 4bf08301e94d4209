//! A started node whose etcd has no leader: what it started may be worth nothing, or the majority may be gone.

use super::*;

#[test]
fn what_holds_nothing_is_given_up_when_nobody_else_holds_anything() {
    let x = birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]).id();
    let joiner = |i, holds| Standing::Member { incarnation: incarnation(i), birth: x.clone(), holds };
    let cases = [
        (EtcdData::Empty, blank(8, None), blank(9, None), true),
        (EtcdData::Empty, blank(8, None), joiner(9, false), true),
        (EtcdData::Empty, blank(8, None), joiner(9, true), false),
        (EtcdData::Empty, blank(8, None), blank(3, None), false),
        (EtcdData::Present, blank(8, None), blank(9, None), false),
    ];
    for (etcd, two, three, expected) in cases {
        let mut node = lonely(etcd);
        node.hear(heard(&[(1, two.clone()), (2, three.clone())]));
        let noted =
            matches!(&node.action, Action::WriteNodeRecord(n) if n.giving_up() == Some(GivingUp::Worthless));
        assert_eq!(noted, expected, "{etcd:?} {two:?} {three:?}");
        node.write();
        assert_eq!(node.action == Action::StartAfresh(GivingUp::Worthless), expected);
        if expected {
            assert!(matches!(node.state.standing(), Standing::CannotSay { .. }));
            // etcd has received something by the time it is stopped: nothing is given up.
            node.hear(Event::ApiNotYet(EtcdData::Present));
            node.write();
            assert_eq!(node.action, Action::AskPeers);
        }
    }
}

#[test]
fn what_is_remembered_of_a_silent_node_gives_nothing_up() {
    let other = birth(Method::Quorum, &[(0, 7), (1, 8), (2, 9)]);
    let of_another = Standing::Member { incarnation: incarnation(9), birth: other.id(), holds: true };
    let fresh = Answer::Said { standing: of_another.clone(), differs: Vec::new() };
    for (three, given_up) in [(fresh, true), (Answer::Remembered(of_another), false)] {
        let mut node = lonely(EtcdData::Empty);
        let two = Answer::Said { standing: blank(8, None), differs: Vec::new() };
        let answers = BTreeMap::from([("cp2".into(), two), ("cp3".into(), three)]);
        node.hear(peers_answered(answers, Endpoint::Nothing));
        assert_eq!(matches!(node.action, Action::WriteNodeRecord(_)), given_up, "{:?}", node.action);
    }
}

/// What the node makes of a round in which etcd remembers these voters.
fn with_voters(mut node: Node, voters: &[&str], said: &[(&str, Standing)]) -> Node {
    let listed = |n: &&str| {
        let address = NAMES.iter().position(|name| name == n).map_or_else(|| address(7), address);
        Listed { name: n.to_string(), address }
    };
    let answer = |(n, standing): &(&str, Standing)| {
        (n.to_string(), Answer::Said { standing: standing.clone(), differs: Vec::new() })
    };
    assert_eq!(node.action, Action::AskPeers);
    node.hear(Event::PeersAnswered {
        answers: said.iter().map(answer).collect(),
        endpoint: Endpoint::Nothing,
        voters: voters.iter().map(listed).collect(),
    });
    node
}

#[test]
fn a_majority_is_counted_among_the_voters_that_etcd_remembers() {
    let gone = || blank(8, None);
    let data = || Standing::Started {
        incarnation: incarnation(2),
        birth: birth(Method::Quorum, &[(0, 1), (1, 2), (2, 3)]),
    };
    let (three, five) = (["cp1", "cp2", "cp3"], ["cp1", "cp2", "cp3", "cp4", "cp5"]);
    let lost: [(&[&str], &[&str], bool); 7] = [
        (&three, &["cp2", "cp3"], true),
        (&three, &["cp2"], false),
        // Born as three and grown to five: two of them are no majority.
        (&five, &["cp2", "cp3"], false),
        (&five, &["cp2", "cp3", "cp5"], true),
        (&["cp1", "cp2"], &["cp2"], true),
        // Two were replaced: whoever answers under the old names says nothing of this cluster's.
        (&["cp1", "cp4", "cp5"], &["cp2", "cp3"], false),
        // Nobody has seen a list yet: the birth's participants.
        (&[], &["cp2", "cp3"], true),
    ];
    for (voters, wiped, expected) in lost {
        let said: Vec<_> = wiped.iter().map(|n| (*n, gone())).collect();
        let node = with_voters(lonely(EtcdData::Present), voters, &said);
        let waits = matches!(&node.action, Action::Wait(Wait::Quorum(who)) if who == wiped);
        assert_eq!(waits, expected, "{voters:?} {wiped:?} {:?}", node.action);
    }
    let node = with_voters(lonely(EtcdData::Present), &three, &[("cp2", data()), ("cp3", gone())]);
    assert!(!matches!(node.action, Action::Wait(Wait::Quorum(_))), "two of three have data");
    // Blank under the incarnation that the birth names: it is about to start.
    let node = with_voters(lonely(EtcdData::Present), &three, &[("cp2", blank(2, None)), ("cp3", gone())]);
    assert!(!matches!(node.action, Action::Wait(Wait::Quorum(_))), "cp2 starts yet");
}

#[test]
fn a_node_that_was_born_alone_misses_those_who_joined() {
    let alone = Seeded { listed: seeded(0).listed[..1].to_vec(), ..seeded(0) };
    let mut node = Node::blank(alone);
    for _ in 0..2 {
        node.hear(peers_answered(BTreeMap::new(), Endpoint::Nothing));
        node.write();
    }
    node.hear(Event::Rendered);
    node.write();
    node.hear(Event::GateOpened);
    node.hear(Event::ApiNotYet(EtcdData::Present));
    let mut node = with_voters(node, &["cp1"], &[]);
    assert_eq!(node.action, Action::AwaitApi, "nobody else is there");
    node.hear(Event::ApiNotYet(EtcdData::Present));
    let said = [("cp2", blank(8, None)), ("cp3", blank(9, None))];
    let node = with_voters(node, &NAMES, &said);
    assert!(
        matches!(&node.action, Action::Wait(Wait::Quorum(who)) if who == &["cp2", "cp3"]),
        "{:?}",
        node.action
    );
}
