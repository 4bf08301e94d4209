//! `/etc/ld.so.cache`, which ldconfig would have made.
//!
//! Takes a tree, gives the cache's bytes and the links named by shared-object names that are missing. Reads the
//! libraries' headers, nothing else. Format: glibc's `sysdeps/generic/dl-cache.h`, `glibc-ld.so.cache1.1`, and the
//! order of `elf/dl-cache.c` (`_dl_cache_libcmp`, descending).

use crate::elf;
use crate::merge::merged;
use crate::model::{Content, Kind, RootTree, TreePath};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;

/// `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`.
const FLAGS: u32 = 0x0303;
/// `EM_X86_64`.
const X86_64: u16 = 62;
/// Bytes of the header and of one entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Little-endian, as `cache_file_new_flags_endian_little` says.
const LITTLE: u8 = 2;

/// One line of `ldconfig -p`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    /// Shared-object name.
    pub(crate) key: String,
    /// Absolute path.
    pub(crate) path: String,
}

/// The folders that a file of `/etc/ld.so.conf.d` names; comments, `include` and relative lines are passed over.
pub(crate) fn conf_folders(text: &str) -> Vec<String> {
    text.lines()
        .map(|l| l.split('#').next().unwrap_or("").trim())
        .filter(|l| l.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

/// A link by a shared-object name that the tree lacks: where, and its target.
pub(crate) type MissingLink = (TreePath, String);

/// The libraries of a tree, and the links that it lacks for their shared-object names.
pub(crate) fn libraries(tree: &RootTree) -> io::Result<(Vec<Library>, Vec<MissingLink>)> {
    let (mut libraries, mut links) = (vec![], vec![]);
    for folder in folders(tree)? {
        let Ok(at) = TreePath::parse(&folder) else { continue };
        let at = merged(&at);
        let mut found: BTreeMap<String, ()> = BTreeMap::new();
        for (path, content) in objects(tree, &at) {
            let Content::Path { path: file, .. } = content else { continue };
            let Some(facts) = elf::facts(file)?.filter(|f| f.machine == X86_64) else { continue };
            let soname = facts.soname.unwrap_or_else(|| path.name().to_owned());
            if soname.is_empty() || soname.contains('/') {
                continue;
            }
            // libfoo.so beside libfoo.so.1 is for ld(1), and ldconfig lists it too.
            if path.name().ends_with(".so") && soname.starts_with(path.name()) {
                found.insert(path.name().to_owned(), ());
            }
            let link = at.child(&soname);
            if tree.get(&link).is_none() && !found.contains_key(&soname) {
                links.push((link, path.name().to_owned()));
            }
            found.insert(soname, ());
        }
        libraries.extend(found.into_keys().map(|key| Library { path: format!("{folder}/{key}"), key }));
    }
    libraries.sort_by(|a, b| compare(&b.key, &a.key));
    Ok((libraries, links))
}

/// Folders in ldconfig's order; of two names of one folder the first stands.
fn folders(tree: &RootTree) -> io::Result<Vec<String>> {
    let mut names = vec![];
    for (path, entry) in tree.iter() {
        let conf = path.as_str().strip_prefix("etc/ld.so.conf.d/").is_some_and(|n| n.ends_with(".conf"));
        if let (true, Kind::File(content)) = (conf, &entry.kind) {
            names.extend(conf_folders(&String::from_utf8_lossy(&content.read()?)));
        }
    }
    names.extend(["/lib", "/usr/lib"].map(str::to_owned));
    let mut seen: Vec<TreePath> = vec![];
    names.retain(|name| match TreePath::parse(name) {
        Ok(path) => {
            let path = merged(&TreePath::parse(&format!("{path}/x")).unwrap_or(path));
            let new = !seen.contains(&path);
            seen.push(path);
            new
        }
        Err(_) => false,
    });
    Ok(names)
}

/// Library files and links directly in `folder`, each with the content that it leads to.
fn objects<'a>(tree: &'a RootTree, folder: &TreePath) -> Vec<(&'a TreePath, &'a Content)> {
    let prefix = format!("{folder}/");
    let prefix = prefix.trim_start_matches('/').to_owned();
    tree.iter()
        .filter(|(path, _)| {
            let name = path.name();
            path.as_str().strip_prefix(prefix.as_str()) == Some(name)
                && (name.starts_with("lib") || name.starts_with("ld-"))
                && name.contains(".so")
        })
        .filter_map(|(path, _)| Some((path, tree.resolve(path)?)))
        .collect()
}

/// glibc's `_dl_cache_libcmp`: runs of digits compare as numbers, and stand above other characters.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let order = number(&mut a).cmp(&number(&mut b));
                if order != Ordering::Equal {
                    return order;
                }
            }
            (Some(x), _) if x.is_ascii_digit() => return Ordering::Greater,
            (Some(_), Some(y)) if y.is_ascii_digit() => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x != y => return x.cmp(y),
            _ => {
                a = a.get(1..).unwrap_or_default();
                b = b.get(1..).unwrap_or_default();
            }
        }
    }
}

fn number(text: &mut &[u8]) -> u64 {
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let (run, rest) = text.split_at(digits);
    *text = rest;
    run.iter().fold(0u64, |n, c| n.wrapping_mul(10).wrapping_add(u64::from(c - b'0')))
}

/// The file's bytes for libraries in order.
pub(crate) fn render(libraries: &[Library]) -> Vec<u8> {
    let strings_at = HEADER + ENTRY * libraries.len();
    let mut strings = vec![];
    let mut entries = vec![];
    for library in libraries {
        let key = (strings_at + strings.len()) as u32;
        strings.extend(library.key.bytes().chain([0]));
        let value = (strings_at + strings.len()) as u32;
        strings.extend(library.path.bytes().chain([0]));
        for word in [FLAGS, key, value, 0] {
            entries.extend(word.to_le_bytes());
        }
        entries.extend(0u64.to_le_bytes());
    }
    let mut out = b"glibc-ld.so.cache1.1".to_vec();
    out.extend((libraries.len() as u32).to_le_bytes());
    out.extend((strings.len() as u32).to_le_bytes());
    out.extend([LITTLE, 0, 0, 0]);
    out.resize(HEADER, 0);
    out.extend(entries);
    out.extend(strings);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn library(key: &str) -> Library {
        Library { key: key.into(), path: format!("/usr/lib/x86_64-linux-gnu/{key}") }
    }

    #[test]
    fn order_is_glibcs() {
        assert_eq!(compare("libfoo.so.10", "libfoo.so.9"), Ordering::Greater);
        assert_eq!(compare("libfoo.so.1", "libfoo.so"), Ordering::Greater);
        assert_eq!(compare("libz1.so", "libzz.so"), Ordering::Greater);
        assert_eq!(compare("liba.so", "liba.so"), Ordering::Equal);
        assert_eq!(compare("ld-x.so", "liba.so"), Ordering::Less);
    }

    #[test]
    fn bytes_are_the_format() {
        let bytes = render(&[library("libz.so.1")]);
        assert_eq!(&bytes[..20], b"glibc-ld.so.cache1.1");
        assert_eq!(bytes[20..24], 1u32.to_le_bytes());
        assert_eq!(bytes[28], LITTLE);
        assert_eq!(bytes[48..52], 0x0303u32.to_le_bytes());
        assert_eq!(bytes[52..56], 72u32.to_le_bytes());
        assert_eq!(&bytes[72..82], b"libz.so.1\0");
        assert_eq!(bytes.len(), 72 + 10 + 36);
    }

    /// glibc itself reads it, where this machine has ldconfig (every Debian has).
    #[test]
    fn ldconfig_reads_it() {
        let Some(ldconfig) =
            ["/sbin/ldconfig", "/usr/sbin/ldconfig"].into_iter().find(|p| std::path::Path::new(p).exists())
        else {
            return;
        };
        let dir = tempfile::tempdir().expect("temp folder");
        let file = dir.path().join("cache");
        let list: Vec<Library> = ["libz.so.1", "libc.so.6", "liba.so.10", "liba.so.9"].map(library).to_vec();
        std::fs::write(&file, render(&list)).expect("write");
        let out = Command::new(ldconfig).arg("-p").arg("-C").arg(&file).output().expect("ldconfig");
        let text = String::from_utf8(out.stdout).expect("text");
        assert!(text.starts_with("4 libs found"), "{text}");
        assert!(text.contains("liba.so.10 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/liba.so.10"), "{text}");
    }
}
