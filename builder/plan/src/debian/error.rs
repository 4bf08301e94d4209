//! What can keep a set of names from being resolved, told so that a person can act.

use super::relation::RelationError;
use crate::nearest::question;
use crate::profile::ProfileError;

/// Why there is no lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The profile names something that is not there; the message points into it.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// No package of that name.
    #[error("no package \"{name}\" in suite \"{suite}\"\nhelp: {}", question(nearest).unwrap_or_else(|| "check the name; only Debian's component main and what the profile asks for are searched".into()))]
    UnknownPackage {
        /// What was asked for.
        name: String,
        /// Where.
        suite: String,
        /// Names like it, best first.
        nearest: Vec<String>,
    },
    /// The package is there, that version is not.
    #[error("package \"{name}\" has no version \"{version}\" in suite \"{suite}\"\nhelp: there is {}", known.join(", "))]
    UnknownVersion {
        /// Package.
        name: String,
        /// What was asked for.
        version: String,
        /// Where.
        suite: String,
        /// What is there, newest first.
        known: Vec<String>,
    },
    /// A dependency that nothing satisfies.
    #[error("\"{relation}\" cannot be satisfied: {reason}\n  wanted by {chain}\nhelp: {help}")]
    Unsatisfied {
        /// The relation with its alternatives.
        relation: String,
        /// Why nothing satisfies it.
        reason: String,
        /// Who wants it, up to the name in the profile.
        chain: String,
        /// What to do.
        help: String,
    },
    /// Two packages exclude each other.
    #[error(
        "\"{package}\" and \"{other}\" cannot be in one tree: {package} says \"{relation}\"\n  {package} is wanted by {chain}\n  {other} is wanted by {other_chain}\nhelp: leave one of them out of the profile"
    )]
    Conflict {
        /// Who says so.
        package: String,
        /// Whom it excludes.
        other: String,
        /// The relation.
        relation: String,
        /// Who wants the first.
        chain: String,
        /// Who wants the second.
        other_chain: String,
    },
    /// An index has a relation that cannot be read.
    #[error("package \"{package}\" of suite \"{suite}\"")]
    Relation {
        /// Whose.
        package: String,
        /// Where.
        suite: String,
        /// What.
        #[source]
        source: RelationError,
    },
}
