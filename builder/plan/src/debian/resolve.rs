//! Resolution: from names to the closed set of packages that they need.
//!
//! Takes indexes, roots and what is assumed to be installed. Gives packages, sorted by name: one version a name,
//! Depends and Pre-Depends followed, Recommends not, nothing that Conflicts with or Breaks another. Deterministic: same
//! input, same answer. It does not go back on a choice once made; Debian's stable suites do not need that, and where
//! they did, the error says which two packages stand against each other.

use super::assumed::Assumed;
use super::error::ResolveError;
use super::index::{Indexes, Package};
use super::relation::{Dependency, Relation, parse_dependencies};
use super::version::Version;
use crate::nearest::{nearest, question};
use std::collections::{BTreeMap, VecDeque};

/// A package that is asked for by name, in any or in one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Root {
    /// Name.
    pub name: String,
    /// Exactly this version.
    pub version: Option<String>,
}

impl Root {
    /// Any version; the newest is taken.
    pub fn newest(name: &str) -> Self {
        Self { name: name.to_owned(), version: None }
    }
}

/// The packages that `roots` need, sorted by name.
pub fn resolve<'a>(
    indexes: &'a Indexes,
    roots: &[Root],
    assumed: &Assumed,
) -> Result<Vec<&'a Package>, ResolveError> {
    let mut resolution = Resolution { indexes, chosen: BTreeMap::new(), open: VecDeque::new() };
    let mut sorted: Vec<&Root> = roots.iter().collect();
    sorted.sort();
    sorted.dedup();
    for root in sorted {
        let package = root_package(indexes, root)?;
        resolution.choose(package, None)?;
    }
    while let Some(package) = resolution.open.pop_front() {
        for dependency in relations(indexes, package, &package.depends)? {
            resolution.follow(package, &dependency, assumed)?;
        }
    }
    Ok(resolution.chosen.into_values().map(|choice| choice.package).collect())
}

fn root_package<'a>(indexes: &'a Indexes, root: &Root) -> Result<&'a Package, ResolveError> {
    let mut versions = indexes.versions(&root.name).peekable();
    let suite = indexes.suite().to_owned();
    let Some(newest) = versions.peek() else {
        let names = nearest(&root.name, indexes.names()).into_iter().map(str::to_owned).collect();
        return Err(ResolveError::UnknownPackage { name: root.name.clone(), suite, nearest: names });
    };
    let Some(wanted) = &root.version else { return Ok(newest) };
    let unknown = |known: Vec<String>| ResolveError::UnknownVersion {
        name: root.name.clone(),
        version: wanted.clone(),
        suite: suite.clone(),
        known,
    };
    let all: Vec<&Package> = versions.collect();
    let known = || all.iter().map(|p| p.version.to_string()).collect();
    let version = Version::parse(wanted).ok_or_else(|| unknown(known()))?;
    all.iter().find(|p| p.version == version).copied().ok_or_else(|| unknown(known()))
}

fn relations(indexes: &Indexes, package: &Package, text: &str) -> Result<Vec<Dependency>, ResolveError> {
    parse_dependencies(text).map_err(|source| ResolveError::Relation {
        package: package.name.clone(),
        suite: indexes.suite().to_owned(),
        source,
    })
}

struct Choice<'a> {
    package: &'a Package,
    conflicts: Vec<Relation>,
    /// The package that made it necessary; none for a root.
    because: Option<&'a str>,
}

struct Resolution<'a> {
    indexes: &'a Indexes,
    chosen: BTreeMap<&'a str, Choice<'a>>,
    open: VecDeque<&'a Package>,
}

impl<'a> Resolution<'a> {
    /// Makes sure that `dependency` of `package` holds.
    fn follow(
        &mut self,
        package: &'a Package,
        dependency: &[Relation],
        assumed: &Assumed,
    ) -> Result<(), ResolveError> {
        let held = dependency.iter().any(|relation| self.holds(relation));
        if held || dependency.iter().any(|relation| assumed.covers(&relation.name)) {
            return Ok(());
        }
        let mut stopped_by = None;
        let candidates: Vec<_> = dependency.iter().flat_map(|relation| self.candidates(relation)).collect();
        for candidate in candidates {
            match self.choose(candidate, Some(&package.name)) {
                Ok(()) => return Ok(()),
                Err(e) => stopped_by = stopped_by.or(Some(e)),
            }
        }
        Err(stopped_by.unwrap_or_else(|| self.unsatisfied(package, dependency)))
    }

    /// Whether a package that is chosen already satisfies it.
    fn holds(&self, relation: &Relation) -> bool {
        if self.chosen.get(relation.name.as_str()).is_some_and(|c| relation.accepts(&c.package.version)) {
            return true;
        }
        self.indexes
            .providers(&relation.name)
            .iter()
            .any(|(p, version)| provides(relation, *version) && self.is_chosen(p))
    }

    fn is_chosen(&self, package: &Package) -> bool {
        self.chosen.get(package.name.as_str()).is_some_and(|c| std::ptr::eq(c.package, package))
    }

    /// What could satisfy it, best first: the package itself, newest first, then who provides it.
    fn candidates(&self, relation: &Relation) -> Vec<&'a Package> {
        let indexes = self.indexes;
        let own = indexes.versions(&relation.name).filter(|p| relation.accepts(&p.version));
        let mut all: Vec<&Package> = own.collect();
        let providers = indexes.providers(&relation.name).into_iter();
        all.extend(providers.filter(|(_, version)| provides(relation, *version)).map(|(p, _)| p));
        // Another version of something that is chosen would be a second one of its name.
        all.retain(|p| !self.chosen.contains_key(p.name.as_str()));
        all
    }

    /// Takes a package in, unless it and a chosen one exclude each other.
    fn choose(&mut self, package: &'a Package, because: Option<&'a str>) -> Result<(), ResolveError> {
        if let Some(choice) = self.chosen.get(package.name.as_str()) {
            if std::ptr::eq(choice.package, package) {
                return Ok(());
            }
            let known = vec![choice.package.version.to_string()];
            let suite = self.indexes.suite().to_owned();
            let version = package.version.to_string();
            return Err(ResolveError::UnknownVersion { name: package.name.clone(), version, suite, known });
        }
        let conflicts: Vec<Relation> =
            relations(self.indexes, package, &package.conflicts)?.into_iter().flatten().collect();
        for choice in self.chosen.values() {
            let pair = [(package, &conflicts, choice.package), (choice.package, &choice.conflicts, package)];
            for (says, conflicts, other) in pair {
                let Some(relation) = conflicts.iter().find(|relation| excludes(relation, other)) else {
                    continue;
                };
                let chain = |p: &Package| {
                    let because = if std::ptr::eq(p, package) { because } else { self.because(&p.name) };
                    self.chain(because)
                };
                return Err(ResolveError::Conflict {
                    package: says.name.clone(),
                    other: other.name.clone(),
                    relation: relation.to_string(),
                    chain: chain(says),
                    other_chain: chain(other),
                });
            }
        }
        self.chosen.insert(&package.name, Choice { package, conflicts, because });
        self.open.push_back(package);
        Ok(())
    }

    fn because(&self, name: &str) -> Option<&'a str> {
        self.chosen.get(name).and_then(|choice| choice.because)
    }

    /// Who wants something, from the one that says so up to the one that was asked for by name.
    fn chain(&self, first: Option<&str>) -> String {
        let Some(first) = first else { return "the list of packages itself".to_owned() };
        let mut text = format!("\"{first}\"");
        let mut at = self.because(first);
        // No chain is longer than the number of chosen packages; a bound keeps a slip from going round for ever.
        for _ in 0..self.chosen.len() {
            let Some(name) = at else { break };
            text.push_str(&format!(", for \"{name}\""));
            at = self.because(name);
        }
        text
    }

    fn unsatisfied(&self, package: &Package, dependency: &[Relation]) -> ResolveError {
        let relation = dependency.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        let first = dependency.first().map_or("", |r| r.name.as_str());
        let there: Vec<String> = dependency
            .iter()
            .flat_map(|r| self.indexes.versions(&r.name))
            .map(|p| format!("{} {}", p.name, p.version))
            .collect();
        let (reason, help) = match (self.chosen.get(first), there.is_empty()) {
            (Some(choice), _) => (
                format!("version {} of \"{first}\" is already taken", choice.package.version),
                format!("take the version of \"{first}\" out of the profile"),
            ),
            (None, false) => (
                format!("there is only {}", there.join(", ")),
                "the mirror may be between two updates: try again later, or give another one with --mirror"
                    .to_owned(),
            ),
            (None, true) => (
                format!("suite \"{}\" has no such package and nothing provides it", self.indexes.suite()),
                question(&nearest(first, self.indexes.names()))
                    .unwrap_or_else(|| format!("leave \"{}\" out of the profile", package.name)),
            ),
        };
        ResolveError::Unsatisfied { relation, reason, chain: self.chain(Some(&package.name)), help }
    }
}

/// Whether something that provides the relation's name in this version satisfies it (Policy 7.5: an unversioned
/// Provides satisfies no versioned relation).
fn provides(relation: &Relation, version: Option<&Version>) -> bool {
    match version {
        Some(version) => relation.accepts(version),
        None => relation.constraint.is_none(),
    }
}

/// Whether a Conflicts or Breaks relation speaks of this package, by its name or by what it provides.
fn excludes(relation: &Relation, other: &Package) -> bool {
    if relation.name == other.name {
        return relation.accepts(&other.version);
    }
    other.provides.contains(relation.name.as_str())
        && parse_dependencies(&other.provides).unwrap_or_default().iter().flatten().any(|provided| {
            provided.name == relation.name
                && provides(relation, provided.constraint.as_ref().map(|constraint| &constraint.version))
        })
}
