//! Three and more control planes as namespaces: one cluster, however they are started, cut and wiped.
//!
//! After every scenario [`claims::one_cluster`] looks at the records and member lists of all nodes: one birth, the same
//! members everywhere, all of them voters, no incarnation twice.

mod birth;
mod claims;
mod join;
mod loss;
mod seeds;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run(
        &[
            ("three_form_one_cluster_and_survive_a_cut_of_all", birth::three_form_one_cluster),
            ("one_dead_on_arrival_waits_for_consent", birth::one_dead_on_arrival),
            ("a_wiped_node_comes_back_as_another_member", loss::a_wiped_node_comes_back),
            ("a_partition_during_birth_makes_no_second_cluster", birth::a_partition_during_birth),
            ("first_is_born_alone_and_the_others_join", birth::first_is_born_alone),
        ],
        &[
            ("one_comes_late_and_is_waited_for", birth::one_comes_late),
            ("two_wiped_wait_and_the_third_keeps_its_data", loss::two_wiped_wait),
            ("a_clone_of_a_seed_evicts_nobody", join::a_clone_evicts_nobody),
            ("seeds_of_two_clusters_do_not_mix", seeds::seeds_of_two_clusters),
            ("one_grows_to_three", join::one_grows_to_three),
        ],
    )
}
