//! The kernel command line: what the builder seals into a UKI and what nodeinit reads back.
//!
//! Form: `Documentation/admin-guide/kernel-parameters.rst` (words split at spaces, double quotes group).

use crate::verity::RootHash;

/// `roothash=` names the root (systemd's spelling).
pub const ROOTHASH: &str = "roothash";
/// `ds=nocloud;…` is cloud-init's datasource word.
pub const DATASOURCE: &str = "ds";
/// `nodeimg.debug` asks nodeinit for more lines on the console.
pub const DEBUG: &str = "nodeimg.debug";

/// What a sealed image's command line says, always.
pub fn sealed(root: &RootHash) -> String {
    format!(
        "{ROOTHASH}={root} ro panic=60 systemd.firstboot=off net.ifnames=1 console=tty0 console=ttyS0,115200"
    )
}

/// A parsed command line. Keeps order; a word without `=` has no value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<(String, Option<String>)>,
}

impl CommandLine {
    /// Parses `/proc/cmdline`. Never fails: an unknown word belongs to somebody else.
    pub fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        let mut word = String::new();
        let (mut quoted, mut any) = (false, false);
        for c in text.chars().chain([' ']) {
            match c {
                '"' => {
                    quoted = !quoted;
                    any = true;
                }
                c if c.is_whitespace() && !quoted => {
                    if any {
                        words.push(match word.split_once('=') {
                            Some((k, v)) => (k.to_owned(), Some(v.to_owned())),
                            None => (word.clone(), None),
                        });
                    }
                    word.clear();
                    any = false;
                }
                c => {
                    word.push(c);
                    any = true;
                }
            }
        }
        Self { words }
    }
    /// The last value given for `key` (the kernel's rule: the last one stands).
    pub fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().rev().find(|(k, _)| k == key).and_then(|(_, v)| v.as_deref())
    }
    /// Whether `key` stands there at all.
    pub fn has(&self, key: &str) -> bool {
        self.words.iter().any(|(k, _)| k == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_stands_and_quotes_group() {
        let c = CommandLine::parse("ro ds=\"nocloud;h=cp1\" a=1 a=2 quiet\n");
        assert_eq!(c.value("a"), Some("2"));
        assert_eq!(c.value("ds"), Some("nocloud;h=cp1"));
        assert!(c.has("quiet") && !c.has("loud"));
    }
}
