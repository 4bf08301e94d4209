//! Workers, and etcd on nodes of its own: images of other roles beside control planes, in one lab.

#[path = "../formation/claims.rs"]
#[allow(dead_code)]
mod claims;
mod etcd;
mod peers;
#[path = "../support/mod.rs"]
mod support;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run(
        &[
            ("a_worker_joins_by_token_over_the_endpoint", worker::joins_by_token),
            ("a_control_plane_on_one_etcd_node", etcd::one_etcd_node),
            ("a_peer_that_lies_or_speaks_another_version_is_named", peers::lies_and_versions),
        ],
        &[
            ("control_planes_on_external_etcd", etcd::three_etcd_nodes),
            ("a_wiped_etcd_node_comes_back", etcd::a_wiped_one_comes_back),
            ("a_control_plane_goes_on_with_its_recovered_etcd", etcd::recovered),
            ("a_worker_whose_secrets_are_over_says_so_and_goes_on", worker::secrets_are_over),
            ("a_worker_that_sees_another_birth_keeps_its_pods", worker::sees_another_birth),
            ("a_deleted_token_stays_deleted", worker::a_deleted_token),
        ],
    )
}
