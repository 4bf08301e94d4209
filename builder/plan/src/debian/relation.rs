//! Relations between packages: `libc6 (>= 2.41), awk | mawk`.
//!
//! Takes the value of Depends, Provides, Conflicts … of a binary package. Gives it as types. Format: Policy 7.1.

use super::index::is_package_name;
use super::version::Version;

/// One relation: a name, and which versions of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Package or virtual package.
    pub name: String,
    /// Any version when there is none.
    pub constraint: Option<Constraint>,
}

/// Which versions a relation accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub version: Version,
}

/// `<<`, `<=`, `=`, `>=`, `>>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Strictly earlier.
    Earlier,
    /// Earlier or equal.
    EarlierEqual,
    /// Exactly equal.
    Equal,
    /// Later or equal.
    LaterEqual,
    /// Strictly later.
    Later,
}

/// Alternatives, of which one must hold, in order of preference. Never empty.
pub type Dependency = Vec<Relation>;

/// A relation that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("relation \"{text}\": {reason}")]
pub struct RelationError {
    /// The relation, shortened.
    pub text: String,
    /// Why not.
    pub reason: &'static str,
}

/// More alternatives or relations than any real package has.
const MOST: usize = 8192;

/// Parses a field's value. Empty relations (a comma at the end) are skipped. Architecture qualifiers (`:any`) are
/// dropped: one architecture is resolved for.
pub fn parse_dependencies(text: &str) -> Result<Vec<Dependency>, RelationError> {
    let mut all = Vec::new();
    for group in text.split(',').map(str::trim).filter(|group| !group.is_empty()) {
        if all.len() == MOST {
            return Err(bad(group, "too many relations"));
        }
        all.push(group.split('|').map(|one| Relation::parse(one.trim())).collect::<Result<Dependency, _>>()?);
    }
    Ok(all)
}

impl Relation {
    /// One relation, without alternatives.
    pub fn parse(text: &str) -> Result<Self, RelationError> {
        let (name, rest) = match text.find(|c: char| c == '(' || c.is_whitespace()) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        if !is_package_name(name) {
            return Err(bad(text, "it does not begin with a package's name"));
        }
        let constraint = match rest.trim() {
            "" => None,
            rest => Some(Constraint::parse(rest).map_err(|reason| bad(text, reason))?),
        };
        Ok(Self { name: name.to_owned(), constraint })
    }
    /// Whether this version will do.
    pub fn accepts(&self, version: &Version) -> bool {
        self.constraint.as_ref().is_none_or(|constraint| constraint.accepts(version))
    }
}

impl Constraint {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let inner =
            text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).ok_or("no \"(operator version)\"")?;
        let inner = inner.trim();
        let digits = inner.find(|c: char| !matches!(c, '<' | '=' | '>')).unwrap_or(inner.len());
        let (operator, version) = inner.split_at(digits);
        let operator = match operator {
            // `<` and `>` alone are old spellings of `<=` and `>=` (Policy 7.1).
            "<<" => Operator::Earlier,
            "<=" | "<" => Operator::EarlierEqual,
            "=" => Operator::Equal,
            ">=" | ">" => Operator::LaterEqual,
            ">>" => Operator::Later,
            _ => return Err("no operator out of << <= = >= >>"),
        };
        let version = Version::parse(version.trim()).ok_or("no version after the operator")?;
        Ok(Self { operator, version })
    }
    fn accepts(&self, version: &Version) -> bool {
        match self.operator {
            Operator::Earlier => version < &self.version,
            Operator::EarlierEqual => version <= &self.version,
            Operator::Equal => version == &self.version,
            Operator::LaterEqual => version >= &self.version,
            Operator::Later => version > &self.version,
        }
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        let Some(constraint) = &self.constraint else { return Ok(()) };
        let operator = match constraint.operator {
            Operator::Earlier => "<<",
            Operator::EarlierEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterEqual => ">=",
            Operator::Later => ">>",
        };
        write!(f, " ({operator} {})", constraint.version)
    }
}

fn bad(text: &str, reason: &'static str) -> RelationError {
    RelationError { text: text.chars().take(80).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_versions_alternatives_and_qualifiers() {
        let all = parse_dependencies("libc6 (>= 2.41), python3:any, mawk | awk (<< 2) ,").expect("relations");
        let text: Vec<Vec<String>> =
            all.iter().map(|group| group.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(text, [vec!["libc6 (>= 2.41)"], vec!["python3"], vec!["mawk", "awk (<< 2)"]]);
    }

    #[test]
    fn constraints_compare_by_debians_order() {
        let accepts = |relation: &str, version: &str| {
            Relation::parse(relation).expect("relation").accepts(&Version::parse(version).expect("version"))
        };
        assert!(accepts("a (>= 1.9)", "1.10") && !accepts("a (>> 1.10)", "1.10"));
        assert!(
            accepts("a (= 1.0)", "1.0-0") && !accepts("a (<< 1.0)", "1.0") && accepts("a (<= 1.0)", "1.0~x")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a (1.0)", "a (>= )", "(>= 1)", "a b", "a (>= 1", "A", "a [amd64]", "a | | b", "a <!x>"]
        {
            assert!(parse_dependencies(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not(text in "\\PC{0,120}") {
            let _ = parse_dependencies(&text);
        }

        #[test]
        fn what_is_rendered_parses_to_the_same(
            name in "[a-z0-9][a-z0-9.+-]{1,12}",
            operator in proptest::sample::select(vec!["<<", "<=", "=", ">=", ">>"]),
            version in "[0-9][0-9a-z.+~]{0,8}",
        ) {
            let one = Relation::parse(&format!("{name} ({operator} {version})")).expect("relation");
            prop_assert_eq!(&Relation::parse(&one.to_string()).expect("again"), &one);
        }
    }
}
