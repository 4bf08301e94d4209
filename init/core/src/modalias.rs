//! Which kernel modules a device asks for, and in which order they are loaded.
//!
//! Takes the text of depmod's `modules.alias`, `modules.dep`, `modules.softdep` and `modules.builtin` (kmod, depmod(8),
//! modules.dep(5)) and modalias strings. Gives module files in load order. Reads nothing, loads nothing.

use std::collections::{BTreeMap, BTreeSet};

/// Modules that one load may bring along; a longer list is a broken index.
const MAX_CLOSURE: usize = 256;
/// Steps that one pattern may cost; a modalias is short, so that more is malice.
const MAX_STEPS: usize = 100_000;

/// What depmod knows of one kernel release.
#[derive(Debug, Clone, Default)]
pub struct ModuleIndex {
    /// Patterns by the text before their first colon (`pci`, `virtio`, …), or by nothing where that has wildcards.
    aliases: BTreeMap<String, Vec<(String, String)>>,
    files: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Module {
    path: String,
    needs: Vec<String>,
    before: Vec<String>,
    after: Vec<String>,
}

/// A module's name as the kernel has it: `_` for `-`, no folder, no `.ko…`.
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

impl ModuleIndex {
    /// Reads depmod's files. A line that makes no sense is left out: depmod writes none, and a boot must go on.
    pub fn parse(alias: &str, dep: &str, softdep: &str, builtin: &str) -> Self {
        let mut index = Self::default();
        for line in dep.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            let needs = needs.split_whitespace().map(module_name).collect();
            index.files.insert(
                module_name(path),
                Module { path: path.trim().to_owned(), needs, ..Module::default() },
            );
        }
        for line in softdep.lines() {
            index.add_softdep(line);
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
                let pattern = normal(pattern);
                let bucket = bucket(&pattern).unwrap_or_default().to_owned();
                index.aliases.entry(bucket).or_default().push((pattern, module_name(module)));
            }
        }
        index.builtin = builtin.lines().filter(|l| !l.is_empty()).map(module_name).collect();
        index
    }

    fn add_softdep(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        if words.next() != Some("softdep") {
            return;
        }
        let Some(module) = words.next().map(module_name).and_then(|n| self.files.get_mut(&n)) else { return };
        let mut list = None;
        for word in words {
            match (word, &mut list) {
                ("pre:", l) => *l = Some(true),
                ("post:", l) => *l = Some(false),
                (name, Some(true)) => module.before.push(module_name(name)),
                (name, Some(false)) => module.after.push(module_name(name)),
                (_, None) => {}
            }
        }
    }

    /// Whether the kernel has this module built in.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&module_name(name))
    }

    /// Modules whose alias matches, in the order of `modules.alias`, each once.
    pub fn matching(&self, modalias: &str) -> Vec<&str> {
        let modalias = normal(modalias);
        let mut found: Vec<&str> = Vec::new();
        for key in [bucket(&modalias).unwrap_or_default(), ""] {
            for (pattern, module) in self.aliases.get(key).into_iter().flatten() {
                if !found.contains(&module.as_str()) && glob_matches(pattern, &modalias) {
                    found.push(module);
                }
            }
            if key.is_empty() {
                break;
            }
        }
        found
    }

    /// The files to load for a module or an alias name, what it needs first. Empty when the index does not know it
    /// (built in, or not part of this image).
    pub fn closure(&self, name: &str) -> Vec<(String, &str)> {
        let mut order = Vec::new();
        self.visit(&module_name(name), &mut BTreeSet::new(), &mut order);
        order
    }

    /// Modules with this alias, `-` and `_` being the same. Soft dependencies name algorithms (`crypto-crc32c`), which
    /// only an alias tells the modules of.
    fn named_by_alias<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let plain = self.aliases.get("").into_iter().flatten();
        plain.filter(move |(alias, _)| alias.replace('-', "_") == name).map(|(_, module)| module.as_str())
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<(String, &'a str)>) {
        if seen.len() >= MAX_CLOSURE || !seen.insert(name.to_owned()) {
            return;
        }
        let Some(module) = self.files.get(name) else {
            for module in self.named_by_alias(name) {
                self.visit(module, seen, order);
            }
            return;
        };
        for before in module.before.iter().chain(module.needs.iter().rev()) {
            self.visit(before, seen, order);
        }
        order.push((name.to_owned(), module.path.as_str()));
        for after in &module.after {
            self.visit(after, seen, order);
        }
    }
}

/// `-` and `_` are the same in aliases as in names, but not within brackets (kmod's rule).
fn normal(alias: &str) -> String {
    let mut depth = 0u32;
    let plain = |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == '-' && depth == 0 { '_' } else { c }
    };
    alias.chars().map(plain).collect()
}

/// What stands before the first colon, where that is plain text.
fn bucket(text: &str) -> Option<&str> {
    let (head, _) = text.split_once(':')?;
    (!head.contains(['*', '?', '['])).then_some(head)
}

/// fnmatch(3) without flags: `*`, `?`, `[…]` with ranges and `!`, `\`.
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut pi, mut ti) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    for _ in 0..MAX_STEPS {
        let Some(&c) = t.get(ti) else {
            return p.get(pi..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'));
        };
        let next = match p.get(pi) {
            Some(b'*') => {
                star = Some((pi + 1, ti));
                pi += 1;
                continue;
            }
            Some(b'?') => Some(pi + 1),
            Some(b'[') => class(p, pi, c),
            Some(b'\\') if p.get(pi + 1) == Some(&c) => Some(pi + 2),
            Some(&b) if b == c => Some(pi + 1),
            _ => None,
        };
        match (next, star) {
            (Some(n), _) => (pi, ti) = (n, ti + 1),
            (None, Some((after, at))) => {
                star = Some((after, at + 1));
                (pi, ti) = (after, at + 1);
            }
            (None, None) => return false,
        }
    }
    false
}

/// The position behind a bracket expression that holds `c`; none where it does not, or has no end.
fn class(p: &[u8], open: usize, c: u8) -> Option<usize> {
    let mut i = open + 1;
    let negated = matches!(p.get(i), Some(b'!' | b'^'));
    i += usize::from(negated);
    let (mut found, mut first) = (false, true);
    loop {
        let &low = p.get(i)?;
        if low == b']' && !first {
            return (found != negated).then_some(i + 1);
        }
        first = false;
        let high = match (p.get(i + 1), p.get(i + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                i += 2;
                high
            }
            _ => low,
        };
        found |= (low..=high).contains(&c);
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEP: &str = "kernel/a/virtio_blk.ko.xz:\nkernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz kernel/fs/netfs.ko.xz\n\
        kernel/lib/libcrc32c.ko.xz:\nkernel/fs/netfs.ko.xz:\nkernel/md/dm-verity.ko.xz: kernel/md/dm-bufio.ko.xz kernel/md/dm-mod.ko.xz\n\
kernel/crypto/crc32c_generic.ko.xz:\n\
        kernel/md/dm-bufio.ko.xz: kernel/md/dm-mod.ko.xz\nkernel/md/dm-mod.ko.xz:\nbad line\n";
    const ALIAS: &str = "# aliases\nalias pci:v00001AF4d00001001sv*sd*bc*sc*i* virtio_pci\nalias virtio:d00000002v* virtio_blk\n\
        alias fs-erofs erofs\nalias crc32c crc32c_generic\nalias cpu:type:x86,ven*fam*mod*:feature:*0099* aesni_intel\n";

    fn index() -> ModuleIndex {
        ModuleIndex::parse(
            ALIAS,
            DEP,
            "softdep erofs pre: virtio-blk post: dm_mod\nsoftdep libcrc32c pre: crc32c\n",
            "kernel/fs/ext4/ext4.ko\n",
        )
    }

    /// Debian's kernel: without a crc32c, libcrc32c refuses to load, and with it erofs.
    #[test]
    fn soft_dependencies_may_be_aliases() {
        let index = ModuleIndex::parse(
            "alias crypto-crc32c crc32c_intel\nalias crc32c crc32c_intel\n",
            "a/crc32c-intel.ko.xz:\nb/libcrc32c.ko.xz:\nb/ext4.ko.xz: b/libcrc32c.ko.xz\n",
            "softdep libcrc32c pre: crc32c\nsoftdep ext4 pre: crypto-crc32c\n",
            "",
        );
        let order: Vec<_> = index.closure("ext4").into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["crc32c_intel", "libcrc32c", "ext4"]);
    }

    #[test]
    fn a_device_finds_its_driver() {
        let i = index();
        assert_eq!(i.matching("pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"), ["virtio_pci"]);
        assert_eq!(i.matching("virtio:d00000002v00001AF4"), ["virtio_blk"]);
        assert!(i.matching("virtio:d00000003v00001AF4").is_empty());
        assert_eq!(i.matching("cpu:type:x86,ven0000fam0006mod0055:feature:,0001,0099,00A0"), ["aesni_intel"]);
        assert!(i.is_builtin("ext4") && !i.is_builtin("erofs"));
    }

    #[test]
    fn what_a_module_needs_is_loaded_before_it() {
        let i = index();
        let names = |n: &str| i.closure(n).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names("dm-verity"), ["dm_mod", "dm_bufio", "dm_verity"]);
        assert_eq!(names("fs-erofs"), names("erofs"));
        assert_eq!(names("erofs"), ["virtio_blk", "netfs", "crc32c_generic", "libcrc32c", "erofs", "dm_mod"]);
        assert!(names("ext4").is_empty());
        assert_eq!(names("libcrc32c"), ["crc32c_generic", "libcrc32c"]);
    }

    #[test]
    fn patterns_are_those_of_fnmatch() {
        for (p, t, yes) in [
            ("a[0-9]c", "a5c", true),
            ("a[!0-9]c", "a5c", false),
            ("a[]x]c", "a]c", true),
            ("a[0-9", "a5", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "ac", false),
            ("a\\*c", "a*c", true),
        ] {
            assert_eq!(glob_matches(p, t), yes, "{p} {t}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_index(a in ".{0,300}", d in ".{0,300}", s in ".{0,300}", m in ".{0,60}") {
            let i = ModuleIndex::parse(&a, &d, &s, &a);
            let _ = (i.matching(&m), i.closure(&m));
        }

        #[test]
        fn circles_end(edges in proptest::collection::vec((0u8..6, 0u8..6), 0..30)) {
            let dep: String = edges.iter().map(|(a, b)| format!("m{a}.ko: m{b}.ko\n")).collect();
            let soft: String = edges.iter().map(|(a, b)| format!("softdep m{b} pre: m{a} post: m{b}\n")).collect();
            let i = ModuleIndex::parse("", &dep, &soft, "");
            prop_assert!(i.closure("m0").len() <= 6);
        }

        #[test]
        fn a_text_matches_itself_and_its_stars(t in "[a-z0-9:,]{0,40}", at in 0usize..40) {
            prop_assert!(glob_matches(&t, &t));
            let at = at.min(t.len());
            let head = format!("{}*", &t[..at]);
            prop_assert!(glob_matches(&head, &t));
        }
    }
}
