//! Nodes that leave by an operator's command.

use crate::claims::*;
use crate::support::{Seeds, lab, tell};
use nodeimg_lab::{Answer, Lab, Machine};
use std::time::Duration;

fn reset(lab: &Lab, node: &str) -> Answer {
    good(lab.node(node).exec(&["nodeinit", "reset", "--yes"], Duration::from_secs(180)))
}

/// With one node off, nobody else may go: two of three disks would be gone by our own hand. With all on, a node that is reset
/// is cleared and comes back as another member.
pub fn a_node_is_reset() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&ALL));
    good(lab.until_ready(&ALL, READY));
    write(&lab, "cp1", "before the reset");
    let before = members(&lab, "cp1");

    good(lab.node("cp3").power_cut());
    let refused = reset(&lab, "cp2");
    assert_eq!(refused.code, Some(1), "{} {}", refused.stdout, refused.stderr);
    for words in ["cp3", "is not healthy", "--force", "nothing was changed"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    let cordoned = good(lab.kubectl("cp1", &["get", "node", "cp2", "-o", "jsonpath={.spec.unschedulable}"]));
    assert_eq!(cordoned, "", "it keeps its pods");
    good(lab.node("cp3").power_on());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
    assert_eq!(members(&lab, "cp1"), before, "nobody has gone");

    let incarnation =
        |lab: &Lab| good(lab.records())["cp2"].record.as_ref().map(|r| r["incarnation"].clone());
    let old = incarnation(&lab);
    let done = reset(&lab, "cp2");
    assert_eq!(done.code, Some(0), "{} {}", done.stdout, done.stderr);
    for words in ["is removed", "ConfigMap kube-public/nodeimg without this node: done", "Node deleted: done"]
    {
        assert!(done.stdout.contains(words), "{words}: {}", done.stdout);
    }
    good(lab.until("cp2 to begin on another etcd file system", READY, || {
        lab.records().is_ok_and(|_| incarnation(&lab).is_some_and(|i| Some(i) != old))
    }));
    good(lab.until_ready(&ALL, READY));
    tell(&lab, "cp2", "after its reset");
    one_cluster(&lab, &ALL);
    assert_ne!(members(&lab, "cp1"), before, "another member");
    assert_eq!(read(&lab, "cp2"), "before the reset");
}
