//! The lock's text: parsed with every field checked, rendered the same for the same lock.

use super::{Lock, LockedPackage, SCHEMA};
use crate::debian::{Version, is_package_name, is_pool_path, is_sha256};
use crate::source::{Problem, SourceText};

/// More text than any lock has, bytes.
const LONGEST: usize = 16 << 20;
/// More packages than any lock has.
const MOST_PACKAGES: usize = 10_000;
/// The largest .deb that is believed, bytes.
const LARGEST_DEB: u64 = 4 << 30;

/// A lock that cannot be used; its text says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Not TOML, or not of this shape.
    #[error("{0}\nhelp: the lock is written by `nodeimg lock`; make it anew with --update")]
    Shape(String),
    /// Written by another version of nodeimg.
    #[error(
        "lock \"{file}\" has schema {found}, this nodeimg writes {SCHEMA}\nhelp: make it anew with --update"
    )]
    Schema {
        /// The lock.
        file: String,
        /// Its schema.
        found: u32,
    },
    /// A field has a value that no lock of ours has.
    #[error("lock \"{file}\", {object}: {field} is not sound\nhelp: make it anew with --update")]
    Field {
        /// The lock.
        file: String,
        /// Which entry.
        object: String,
        /// Which field.
        field: &'static str,
    },
}

const HEADER: &str = "\
# Written by nodeimg; do not edit. Every input of the image by name, version, size and SHA-256.
# `nodeimg build --update PROFILE` renews it, `--locked` refuses to change it.

";

impl Lock {
    /// Parses a lock. `file` is its name, for messages.
    pub fn parse(text: &str, file: &str) -> Result<Self, LockError> {
        if text.len() > LONGEST {
            return Err(LockError::Shape(format!("lock \"{file}\" is longer than {LONGEST} bytes")));
        }
        let lock: Lock = toml::from_str(text).map_err(|e| {
            let source = SourceText::new(file, text);
            LockError::Shape(source.render(&Problem::at(e.span().unwrap_or(0..0), e.message())))
        })?;
        if lock.schema != SCHEMA {
            return Err(LockError::Schema { file: file.to_owned(), found: lock.schema });
        }
        lock.check().map_err(|(object, field)| LockError::Field { file: file.to_owned(), object, field })?;
        Ok(lock)
    }

    /// The text of a lock: a header, then one table a package. Same lock, same text.
    pub fn render(&self) -> String {
        // A struct of numbers, strings and lists of them always has a TOML form.
        let body = toml::to_string(self).unwrap_or_default();
        format!("{HEADER}{body}")
    }

    fn check(&self) -> Result<(), (String, &'static str)> {
        let whole = |sound: bool, field| if sound { Ok(()) } else { Err(("the whole".to_owned(), field)) };
        whole(is_sha256(&self.inputs), "inputs")?;
        whole(is_package_name(&self.suite), "suite")?;
        whole(self.packages.len() <= MOST_PACKAGES, "number of packages")?;
        // A year 2200 in a lock would make every node believe that its clock is wrong.
        whole((1..7_258_118_400).contains(&self.source_date_epoch), "source_date_epoch")?;
        if let Some(go) = &self.go {
            let version =
                !go.version.is_empty() && go.version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
            whole(version, "go.version")?;
            whole(go.sum.starts_with("h1:") && go.sum.len() <= 64, "go.sum")?;
        }
        for module in &self.modules {
            let wrong = |field| (format!("module \"{}\"", module.name), field);
            if !is_package_name(&module.name) {
                return Err(wrong("name"));
            }
            if !is_sha256(&module.sha256) {
                return Err(wrong("sha256"));
            }
        }
        for package in &self.packages {
            check_package(package).map_err(|field| (format!("package \"{}\"", package.name), field))?;
        }
        let key = |p: &LockedPackage| (p.name.clone(), p.version.clone());
        let sorted = self.packages.windows(2).all(|pair| matches!(pair, [a, b] if key(a) < key(b)));
        whole(sorted, "order of packages")
    }
}

fn check_package(package: &LockedPackage) -> Result<(), &'static str> {
    let LockedPackage { name, version, archive: _, path, size, sha256, sets } = package;
    let checks = [
        (is_package_name(name), "name"),
        (Version::parse(version).is_some(), "version"),
        (is_pool_path(path), "path"),
        ((1..=LARGEST_DEB).contains(size), "size"),
        (is_sha256(sha256), "sha256"),
        (!sets.is_empty() && sets.windows(2).all(|pair| matches!(pair, [a, b] if a < b)), "sets"),
    ];
    match checks.into_iter().find(|(sound, _)| !sound) {
        Some((_, field)) => Err(field),
        None => Ok(()),
    }
}
