//! Names that were checked once: node, DNS name, cluster, bootstrap token, argument.

use nodeimg_contract::{components, names};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A text that is not the name that was wanted. Never holds the text itself: some are secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub &'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(s: String) -> Result<Self, BadName> {
                $check(&s)?;
                Ok(Self(s))
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(s: &str) -> Result<Self, BadName> {
                Self::try_from(s.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(n: $name) -> String {
                n.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A node's name: RFC 1123 subdomain in lower case, at most 63 characters (it is a label value and a host name too).
    NodeName, node_name
}
name! {
    /// A DNS name: RFC 1123 subdomain in lower case, at most 253 characters; an IP address is none.
    DnsName, dns_name
}
name! {
    /// A cluster's name: RFC 1123 label.
    ClusterName, cluster_name
}
name! {
    /// Name of a command-line argument, without dashes.
    ArgName, arg_name
}
name! {
    /// A name or address in a certificate: DNS name, `*.` and a DNS name, or an IP address.
    SubjectAltName, subject_alt_name
}

fn node_name(s: &str) -> Result<(), BadName> {
    names::node_name(s).map_err(BadName)
}

fn dns_name(s: &str) -> Result<(), BadName> {
    names::dns_name(s).map_err(BadName)
}

fn cluster_name(s: &str) -> Result<(), BadName> {
    if names::is_label(s) {
        Ok(())
    } else {
        Err(BadName(
            "a cluster's name has lower-case letters, digits and \"-\" only, at most 63, and starts and ends with a letter or digit",
        ))
    }
}

fn arg_name(s: &str) -> Result<(), BadName> {
    components::argument_name(s).map_err(BadName)
}

fn subject_alt_name(s: &str) -> Result<(), BadName> {
    components::subject_alt_name(s).map_err(BadName)
}

/// Whether a text has the form of a bootstrap token (`[a-z0-9]{6}.[a-z0-9]{16}`, kubeadm's bootstraptoken/v1).
pub fn is_bootstrap_token(s: &str) -> bool {
    let word =
        |w: &str, n: usize| w.len() == n && w.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    s.split_once('.').is_some_and(|(id, secret)| word(id, 6) && word(secret, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_dns_name() {
        for bad in [
            "192.0.2.1",
            "2001:db8::1",
            "[2001:db8::1]",
            "1.2.3",
            "10.0.0.256",
            "API.example",
            "a..b",
            "a.",
            "",
            "localhost",
            "-a",
        ] {
            assert!(bad.parse::<DnsName>().is_err(), "{bad}");
        }
        for good in ["api.kube.example.net", "api", "a-b.c1", "1a.example"] {
            assert!(good.parse::<DnsName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn node_names_are_label_values_too() {
        assert!("cp1".parse::<NodeName>().is_ok());
        assert!("a".repeat(63).parse::<NodeName>().is_ok());
        assert!(format!("{}.b", "a".repeat(62)).parse::<NodeName>().is_err());
        for bad in ["Cp1", "cp_1", "", "cp1-", "../x", "a b"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_arguments_and_alternative_names() {
        assert!(is_bootstrap_token("abcdef.0123456789abcdef"));
        assert!(
            !is_bootstrap_token("abcdef.0123456789ABCDEF") && !is_bootstrap_token("abcdef0123456789abcdef")
        );
        assert!("v".parse::<ArgName>().is_ok() && "--v".parse::<ArgName>().is_err());
        assert!(
            "*.example.net".parse::<SubjectAltName>().is_ok()
                && "192.0.2.1".parse::<SubjectAltName>().is_ok()
        );
        assert!("a b".parse::<SubjectAltName>().is_err());
    }
}
