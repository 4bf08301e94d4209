//! Three and more control planes as namespaces: one cluster, however they are started, cut and wiped.
//!
//! After every scenario [`claims`] looks at the records and member lists of all nodes: one birth, the same members
//! everywhere, all of them voters, no incarnation twice; where nodes have to wait, nothing has formed.

mod adopt;
mod birth;
mod claims;
mod cuts;
mod join;
mod leave;
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
            ("cuts_around_promise_and_start_make_one_birth", cuts::around_promise_and_start),
            ("seeds_that_differ_are_named_by_node_and_field", seeds::seeds_that_differ),
            ("seeds_without_sense_are_refused_by_field", seeds::seeds_without_sense),
            ("wrong_names_and_certificates_are_not_believed", seeds::wrong_names_and_certificates),
            ("an_expired_permit_forms_nothing", seeds::an_expired_permit),
            ("expired_peer_certificates_are_not_believed", seeds::expired_certificates),
        ],
        &[
            ("one_comes_late_and_is_waited_for", birth::one_comes_late),
            ("first_uploads_its_keys_and_the_others_fetch_them", birth::first_uploads_its_keys),
            ("a_cluster_of_kubeadm_is_joined", adopt::a_cluster_of_kubeadm),
            ("a_wiped_node_comes_back_to_a_cluster_of_kubeadm", adopt::the_only_one_of_nodeimg_is_wiped),
            ("every_order_of_power_on_makes_one_cluster", birth::every_order),
            ("a_partition_on_any_side_makes_no_second_cluster", birth::a_partition_on_any_side),
            ("a_partition_after_the_promise_makes_no_second_birth", birth::a_partition_after_the_promise),
            ("clocks_ten_minutes_off_form_one_cluster", birth::clocks_differ),
            ("an_endpoint_that_leads_to_a_dead_address_first", birth::a_dead_address_first),
            ("two_wiped_wait_and_the_third_keeps_its_data", loss::two_wiped_wait),
            ("three_of_five_are_lost_and_one_is_silent", loss::three_of_five_lost),
            ("all_wiped_are_another_cluster", loss::all_wiped),
            ("disks_absent_for_all_come_back_with_the_old_cluster", loss::disks_absent_for_all),
            ("a_blank_node_waits_for_absent_disks", loss::a_blank_node_among_absent_disks),
            ("recover_is_refused_while_the_cluster_lives", loss::recover_is_refused),
            ("a_node_is_reset_only_while_it_can_be_spared", leave::a_node_is_reset),
            ("a_clone_of_a_seed_evicts_nobody", join::a_clone_evicts_nobody),
            ("one_grows_to_three_and_five", join::one_grows_to_five),
            ("a_replaced_machine_joins_under_the_same_name", join::replaced_under_the_same_name),
            ("a_replaced_machine_joins_under_another_name", join::replaced_under_another_name),
            ("a_node_wiped_as_a_learner_joins_anew", join::wiped_as_a_learner),
            ("an_orphan_learner_holds_nobody_up", join::an_orphan_learner),
            ("seeds_of_two_clusters_do_not_mix", seeds::seeds_of_two_clusters),
            ("a_new_permit_after_the_old_one_has_ended", seeds::a_new_permit),
            ("of_two_machines_with_one_seed_one_is_born", seeds::two_machines_with_one_seed),
            ("a_foreign_node_is_not_taken_in", seeds::a_foreign_node_is_not_taken_in),
            ("a_cut_at_any_flush_makes_one_cluster", cuts::at_every_flush),
        ],
    )
}
