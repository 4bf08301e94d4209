//! cloud-init's NoCloud words: `ds=nocloud;h=cp1;i=i-1;s=http://192.0.2.1/seed/`.
//!
//! Takes the word's value (from the kernel command line) or the whole word (SMBIOS system serial number), gives what
//! it says. Pure. Format: cloud-init's "NoCloud" datasource page.

pub mod volume;

/// What a NoCloud word says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// `i` or `instance-id`.
    pub instance_id: Option<String>,
    /// `h` or `local-hostname`.
    pub local_hostname: Option<String>,
    /// `s` or `seedfrom`.
    pub seed_from: Option<SeedFrom>,
    /// Keys that nobody here knows.
    pub ignored: Vec<String>,
}

/// Where the three documents of a seed are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedFrom {
    /// A folder on the node.
    Folder(String),
    /// A plain HTTP server; `path` ends with a slash.
    Http {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// Starts and ends with a slash.
        path: String,
    },
}

/// A NoCloud word that is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A scheme that is not built.
    #[error("the seed is said to be at \"{0}\", and nodeimg reads http:// and folders only, not yet {1}")]
    NotYet(String, String),
    /// Not a URL or path.
    #[error("\"{0}\" is neither an http:// URL nor the absolute path of a folder")]
    SeedFrom(String),
    /// Longer than any sensible word.
    #[error("a ds= word of {0} characters; at most {MAX_WORD} are read")]
    TooLong(usize),
}

/// Characters of one word that are read.
pub const MAX_WORD: usize = 2048;

/// Parses the value of `ds=`. Another datasource's word gives `None`.
pub fn parse(value: &str) -> Result<Option<Words>, WordError> {
    if value.len() > MAX_WORD {
        return Err(WordError::TooLong(value.len()));
    }
    let mut parts = value.trim().split(';');
    let kind = parts.next().unwrap_or_default();
    if !(kind.eq_ignore_ascii_case("nocloud") || kind.eq_ignore_ascii_case("nocloud-net")) {
        return Ok(None);
    }
    let mut words = Words::default();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let given = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "" => {}
            "h" | "local-hostname" => words.local_hostname = given(),
            "i" | "instance-id" => words.instance_id = given(),
            "s" | "seedfrom" => words.seed_from = given().map(|value| seed_from(&value)).transpose()?,
            other => words.ignored.push(other.to_owned()),
        }
    }
    Ok(Some(words))
}

/// Parses a whole word, `ds=nocloud…`, as it stands in the SMBIOS system serial number.
pub fn parse_serial(serial: &str) -> Result<Option<Words>, WordError> {
    match serial.trim().strip_prefix("ds=") {
        Some(value) => parse(value),
        None => Ok(None),
    }
}

fn seed_from(value: &str) -> Result<SeedFrom, WordError> {
    let bad = || WordError::SeedFrom(value.chars().take(200).collect());
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad());
    }
    let folder = value.strip_prefix("file://").unwrap_or(value);
    if folder.starts_with('/') {
        if folder.split('/').any(|part| part == "..") {
            return Err(bad());
        }
        return Ok(SeedFrom::Folder(folder.to_owned()));
    }
    let Some(rest) = value.strip_prefix("http://") else {
        return Err(match value.split_once("://") {
            Some((scheme, _)) => WordError::NotYet(value.into(), format!("{scheme}://")),
            None => bad(),
        });
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (authority, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || authority.contains('@') || path.contains(['?', '#']) {
        return Err(bad());
    }
    let slash = if path.is_empty() || path.ends_with('/') { "" } else { "/" };
    Ok(SeedFrom::Http { host: host.into(), port, path: format!("/{path}{slash}") })
}

impl std::fmt::Display for SeedFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SeedFrom::Folder(path) => f.write_str(path),
            SeedFrom::Http { host, port, path } if host.contains(':') => {
                write!(f, "http://[{host}]:{port}{path}")
            }
            SeedFrom::Http { host, port, path } => write!(f, "http://{host}:{port}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_long_and_short() {
        let words =
            parse("nocloud-net;h=cp1;instance-id=i-1;x=2;s=http://192.0.2.1:8080/seed").expect("words");
        let words = words.expect("NoCloud");
        assert_eq!(words.local_hostname.as_deref(), Some("cp1"));
        assert_eq!(words.instance_id.as_deref(), Some("i-1"));
        assert_eq!(words.ignored, ["x"]);
        let http = SeedFrom::Http { host: "192.0.2.1".into(), port: 8080, path: "/seed/".into() };
        assert_eq!(words.seed_from, Some(http));
    }

    #[test]
    fn other_datasources_are_absent_not_wrong() {
        assert_eq!(parse("ec2;x=1"), Ok(None));
        assert_eq!(parse_serial("VMware-42 1a"), Ok(None));
        assert_eq!(
            parse_serial(" ds=nocloud;h=a\n").map(|w| w.and_then(|w| w.local_hostname)),
            Ok(Some("a".into()))
        );
    }

    #[test]
    fn places_of_a_seed() {
        let from = |s: &str| parse(&format!("nocloud;s={s}")).map(|w| w.and_then(|w| w.seed_from));
        assert_eq!(from("/seed"), Ok(Some(SeedFrom::Folder("/seed".into()))));
        assert_eq!(from("file:///seed/"), Ok(Some(SeedFrom::Folder("/seed/".into()))));
        let http = |host: &str, port| SeedFrom::Http { host: host.into(), port, path: "/".into() };
        assert_eq!(from("http://seed.example.net"), Ok(Some(http("seed.example.net", 80))));
        assert_eq!(from("http://[2001:db8::1]:81/"), Ok(Some(http("2001:db8::1", 81))));
        assert!(matches!(from("https://a/"), Err(WordError::NotYet(..))));
        for bad in ["a/b", "/a/../b", "http://", "http://u@h/", "http://h:99999/", "http://h/?x"] {
            assert!(from(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(word in "\\PC{0,200}") {
            let _ = parse(&word);
            let _ = parse_serial(&format!("ds=nocloud;s={word}"));
            let _ = parse(&format!("nocloud;s=http://{word}"));
        }

        #[test]
        fn a_place_reads_back_as_it_is_printed(host in "[a-z]{1,9}", port in 1u16.., path in "(/[a-z]{1,5}){0,3}/") {
            let place = SeedFrom::Http { host, port, path };
            let words = parse(&format!("nocloud;s={place}")).expect("words").expect("NoCloud");
            prop_assert_eq!(words.seed_from, Some(place));
        }
    }
}
