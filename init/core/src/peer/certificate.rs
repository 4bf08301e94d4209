//! Who a peer certificate says that its holder is. The chain and the signature are the TLS library's business, and were
//! checked before anything here is asked.

use super::printable;
use crate::node_config::NodeName;
use nodeimg_contract::image::Role;
use nodeimg_contract::peer::role_of;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Name and role in a peer certificate (common name and organisation, see [`nodeimg_contract::peer`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Node name.
    pub name: NodeName,
    /// Role.
    pub role: Role,
}

/// A certificate that is no peer certificate. Its text is fit for a console.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// Not X.509.
    #[error("it is no X.509 certificate")]
    Unreadable,
    /// No common name, several, or one that is no node's.
    #[error("its common name is no node name")]
    Name,
    /// No organisation, several, or one that says no role.
    #[error("its organisation \"{0}\" says no role")]
    Role(String),
}

impl Subject {
    /// From the DER of a certificate.
    pub fn of(der: &[u8]) -> Result<Self, BadCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| BadCertificate::Unreadable)?;
        let subject = certificate.subject();
        let name = only(subject.iter_common_name().map(|a| a.as_str()))
            .and_then(|name| name.parse().ok())
            .ok_or(BadCertificate::Name)?;
        let organisation = only(subject.iter_organization().map(|a| a.as_str())).unwrap_or_default();
        let role = role_of(organisation).ok_or_else(|| BadCertificate::Role(printable(organisation, 64)))?;
        Ok(Self { name, role })
    }
}

/// The one value that there is, as text.
fn only<'a, E>(mut values: impl Iterator<Item = Result<&'a str, E>>) -> Option<&'a str> {
    let first = values.next()?.ok()?;
    values.next().is_none().then_some(first)
}
