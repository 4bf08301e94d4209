//! The documents of a seed, parsed: meta-data, user-data, vendor-data, network-config.
//!
//! Takes bytes that some datasource read (untrusted: size, depth, aliases and node counts are bounded), gives
//! [`Seed`]. Whether it makes sense is [`crate::node_config`]'s question. Never touches a file, and never repeats a
//! value of the seed in an error: a seed holds private keys, and errors stand on the console.
//!
//! Formats: cloud-init's NoCloud documents (`meta-data` YAML, `user-data` with the header `#cloud-config`,
//! `network-config` v1 or v2, kept as text for [`crate::network`]).

use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::seed::{MetaData, UserData};
use serde::de::DeserializeOwned;

/// Largest size of one document in bytes.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 24;
const MAX_NODES: usize = 20_000;
const MAX_ALIASES: usize = 64;

/// What a datasource read: the bytes of each document that it has.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// `meta-data`.
    pub meta_data: Option<Vec<u8>>,
    /// `user-data`.
    pub user_data: Option<Vec<u8>>,
    /// `vendor-data`: its presence is noted, its content is not used.
    pub vendor_data: Option<Vec<u8>>,
    /// `network-config`.
    pub network_config: Option<Vec<u8>>,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = |d: &Option<Vec<u8>>| d.as_ref().map(Vec::len);
        f.debug_struct("Documents")
            .field("meta_data_bytes", &size(&self.meta_data))
            .field("user_data_bytes", &size(&self.user_data))
            .field("vendor_data_bytes", &size(&self.vendor_data))
            .field("network_config_bytes", &size(&self.network_config))
            .finish()
    }
}

/// A seed whose documents parse. Its Debug text holds no secret (contract's types see to that).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The datasource that had it, as a person would name it (`NoCloud disk /dev/vdb`).
    pub datasource: String,
    /// `meta-data`.
    pub meta_data: MetaData,
    /// `user-data`.
    pub user_data: UserData,
    /// `network-config`, text.
    pub network_config: Option<String>,
    /// What was seen and is not acted on.
    pub warnings: Vec<String>,
}

/// A document of a seed that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// Larger than [`MAX_BYTES`].
    #[error("{document} has {bytes} bytes, more than {MAX_BYTES}")]
    TooLarge {
        /// `user-data`, …
        document: &'static str,
        /// Its size in bytes.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("{document} is not UTF-8 text (byte {at})")]
    NotText {
        /// `user-data`, …
        document: &'static str,
        /// Offset of the first bad byte.
        at: usize,
    },
    /// user-data of a kind that nodeimg does not run.
    #[error("user-data does not start with \"#cloud-config\"; it looks like {looks_like}")]
    NotCloudConfig {
        /// A script, MIME, gzip, …
        looks_like: &'static str,
    },
    /// YAML that does not parse, or does not have the expected shape.
    #[error("{document}, line {line}, column {column}: {message}")]
    Yaml {
        /// `user-data`, …
        document: &'static str,
        /// From 1; 0 when it is not known.
        line: u64,
        /// From 1; 0 when it is not known.
        column: u64,
        /// What is wrong, without any value from the document.
        message: String,
    },
}

impl SeedError {
    /// As a node shows it. `datasource` is where the documents came from.
    pub fn fault(&self, datasource: &str) -> Fault {
        Fault {
            code: Code::SeedMalformed,
            object: datasource.to_owned(),
            cause: self.to_string(),
            help: match self {
                SeedError::NotCloudConfig { .. } => {
                    "begin user-data with the line \"#cloud-config\"; scripts and archives are not run".into()
                }
                _ => {
                    "correct the document (\"nodeimg cluster new\" writes a good one); the node keeps looking"
                        .into()
                }
            },
        }
    }
}

/// Parses the documents. `None`: the datasource has neither user-data nor meta-data, so there is no seed there.
pub fn parse(documents: &Documents, datasource: &str) -> Result<Option<Seed>, SeedError> {
    if documents.meta_data.is_none() && documents.user_data.is_none() {
        return Ok(None);
    }
    let mut warnings = Vec::new();
    let meta_data = match &documents.meta_data {
        Some(bytes) => meta_data(bytes)?,
        None => MetaData::default(),
    };
    let user_data = match &documents.user_data {
        Some(bytes) => user_data(bytes)?,
        None => UserData::default(),
    };
    for key in user_data.other.keys() {
        warnings.push(format!("cloud-init's key \"{}\" is not acted on", shown_key(key)));
    }
    if documents.vendor_data.as_ref().is_some_and(|d| !d.trim_ascii().is_empty()) {
        warnings.push("vendor-data is not acted on".into());
    }
    let network_config = match &documents.network_config {
        Some(bytes) => Some(text("network-config", bytes)?.to_owned()).filter(|t| !t.trim().is_empty()),
        None => None,
    };
    Ok(Some(Seed { datasource: datasource.to_owned(), meta_data, user_data, network_config, warnings }))
}

/// Parses `meta-data`. An empty document is an empty mapping.
pub fn meta_data(bytes: &[u8]) -> Result<MetaData, SeedError> {
    let text = text("meta-data", bytes)?;
    if is_blank(text) { Ok(MetaData::default()) } else { yaml("meta-data", text) }
}

/// Parses `user-data`. An empty document is an empty mapping.
pub fn user_data(bytes: &[u8]) -> Result<UserData, SeedError> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(SeedError::NotCloudConfig { looks_like: "a gzip archive" });
    }
    let text = text("user-data", bytes)?;
    if text.trim().is_empty() {
        return Ok(UserData::default());
    }
    if text.lines().next().map(str::trim_end) != Some("#cloud-config") {
        let looks_like = match text {
            t if t.starts_with("#!") => "a script",
            t if t.starts_with("Content-Type:") || t.starts_with("MIME-Version:") => "a MIME archive",
            t if t.starts_with("#include") => "a list of URLs",
            _ => "something else",
        };
        return Err(SeedError::NotCloudConfig { looks_like });
    }
    if is_blank(text) { Ok(UserData::default()) } else { yaml("user-data", text) }
}

/// Parses one YAML document with the limits of a seed into any type; `document` names it in errors. The door for
/// network-config.
pub fn yaml<T: DeserializeOwned>(document: &'static str, text: &str) -> Result<T, SeedError> {
    if text.len() > MAX_BYTES {
        return Err(SeedError::TooLarge { document, bytes: text.len() });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_BYTES),
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 4,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        let e = e.without_snippet();
        let (line, column) = e.location().map_or((0, 0), |l| (l.line(), l.column()));
        SeedError::Yaml { document, line, column, message: message(e) }
    })
}

fn text<'a>(document: &'static str, bytes: &'a [u8]) -> Result<&'a str, SeedError> {
    if bytes.len() > MAX_BYTES {
        return Err(SeedError::TooLarge { document, bytes: bytes.len() });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|e| SeedError::NotText { document, at: e.valid_up_to() })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#') || l.trim_end() == "---")
}

/// What the parser says, in words that cannot hold a value of the document. Only names that our own types define, and
/// keys of mappings, are repeated.
fn message(e: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    match e {
        E::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key \"{}\"; known here: {}", shown_key(field), expected.join(", "))
        }
        E::SerdeMissingField { field, .. } => format!("the key \"{field}\" is missing"),
        E::SerdeUnknownVariant { expected, .. } => format!("expected one of {}", expected.join(", ")),
        E::SerdeInvalidType { expected, .. } | E::SerdeInvalidValue { expected, .. } => {
            format!("expected {expected}")
        }
        E::SerdeInvalidLength { len, expected, .. } => format!("expected {expected}, not {len} entries"),
        E::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key \"{}\" stands there twice", shown_key(key)),
            None => "a key stands there twice".into(),
        },
        E::Unexpected { expected, .. } => format!("expected {expected}"),
        E::InvalidScalar { ty, .. } => format!("expected {ty}"),
        E::NullIntoString { .. } => "expected text, not nothing".into(),
        E::Eof { .. } => "the document ends too early".into(),
        E::MultipleDocuments { .. } => "there is more than one YAML document".into(),
        E::UnknownAnchor { .. } => "an alias names no anchor".into(),
        E::AliasError { error, .. } => message(error),
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. } => {
            "the document is too deep, too large or has too many aliases".into()
        }
        E::Message { .. } | E::ExternalMessage { .. } => {
            "not a value that is allowed here, or not YAML".into()
        }
        _ => "not valid YAML".into(),
    }
}

/// A mapping's key, bounded and printable.
fn shown_key(key: &str) -> String {
    key.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
