//! What kind of machine this node runs on: one with a kernel of its own, or a namespace of a lab.
//!
//! Takes the document [`machine::MACHINE`], once, before anything else runs; gives the same answer for ever. Every place
//! that behaves otherwise in a namespace asks here. Never guesses from what the kernel looks like.

use nodeimg_contract::machine::{self, Namespace};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::OnceLock;

static THIS: OnceLock<Option<Namespace>> = OnceLock::new();

/// Bytes of the longest document that is read.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the document. An error means that nothing may run: taking the host for a machine of one's own would set its
/// clock and its sysctls.
pub fn read() -> Result<(), String> {
    let this = at(machine::MACHINE.as_ref())?;
    if let Some(namespace) = &this {
        crate::clock::inject(namespace.clock_offset_seconds);
    }
    let _ = THIS.set(this);
    Ok(())
}

/// The namespace that this node is; none when it has a kernel of its own.
pub fn namespace() -> Option<&'static Namespace> {
    THIS.get().and_then(Option::as_ref)
}

fn at(path: &Path) -> Result<Option<Namespace>, String> {
    let named = |e: &dyn std::fmt::Display| format!("\"{}\": {e}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(named(&e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| named(&e))?;
    Namespace::parse(&bytes).map(Some).map_err(|e| named(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_document_is_a_machine_of_its_own_and_a_bad_one_is_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("machine.json");
        assert_eq!(at(&path), Ok(None));
        std::fs::write(&path, "{}").expect("written");
        assert!(at(&path).expect_err("refused").contains("machine.json"));
    }
}
