//! Every wait that a console can show stands in the table of docs/formation.md.

use nodeimg_init_core::formation::Wait;

const TABLE: &str = include_str!("../../../docs/formation.md");

/// One of each kind, with the words that the table uses. Another kind does not compile until it is written here.
fn all() -> Vec<Wait> {
    let text = |text: &str| text.to_owned();
    let first = Wait::Peers(vec![(text("cp3"), text("…"))]);
    let mut waits = vec![first];
    while let Some(next) = match waits.last() {
        Some(Wait::Peers(_)) => Some(Wait::Promises(vec![text("cp2")])),
        Some(Wait::Promises(_)) => Some(Wait::Participant(text("cp1"))),
        Some(Wait::Participant(_)) => Some(Wait::Cluster(text("…"))),
        Some(Wait::Cluster(_)) => Some(Wait::Outside(text("…"))),
        Some(Wait::Outside(_)) => Some(Wait::ClusterRecord),
        Some(Wait::ClusterRecord) => Some(Wait::Learner(text("cp2"))),
        Some(Wait::Learner(_)) => Some(Wait::NodeStillReady),
        Some(Wait::NodeStillReady) => Some(Wait::StaleMember(text("…"))),
        Some(Wait::StaleMember(_)) => Some(Wait::SickMember { who: text("cp3"), why: text("…") }),
        Some(Wait::SickMember { .. }) => Some(Wait::Promotion(text("…"))),
        Some(Wait::Promotion(_)) => Some(Wait::OwnEtcd),
        Some(Wait::OwnEtcd) => Some(Wait::Lease(text("cp1"))),
        Some(Wait::Lease(_)) => Some(Wait::Quorum(vec![text("cp2"), text("cp3")])),
        Some(Wait::Quorum(_)) | None => None,
    } {
        waits.push(next);
    }
    waits
}

#[test]
fn every_wait_stands_in_the_table() {
    let waits = all();
    assert_eq!(waits.len(), 14);
    for wait in waits {
        let line = format!("`still waiting for {wait}`");
        assert!(TABLE.contains(&line), "docs/formation.md, \"What the console says\", lacks {line}");
    }
}
