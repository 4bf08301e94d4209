//! The profile as it is written: its keys and their TOML types, with the place of every value.

use crate::nearest::{nearest, question};
use crate::source::Problem;
use serde::Deserialize;
use toml::Spanned;

/// A text with its place.
pub(super) type Word = Spanned<String>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub schema: Spanned<i64>,
    pub role: Word,
    pub os: Os,
    pub kubernetes: Kubernetes,
    #[serde(default)]
    pub images: Images,
    #[serde(default, rename = "static-pods")]
    pub static_pods: StaticPods,
    #[serde(default)]
    pub addon: Vec<Addon>,
    #[serde(default)]
    pub overlay: Overlay,
    pub output: Output,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Os {
    pub suite: Word,
    #[serde(default)]
    pub components: Vec<Word>,
    pub packages: Vec<Word>,
    #[serde(default)]
    pub exclude: Vec<Word>,
    pub mirror: Option<Word>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kubernetes {
    pub version: Word,
    pub origin: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Images {
    #[serde(default)]
    pub extra: Vec<Word>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaticPods {
    pub dir: Option<Word>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Addon {
    pub name: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Overlay {
    #[serde(default)]
    pub dirs: Vec<Word>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    pub formats: Vec<Word>,
}

/// Reads the keys; what is not TOML, or has an unknown or missing key, is a problem with its place.
pub(super) fn parse(text: &str) -> Result<Document, Problem> {
    toml::from_str(text).map_err(|e| {
        let problem = Problem::at(e.span().unwrap_or(0..0), e.message());
        problem.maybe_help(near_key(e.message()).or_else(|| quotes(e.message())))
    })
}

/// A word without quotes is to TOML a number, a date or a boolean that went wrong.
fn quotes(message: &str) -> Option<String> {
    let bare = ["invalid boolean", "invalid float", "invalid integer", "string values must be quoted"];
    bare.iter()
        .any(|start| message.starts_with(start))
        .then(|| "a word or a version stands in quotes: \"…\"".to_owned())
}

/// For serde's "unknown field `x`, expected one of `a`, `b`": which of them was meant.
fn near_key(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    question(&nearest(unknown, quoted))
}
