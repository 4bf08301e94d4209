//! The root tree, packages unpacked, the tools tree.
//!
//! Takes fetched packages, the payload's programs, overlays. Gives [`RootTree`], a node's file system as a value, and
//! [`ToolsTree`], the programs that a build runs. Touches the cache; runs depmod from the tools tree and nothing else;
//! needs no privilege.

pub mod deb;
mod digest;
pub mod elf;
mod file_error;
pub mod kernel;
mod ldcache;
mod materialise;
mod merge;
mod model;
pub mod root;
mod sets;
mod tools;
pub mod unpack;

pub use digest::DigestError;
pub use file_error::FileError;
pub use materialise::MaterialiseError;
pub use merge::MergeError;
pub use model::{BadPath, Content, Entry, Kind, Part, RootTree, TreePath};
pub use root::{Assembled, NodeProgram, RootError, RootInputs};
pub use sets::{NftError, addon_dir, locked_debs, nft_tree, project_dirs};
pub use tools::{ToolsError, ToolsTree};
pub use unpack::{Deb, UnpackError, UnpackedDeb};
