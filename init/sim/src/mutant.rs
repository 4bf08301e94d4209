//! The known mistakes: one rule of the machine off, or one of the driver's.

use nodeimg_init_core::formation::Rules;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A birth starts without everybody's promise.
    Hasty,
    /// Answers outlive the record under which they were asked for.
    OldAnswers,
    /// A listed name starts late, whatever its disk.
    AnyIncarnation,
    /// `without` holds although the node answers.
    DeafConsent,
    /// `without` holds although the node came after it, may have begun a birth by itself, and is silent again.
    StaleConsent,
    /// "Unanimity of never started": who started first is waited for, and nobody is left to agree.
    Unanimity,
    /// A node becomes blank again although its etcd holds data.
    GivesUpData,
    /// The two disks are not compared.
    NoPins,
    /// A disk that was put back is not noticed by its starts.
    NoCount,
    /// A stale member is removed at once.
    Evicts,
    /// Whatever member is listed under the own address is taken for the own.
    Squatter,
    /// A joining member is not bound to its incarnation.
    Unbound,
    /// "A member that never published may start as listed."
    Unpublished,
    /// etcd's token is the same for every birth.
    FixedToken,
    /// A machine whose disks are absent starts as a blank one, in memory.
    AbsentIsBlank,
    /// What answers behind the endpoint stops no birth.
    DeafToEndpoint,
    /// A member that asks from outside of the list stops no birth.
    DeafToAskers,
    /// What is remembered of a member that asked names the birth's participants, so that they start on a word that may be
    /// older than its disk.
    Hearsay,
    /// What is remembered of a silent node is taken for its word of now, and may be a former life's.
    FormerLife,
    /// What follows from a record is done before it is synced.
    DeedsFirst,
}

impl Mutant {
    /// All, with the names of the command line.
    pub const ALL: [(&'static str, Mutant); 20] = [
        ("hasty", Mutant::Hasty),
        ("old-answers", Mutant::OldAnswers),
        ("any-incarnation", Mutant::AnyIncarnation),
        ("deaf-consent", Mutant::DeafConsent),
        ("stale-consent", Mutant::StaleConsent),
        ("unanimity", Mutant::Unanimity),
        ("gives-up-data", Mutant::GivesUpData),
        ("no-pins", Mutant::NoPins),
        ("no-count", Mutant::NoCount),
        ("evicts", Mutant::Evicts),
        ("squatter", Mutant::Squatter),
        ("unbound", Mutant::Unbound),
        ("unpublished", Mutant::Unpublished),
        ("fixed-token", Mutant::FixedToken),
        ("absent-is-blank", Mutant::AbsentIsBlank),
        ("deaf-to-endpoint", Mutant::DeafToEndpoint),
        ("deaf-to-askers", Mutant::DeafToAskers),
        ("hearsay", Mutant::Hearsay),
        ("former-life", Mutant::FormerLife),
        ("deeds-first", Mutant::DeedsFirst),
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Mutant> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, m)| *m)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, m)| *m == self).map_or("", |(n, _)| n)
    }

    /// The machine's rules under it.
    pub fn rules(self) -> Rules {
        let all = Rules::ALL;
        match self {
            Mutant::Hasty => Rules { everybody_promised: false, ..all },
            Mutant::OldAnswers => Rules { answers_belong_to_a_round: false, ..all },
            Mutant::AnyIncarnation => Rules { late_start_needs_its_incarnation: false, ..all },
            Mutant::DeafConsent => Rules { without_ends_with_an_answer: false, ..all },
            Mutant::StaleConsent => Rules { consent_ends_with_a_promise: false, ..all },
            Mutant::Unanimity => Rules { started_wins: false, ..all },
            Mutant::DeafToEndpoint => Rules { endpoint_is_asked: false, ..all },
            Mutant::DeafToAskers => Rules { askers_are_heard: false, ..all },
            Mutant::GivesUpData => Rules { data_is_never_given_up: false, ..all },
            Mutant::NoPins => Rules { pins_are_compared: false, ..all },
            Mutant::NoCount => Rules { starts_are_counted: false, ..all },
            Mutant::Evicts => Rules { removal_is_careful: false, ..all },
            Mutant::Squatter => Rules { members_are_checked: false, ..all },
            Mutant::Unbound => Rules { members_are_bound: false, ..all },
            Mutant::Unpublished => Rules { unpublished_is_not_mine: false, ..all },
            Mutant::FixedToken
            | Mutant::AbsentIsBlank
            | Mutant::Hearsay
            | Mutant::FormerLife
            | Mutant::DeedsFirst => all,
        }
    }
}
