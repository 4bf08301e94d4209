//! etcd's static-pod manifest after a first good start: `--initial-cluster-state=existing`.
//!
//! Edited, not rendered again: `kubeadm upgrade` may have written another one since.

/// The text is no manifest of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manifest has no argument --initial-cluster")]
pub struct NoEtcdCommand;

const STATE: &str = "--initial-cluster-state";

/// The manifest with the state `existing`: then an empty member is refused by etcd, rather than starting afresh. A
/// manifest that says so already comes back unchanged.
pub fn with_existing_state(manifest: &str) -> Result<String, NoEtcdCommand> {
    let argument = |line: &str| -> Option<(String, String)> {
        let rest = line.trim_start().strip_prefix("- ")?.trim().trim_matches(['"', '\'']).to_owned();
        let (name, _) = rest.split_once('=')?;
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        Some((name.to_owned(), indent))
    };
    let has_state = manifest.lines().any(|l| argument(l).is_some_and(|(name, _)| name == STATE));
    let mut found = false;
    let mut text = String::with_capacity(manifest.len() + 48);
    for line in manifest.split_inclusive('\n') {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        match argument(line) {
            Some((name, indent)) if name == STATE => {
                found = true;
                text.push_str(&format!("{indent}- {STATE}=existing{end}"));
            }
            Some((name, indent)) if name == "--initial-cluster" && !has_state => {
                found = true;
                text.push_str(line.trim_end_matches('\n'));
                text.push_str(&format!("\n{indent}- {STATE}=existing{end}"));
            }
            _ => text.push_str(line),
        }
    }
    if found { Ok(text) } else { Err(NoEtcdCommand) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_becomes_existing_once() {
        let new = "    - --initial-cluster=cp1=https://192.0.2.1:2380\n    - --initial-cluster-state=new\n    - --name=cp1\n";
        let existing = "    - --initial-cluster=cp1=https://192.0.2.1:2380\n    - --initial-cluster-state=existing\n    - --name=cp1\n";
        assert_eq!(with_existing_state(new).as_deref(), Ok(existing));
        assert_eq!(with_existing_state(existing).as_deref(), Ok(existing));
    }

    #[test]
    fn a_manifest_of_an_upgrade_gets_the_argument() {
        let upgraded = "    - --initial-cluster=cp1=https://192.0.2.1:2380\n    - --name=cp1\n";
        let text = with_existing_state(upgraded).expect("a manifest");
        assert!(text.contains("    - --initial-cluster-state=existing\n    - --name=cp1\n"));
        assert_eq!(with_existing_state("kind: Pod\n"), Err(NoEtcdCommand));
    }
}
