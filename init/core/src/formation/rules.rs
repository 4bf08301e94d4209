//! The rules of formation that the simulator switches off one by one, to see that it notices.
//!
//! A node runs [`Rules::ALL`]; nothing else outside tests and the simulator makes a value.

/// Which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A birth starts only when every required node promised it.
    pub everybody_promised: bool,
    /// Answers are asked for anew after every change of the own record.
    pub answers_belong_to_a_round: bool,
    /// Only the incarnation that a birth names starts it late.
    pub late_start_needs_its_incarnation: bool,
    /// A name in `without` that answers takes part.
    pub without_ends_with_an_answer: bool,
    /// Consent to go without a node ends for good with a promise of a birth that it is part of.
    pub consent_ends_with_a_promise: bool,
    /// A birth that somebody started is joined or started late; off: it is one more that did not promise.
    pub started_wins: bool,
    /// An API server of the cluster behind the endpoint is a cluster: nothing is born beside it.
    pub endpoint_is_asked: bool,
    /// A member that is not in the list, and asks, is a cluster too.
    pub askers_are_heard: bool,
    /// Only a node whose etcd holds nothing becomes blank again.
    pub data_is_never_given_up: bool,
    /// The pinned incarnation is compared with the etcd file system's.
    pub pins_are_compared: bool,
    /// An etcd file system that knows of fewer starts than the state partition is refused.
    pub starts_are_counted: bool,
    /// A stale member is removed only under all four conditions.
    pub removal_is_careful: bool,
    /// A joining node checks whose member is listed under its own name and address.
    pub members_are_checked: bool,
    /// A listed member is started by the incarnation that the cluster's record binds to it, and by no other.
    pub members_are_bound: bool,
    /// A listed member that never published its name is nobody's until it is bound; off: whoever comes may start as it.
    pub unpublished_is_not_mine: bool,
}

impl Rules {
    /// What a node runs.
    pub const ALL: Rules = Rules {
        everybody_promised: true,
        answers_belong_to_a_round: true,
        late_start_needs_its_incarnation: true,
        without_ends_with_an_answer: true,
        consent_ends_with_a_promise: true,
        started_wins: true,
        endpoint_is_asked: true,
        askers_are_heard: true,
        data_is_never_given_up: true,
        pins_are_compared: true,
        starts_are_counted: true,
        removal_is_careful: true,
        members_are_checked: true,
        members_are_bound: true,
        unpublished_is_not_mine: true,
    };
}
