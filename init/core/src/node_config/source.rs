//! Where a field of a [`super::NodeConfig`] came from.

use serde::{Deserialize, Serialize};

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// user-data of the seed.
    UserData,
    /// meta-data of the seed.
    MetaData,
    /// network-config of the seed.
    NetworkConfig,
    /// A DHCP lease.
    Dhcp,
    /// The image's `root.json`.
    Image,
    /// Nobody: nodeimg's default.
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::UserData => "user-data",
            Source::MetaData => "meta-data",
            Source::NetworkConfig => "network-config",
            Source::Dhcp => "DHCP",
            Source::Image => "image",
            Source::Default => "default",
        })
    }
}

/// A value and who said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// From user-data.
    pub fn user_data(value: T) -> Self {
        Self { value, source: Source::UserData }
    }
    /// nodeimg's default.
    pub fn default_of(value: T) -> Self {
        Self { value, source: Source::Default }
    }
    /// What user-data says, else nodeimg's default.
    pub fn or_default(said: Option<T>, default: T) -> Self {
        match said {
            Some(value) => Self::user_data(value),
            None => Self::default_of(default),
        }
    }
}

impl<T> std::ops::Deref for Sourced<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
