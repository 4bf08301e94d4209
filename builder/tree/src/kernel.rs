//! The kernel of a root.
//!
//! Takes a tree that still has `/boot`, gives the kernel's release and image. Pure.

use crate::model::{Content, Kind, RootTree};

/// A kernel image and the release that names its modules' folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Name below `/usr/lib/modules`.
    pub release: String,
    /// `vmlinuz`, a bzImage.
    pub vmlinuz: Content,
}

/// A root from which nothing can boot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KernelError {
    /// None.
    #[error("no package of the image holds a kernel\nhelp: add \"linux-image-amd64\" to `os.packages`")]
    None,
    /// More than one.
    #[error("the image holds several kernels: {}\nhelp: name one of them in `os.packages`", .0.join(", "))]
    Several(Vec<String>),
}

/// The one kernel below `/boot` that has its modules below `/usr/lib/modules`.
pub fn find(tree: &RootTree) -> Result<Kernel, KernelError> {
    let mut found: Vec<Kernel> = tree
        .iter()
        .filter_map(|(path, entry)| {
            let release = path.as_str().strip_prefix("boot/vmlinuz-")?;
            match &entry.kind {
                Kind::File(content) => Some(Kernel { release: release.to_owned(), vmlinuz: content.clone() }),
                _ => None,
            }
        })
        .filter(|k| tree.iter().any(|(p, _)| p.as_str() == format!("usr/lib/modules/{}", k.release)))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(kernel), true) => Ok(kernel),
        (Some(kernel), false) => {
            found.push(kernel);
            Err(KernelError::Several(found.into_iter().map(|k| k.release).collect()))
        }
        (None, _) => Err(KernelError::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, Part, TreePath};

    #[test]
    fn there_must_be_exactly_one() {
        let mut tree = RootTree::new();
        let mut add = |text: &str| {
            tree.insert(TreePath::parse(text).expect("path"), Entry::file(*b"k", 0o644, Part::Modules));
            find(&tree)
        };
        assert_eq!(add("boot/vmlinuz-1"), Err(KernelError::None));
        assert_eq!(add("usr/lib/modules/1/modules.order").map(|k| k.release), Ok("1".into()));
        add("boot/vmlinuz-2").expect("a kernel without modules does not count");
        assert_eq!(add("usr/lib/modules/2/x"), Err(KernelError::Several(vec!["1".into(), "2".into()])));
    }
}
