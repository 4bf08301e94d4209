//! Seeds that do not fit: the fault says who differs in what, and nobody writes to a cluster that is not its own.

use crate::claims::*;
use crate::support::{Seeds, lab};
use nodeimg_contract::fault::Code;
use nodeimg_lab::Machine;

pub fn seeds_of_two_clusters() {
    let seeds = Seeds::new("lab", &THREE);
    let other = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    lab.node("cp3").set_seed(Some(other.of("cp3")));
    good(lab.power_on(&ALL));
    good(lab.until("cp1 to distrust cp3", READY, || fault(&lab, "cp1", Code::PeerUntrusted)));
    good(lab.until("cp3 to distrust the others", READY, || fault(&lab, "cp3", Code::PeerUntrusted)));
    good(lab.node("cp3").power_cut());
    good(lab.node("cp3").wipe_disk());
    lab.node("cp3").set_seed(Some(seeds.of("cp3")));
    good(lab.node("cp3").power_on());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}
