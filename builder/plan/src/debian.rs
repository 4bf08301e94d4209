//! Debian's side of a plan: package indexes, relations, versions, resolution.
//!
//! Takes the text of `Packages` files that somebody has checked. Gives the packages that a set of names needs, and the
//! lock that says so. Formats: Debian Policy chapters 5 and 7, deb822(5).

mod assumed;
mod error;
mod index;
mod locking;
mod relation;
mod resolve;
mod sets;
mod version;

pub use assumed::{ASSUMED, Assumed, AssumedName};
pub use error::ResolveError;
pub use index::{IndexError, Indexes, PackageIndex, Release};
pub use index::{Package, is_package_name, is_pool_path, is_sha256};
pub use locking::{lock_inputs, resolve_lock};
pub use relation::{Constraint, Dependency, Operator, Relation, RelationError, parse_dependencies};
pub use resolve::{Root, resolve};
pub use sets::{NFT, TOOLS};
pub use version::Version;
