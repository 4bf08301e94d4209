//! What a program or library says about how it is loaded.
//!
//! Takes a file, gives its interpreter, its shared-object name and its run path. Reads only headers and the dynamic
//! section. Format: System V ABI, chapter 5; only little-endian 64-bit objects are looked at.

use object::read::ReadCache;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, elf};
use std::fs::File;
use std::io;
use std::path::Path;

/// Facts of one ELF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElfFacts {
    /// Whether it names an interpreter, that is, whether it is a dynamically linked program.
    pub interpreted: bool,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// Folders of `DT_RUNPATH` and `DT_RPATH`.
    pub runpath: Vec<String>,
    /// `e_machine`.
    pub machine: u16,
}

/// Reads the facts; none when the file is no ELF file of the kind that we know (or is damaged).
pub fn facts(path: &Path) -> io::Result<Option<ElfFacts>> {
    let file = File::open(path)?;
    if file.metadata()?.len() < 64 {
        return Ok(None);
    }
    Ok(read(&ReadCache::new(file)))
}

fn read(data: &ReadCache<File>) -> Option<ElfFacts> {
    let file = ElfFile64::<Endianness, _>::parse(data).ok()?;
    let endian = file.endian();
    let mut facts = ElfFacts { machine: file.elf_header().e_machine(endian).0, ..ElfFacts::default() };
    let segments = file.elf_program_headers();
    let mut dynamic = None;
    for segment in segments {
        facts.interpreted |= segment.p_type(endian) == elf::PT_INTERP;
        if let Ok(Some(found)) = segment.dynamic(endian, data) {
            dynamic = Some(found);
        }
    }
    let Some(dynamic) = dynamic else { return Some(facts) };
    let value = |tag: elf::DynamicTag| dynamic.iter().find(|d| d.tag(endian) == tag).map(|d| d.val(endian));
    let (strings, size) = (value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?);
    let table = segments
        .iter()
        .find_map(|s| s.data_range(endian, data, strings, size.min(16 << 20)).ok().flatten())?;
    let text = |offset: u64| -> Option<String> {
        let rest = table.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok().map(str::to_owned)
    };
    for d in dynamic.iter() {
        match d.tag(endian) {
            elf::DT_NULL => break,
            elf::DT_SONAME => facts.soname = text(d.val(endian)),
            elf::DT_NEEDED => facts.needed.extend(text(d.val(endian))),
            elf::DT_RUNPATH | elf::DT_RPATH => {
                let list = text(d.val(endian)).unwrap_or_default();
                facts.runpath.extend(list.split(':').filter(|p| !p.is_empty()).map(str::to_owned));
            }
            _ => {}
        }
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts_of(bytes: &[u8]) -> Option<ElfFacts> {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(file.path(), bytes).expect("write");
        facts(file.path()).expect("read")
    }

    #[test]
    fn this_program_says_what_it_needs() {
        let own = facts(&std::env::current_exe().expect("path")).expect("read").expect("an ELF file");
        assert!(own.interpreted && own.needed.iter().any(|n| n.starts_with("libc.so")), "{own:?}");
        assert_eq!((own.machine, own.soname), (62, None));
        assert_eq!(facts_of(b"#!/bin/sh\nexit 0\n"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_program_never_panics(at in proptest::collection::vec((0usize..4096, any::<u8>()), 1..20)) {
            static HEAD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                let mut bytes = std::fs::read(std::env::current_exe().expect("path")).expect("read");
                bytes.truncate(1 << 16);
                bytes
            });
            let mut bytes = HEAD.clone();
            for (at, to) in at {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = to;
                }
            }
            let _ = facts_of(&bytes);
        }
    }
}
