//! Which shared libraries a Debian program needs, found in the tree of unpacked packages.
//!
//! Takes the tree and a program's path in it. Gives the files that an image must hold so that the program runs there:
//! itself, its interpreter, its libraries, each at the path where the loader looks. Reads the tree's contents, never the
//! build machine's own libraries, never runs anything.
//!
//! Source of the format: System V ABI, dynamic section (`DT_NEEDED`); ld.so(8) for the search path. RPATH and RUNPATH
//! are not followed: Debian's programs for the node have none.

use std::collections::{BTreeMap, VecDeque};

use nodeimg_tree::{Content, Kind, RootTree, TreePath};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

/// Where Debian's loader looks when there is no `ld.so.cache`; amd64.
const LIBRARY_FOLDERS: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib"];

/// More links than this on the way to one file are a loop.
const MAX_LINKS: usize = 40;

/// Why a program of the tree cannot be taken into an image.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// A program or a library is in none of the packages.
    #[error("\"{wanted}\", which \"{by}\" needs, is in none of the unpacked packages")]
    Missing {
        /// Path of a program, or the name of a library.
        wanted: String,
        /// What needs it.
        by: String,
    },
    /// A file cannot be read.
    #[error("cannot read \"{path}\"")]
    Read {
        /// Path in the tree.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not an ELF file for this machine.
    #[error("\"{path}\" is not a 64-bit ELF program")]
    NotElf {
        /// Path in the tree.
        path: String,
        /// Why.
        #[source]
        source: object::read::Error,
    },
}

/// Path in the image -> content, for `program` and everything that it loads.
pub fn closure(tree: &RootTree, program: &str) -> Result<BTreeMap<String, Content>, ElfError> {
    let mut found: BTreeMap<String, Content> = BTreeMap::new();
    let mut open = VecDeque::from([(program.to_owned(), locate(tree, program, program)?)]);
    while let Some((path, content)) = open.pop_front() {
        let data = content.read().map_err(|source| ElfError::Read { path: path.clone(), source })?;
        let needs = needs(&data).map_err(|source| ElfError::NotElf { path: path.clone(), source })?;
        found.insert(path.clone(), content);
        if let Some(interpreter) = needs.interpreter {
            let content = locate(tree, &interpreter, &path)?;
            found.entry(interpreter).or_insert(content);
        }
        for library in needs.libraries {
            let place = format!("/{}/{library}", LIBRARY_FOLDERS[0]);
            // libc names the loader as a library too: the interpreter's copy is enough.
            let have = found.keys().any(|path| path.ends_with(&format!("/{library}")));
            if have || open.iter().any(|(path, _)| *path == place) {
                continue;
            }
            let content =
                LIBRARY_FOLDERS.iter().find_map(|folder| file_at(tree, &format!("{folder}/{library}")));
            let content = content.ok_or_else(|| ElfError::Missing { wanted: library, by: path.clone() })?;
            open.push_back((place, content));
        }
    }
    Ok(found)
}

fn locate(tree: &RootTree, path: &str, by: &str) -> Result<Content, ElfError> {
    file_at(tree, path).ok_or_else(|| ElfError::Missing { wanted: path.to_owned(), by: by.to_owned() })
}

/// The regular file at `path`, through symbolic links and hard links. `/lib` and its like lead into `/usr` even where
/// no package of the set brings the link.
fn file_at(tree: &RootTree, path: &str) -> Option<Content> {
    let mut here: Vec<String> = Vec::new();
    let mut rest: VecDeque<String> = parts(path).collect();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        here.push(part);
        match tree.get(&TreePath::parse(&here.join("/")).ok()?).map(|entry| &entry.kind) {
            Some(Kind::Symlink(target)) => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                let mut through: VecDeque<String> = parts(target).collect();
                through.append(&mut rest);
                rest = through;
            }
            None if matches!(here.as_slice(), [one] if ["bin", "lib", "lib64", "sbin"].contains(&one.as_str())) =>
            {
                here.insert(0, "usr".to_owned());
            }
            _ => {}
        }
    }
    let entry = tree.get(&TreePath::parse(&here.join("/")).ok()?)?;
    let entry = if let Kind::Hardlink(first) = &entry.kind { tree.get(first)? } else { entry };
    if let Kind::File(content) = &entry.kind { Some(content.clone()) } else { None }
}

fn parts(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
}

fn needs(data: &[u8]) -> object::read::Result<Needs> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let mut needs = Needs::default();
    for program_header in header.program_headers(endian, data)? {
        if let Some(path) = program_header.interpreter(endian, data)? {
            needs.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let sections = header.sections(endian, data)?;
    if let Some((dynamic, link)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        for entry in dynamic {
            if entry.tag(endian) == DT_NEEDED {
                let name = entry.string(endian, strings)?;
                needs.libraries.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_tree::{Entry, Part};
    use proptest::prelude::*;

    fn tree(entries: &[(&str, Entry)]) -> RootTree {
        let mut tree = RootTree::new();
        for (path, entry) in entries {
            tree.insert(TreePath::parse(path).unwrap(), entry.clone());
        }
        tree
    }

    fn file(text: &str) -> Entry {
        Entry::file(text.as_bytes(), 0o755, Part::Debian)
    }

    fn text_at(tree: &RootTree, path: &str) -> Option<String> {
        file_at(tree, path).map(|content| String::from_utf8(content.read().unwrap()).unwrap())
    }

    #[test]
    fn links_are_followed_inside_the_tree() {
        let link = |target: &str| Entry::symlink(target, Part::Debian);
        let tree = tree(&[
            ("usr/lib/x/real.so.1.2", file("it")),
            ("usr/lib/x/real.so.1", link("real.so.1.2")),
            ("usr/lib64/ld.so", link("../lib/x/real.so.1")),
            ("etc/alternatives/l", link("/lib64/ld.so")),
            ("up", link("../../../usr/lib/x/real.so.1")),
            ("loop", link("loop")),
        ]);
        for path in ["/usr/lib/x/real.so.1", "/lib64/ld.so", "/etc/alternatives/l", "/up"] {
            assert_eq!(text_at(&tree, path).as_deref(), Some("it"), "{path}");
        }
        for path in ["/loop", "/usr/lib/x", "/gone", "/"] {
            assert_eq!(text_at(&tree, path), None, "{path}");
        }
    }

    #[test]
    fn what_a_real_program_needs_is_read() {
        // The test program itself: a dynamic one, on the machines that we build on.
        let needs = needs(&std::fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert!(needs.interpreter.unwrap().contains("/ld-"));
        assert!(needs.libraries.iter().any(|library| library.starts_with("libc.so")));
    }

    #[test]
    fn a_missing_library_is_named_with_who_needs_it() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let interpreter = needs(&own).unwrap().interpreter.unwrap();
        let tree =
            tree(&[("usr/sbin/nft", Entry::file(own, 0o755, Part::Debian)), (&interpreter, file("loader"))]);
        let error = closure(&tree, "/usr/sbin/nft").unwrap_err().to_string();
        assert!(error.contains("which \"/usr/sbin/nft\" needs, is in none"), "{error}");
        assert!(matches!(closure(&tree, &interpreter), Err(ElfError::NotElf { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_answer(tail in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut data = b"\x7fELF\x02\x01\x01".to_vec();
            data.extend(tail);
            let _ = needs(&data);
        }
    }
}
