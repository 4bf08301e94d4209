//! One thing that is wrong with a seed.

use nodeimg_contract::fault::{Code, Fault};

/// One thing that is wrong with a seed, by field. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {cause}")]
pub struct Problem {
    /// The fault's code.
    pub code: Code,
    /// Path of the field, as it is written (`nodeimg.endpoint.name`).
    pub field: String,
    /// Why, in one sentence.
    pub cause: String,
    /// What to do next.
    pub help: String,
}

impl Problem {
    /// A field that does not make sense.
    pub fn invalid(field: impl Into<String>, cause: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code: Code::SeedInvalid, field: field.into(), cause: cause.into(), help: help.into() }
    }
    /// The same with another code.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
    /// As a node shows it.
    pub fn fault(&self) -> Fault {
        Fault {
            code: self.code,
            object: self.field.clone(),
            cause: self.cause.clone(),
            help: self.help.clone(),
        }
    }
}
