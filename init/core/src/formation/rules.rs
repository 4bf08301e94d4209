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
    /// Only a node whose etcd holds nothing becomes blank again.
    pub data_is_never_given_up: bool,
    /// The record is synced before what follows from it is done.
    pub records_before_deeds: bool,
    /// The pinned incarnation is compared with the etcd file system's.
    pub pins_are_compared: bool,
    /// A stale member is removed only under all four conditions.
    pub removal_is_careful: bool,
    /// A joining node checks the member list for its own name and address.
    pub members_are_checked: bool,
    /// A node whose disk is absent says that it cannot say.
    pub absent_is_not_blank: bool,
    /// The birth ID is etcd's cluster token.
    pub token_is_the_birth: bool,
}

impl Rules {
    /// What a node runs.
    pub const ALL: Rules = Rules {
        everybody_promised: true,
        answers_belong_to_a_round: true,
        late_start_needs_its_incarnation: true,
        without_ends_with_an_answer: true,
        data_is_never_given_up: true,
        records_before_deeds: true,
        pins_are_compared: true,
        removal_is_careful: true,
        members_are_checked: true,
        absent_is_not_blank: true,
        token_is_the_birth: true,
    };
}
