//! A cluster that nodeimg did not make.

use super::*;
use crate::formation::membership::{Membership, membership};

#[test]
fn it_is_named_only_where_the_seed_says_so() {
    let name = BirthId::adopted("5a0d8d0e-4d6f-4a1e-9a0e-2f6c1f0b7c11");
    let born = birth(Method::Quorum, &[(0, 9), (1, 2), (2, 3)]);
    let others = vec![member(2, 1, false, true), member(3, 2, false, true)];
    let foreign = ClusterView { record: None, adopted: Some(name.clone()), ..view(&born, None, others) };
    let joins = |adopt, towards: &BirthId| {
        let seeded = Seeded { adopt, permit: None, ..seeded(0) };
        membership(&seeded, towards, &incarnation(1), false, &foreign, Rules::ALL)
    };
    let Ok(Membership::Claim(record)) = joins(true, &name) else { panic!("it is given its name") };
    assert_eq!(record.birth(), &name);
    assert_eq!(record.incarnation_of("cp1"), Some(&incarnation(1)));
    let newer = ClusterView { skew: Some("it does not fit".into()), ..foreign.clone() };
    let seeded = Seeded { adopt: true, permit: None, ..seeded(0) };
    assert_eq!(
        membership(&seeded, &name, &incarnation(1), false, &newer, Rules::ALL),
        Err(Refusal::VersionSkew("it does not fit".into())),
        "nothing is written to a cluster that this image does not fit"
    );
    // What kubeadm did is not done again.
    assert!(ClusterStep::KUBEADM.iter().all(|step| record.has(step)));
    assert!(!record.has(&ClusterStep::Rbac));
    // A cluster of ours whose first control plane has not written its record yet is not renamed.
    assert_eq!(joins(false, &name), Ok(Membership::Wait(Wait::ClusterRecord)));
    assert_eq!(joins(true, &born.id()), Ok(Membership::Wait(Wait::ClusterRecord)));
}
