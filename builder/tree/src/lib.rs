//! The root tree, packages unpacked, the tools tree.

mod model;

pub use model::{BadPath, Content, Entry, Kind, Part, RootTree, TreePath};
