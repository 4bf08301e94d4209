//! Templates of add-ons and static pods: `{{ name }}` is replaced by a value, and nothing else is.
//!
//! Takes text and values, gives text. An unknown name is an error: a manifest with a hole in it is never applied.

use std::collections::BTreeMap;

/// Values by name.
pub type Values = BTreeMap<String, String>;

/// Largest size of a template or an env file in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A template that cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{ name }}` without a value.
    #[error("line {line}: no value is known for \"{name}\"; known are: {known}")]
    Unknown {
        /// From 1.
        line: usize,
        /// The name.
        name: String,
        /// Every name that has a value.
        known: String,
    },
    /// `{{` without `}}`, or something that is no name between them.
    #[error("line {line}: \"{{{{\" is not followed by a name and \"}}}}\"")]
    Malformed {
        /// From 1.
        line: usize,
    },
    /// Larger than [`MAX_BYTES`].
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
}

/// Fills a template.
pub fn fill(template: &str, values: &Values) -> Result<String, TemplateError> {
    if template.len() > MAX_BYTES {
        return Err(TemplateError::TooLarge);
    }
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    let mut line = 1;
    while let Some((before, after)) = rest.split_once("{{") {
        line += before.matches('\n').count();
        filled.push_str(before);
        let (name, after) = after.split_once("}}").ok_or(TemplateError::Malformed { line })?;
        let name = name.trim();
        if !is_name(name) {
            return Err(TemplateError::Malformed { line });
        }
        let value = values.get(name).ok_or_else(|| TemplateError::Unknown {
            line,
            name: name.to_owned(),
            known: values.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_name(s: &str) -> bool {
    !s.is_empty() && s.len() <= 64 && s.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// Parses an env file: lines `NAME=value`, values plain or in quotes; empty lines and `#` comments. A line of another
/// form is skipped: the file belongs to somebody else, and what is missing is told when a template is filled. A value
/// `ADDRESS/LENGTH` gives `NAME_NETWORK` too, the network that the address is in: IPAM plugins refuse the other form.
pub fn env_file(text: &str) -> Values {
    let line = |line: &str| {
        let line = line.trim().strip_prefix("export ").unwrap_or(line.trim());
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
        let value = quoted.unwrap_or(value);
        (is_name(name) && !value.chars().any(char::is_control)).then(|| (name.to_owned(), value.to_owned()))
    };
    let values: Values = text.lines().take(1000).filter_map(line).collect();
    let network = |(name, value): (&String, &String)| {
        let net: ipnet::IpNet = value.parse().ok()?;
        Some((format!("{name}_NETWORK"), net.trunc().to_string()))
    };
    let mut all: Values = values.iter().filter_map(network).collect();
    all.extend(values);
    all
}

/// The values that every add-on and static pod may use.
pub fn node_values(
    config: &crate::node_config::NodeConfig,
    image: &nodeimg_contract::image::RootManifest,
) -> Values {
    let k = &config.kubernetes;
    [
        ("podSubnet", k.pod_subnet.value.to_string()),
        ("serviceSubnet", k.service_subnet.value.to_string()),
        ("dnsDomain", k.dns_domain.value.to_string()),
        ("clusterName", config.cluster.value.to_string()),
        ("nodeName", config.name.value.to_string()),
        ("nodeAddress", config.node_ip().map(|a| a.to_string()).unwrap_or_default()),
        ("endpointName", config.endpoint.name.value.to_string()),
        ("endpointPort", config.endpoint.port.value.to_string()),
        ("imageRepository", image.image_repository.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> Values {
        [("podSubnet".to_owned(), "10.244.0.0/16".to_owned()), ("A".to_owned(), "{{ A }}".to_owned())].into()
    }

    #[test]
    fn fills_names_and_nothing_else() {
        assert_eq!(
            fill("a: {{ podSubnet }}\nb: {{podSubnet}} {x} }}", &values()).as_deref(),
            Ok("a: 10.244.0.0/16\nb: 10.244.0.0/16 {x} }}")
        );
        assert_eq!(fill("{{ A }}", &values()).as_deref(), Ok("{{ A }}"), "a value is not filled again");
        assert!(matches!(fill("\n{{ B }}", &values()), Err(TemplateError::Unknown { line: 2, .. })));
        assert_eq!(fill("{{ A", &values()), Err(TemplateError::Malformed { line: 1 }));
        assert_eq!(fill("{{ A b }}", &values()), Err(TemplateError::Malformed { line: 1 }));
    }

    #[test]
    fn reads_an_env_file() {
        let v =
            env_file("# c\nFLANNEL_SUBNET=10.244.0.1/24\nexport Q=\"a b\"\nbad line\n=x\nFLANNEL_MTU=1450\n");
        assert_eq!(v.get("FLANNEL_SUBNET").map(String::as_str), Some("10.244.0.1/24"));
        assert_eq!(v.get("Q").map(String::as_str), Some("a b"));
        assert_eq!(v.get("FLANNEL_SUBNET_NETWORK").map(String::as_str), Some("10.244.0.0/24"));
        assert_eq!(v.len(), 4);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\PC|\n|\\{\\{|\\}\\}| |A){0,200}") {
            let _ = fill(&text, &values());
            let _ = env_file(&text);
        }
        #[test]
        fn text_without_braces_is_itself(text in "[^{]{0,200}") {
            prop_assert_eq!(fill(&text, &values()), Ok(text));
        }
    }
}
