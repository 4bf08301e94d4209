//! Which modules depend on which, as depmod wrote it.
//!
//! Takes the texts `modules.dep`, `modules.softdep`, `modules.alias` and `modules.builtin` (formats: modules.dep(5),
//! modprobe.d(5)). Gives a closure of wanted modules and the same texts cut down to it. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The texts, parsed.
#[derive(Debug, Default)]
pub(crate) struct ModuleIndex {
    /// Path below `/usr/lib/modules/RELEASE` -> paths that must be loaded before it.
    depends: BTreeMap<String, Vec<String>>,
    /// Module name -> its path.
    by_name: BTreeMap<String, String>,
    /// Module name -> names or aliases that are better loaded with it.
    soft: BTreeMap<String, Vec<String>>,
    /// (pattern, module name), in the file's order.
    aliases: Vec<(String, String)>,
    /// Names of what is built into the kernel.
    builtin: BTreeSet<String>,
}

/// `-` and `_` are the same in module names (kmod's rule).
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The module's name from its path: no folder, no `.ko` and no compression.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    canonical(file.split(".ko").next().unwrap_or(file))
}

impl ModuleIndex {
    /// Never fails: a line that is none is left out, as kmod does.
    pub(crate) fn parse(dep: &str, softdep: &str, alias: &str, builtin: &str) -> Self {
        let mut index = Self::default();
        for line in dep.lines() {
            let Some((path, rest)) = line.split_once(':') else { continue };
            let path = path.trim();
            index.by_name.insert(name_of(path), path.to_owned());
            index.depends.insert(path.to_owned(), rest.split_whitespace().map(str::to_owned).collect());
        }
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { continue };
            let others = words.filter(|w| !matches!(*w, "pre:" | "post:")).map(str::to_owned);
            index.soft.entry(canonical(name)).or_default().extend(others);
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            let (Some("alias"), Some(pattern), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            index.aliases.push((pattern.to_owned(), canonical(name)));
        }
        index.builtin = builtin.lines().map(|l| name_of(l.trim())).filter(|n| !n.is_empty()).collect();
        index
    }

    /// Whether a module of this name is a file or built in.
    pub(crate) fn provides(&self, name: &str) -> bool {
        self.by_name.contains_key(&canonical(name)) || self.builtin.contains(&canonical(name))
    }

    /// Paths of the modules that `wanted` names and `unwanted` does not, with all that they depend on, hard or soft.
    /// Both lists are relative to `kernel/`; a trailing slash names a folder.
    pub(crate) fn closure(&self, wanted: &[&str], unwanted: &[&str]) -> BTreeSet<String> {
        let hit = |list: &[&str], path: &str| {
            let below = path.strip_prefix("kernel/").unwrap_or(path);
            let stem = below.split(".ko").next().unwrap_or(below);
            list.iter().any(|w| if w.ends_with('/') { below.starts_with(w) } else { stem == *w })
        };
        let mut queue: Vec<String> =
            self.depends.keys().filter(|p| hit(wanted, p) && !hit(unwanted, p)).cloned().collect();
        let mut taken = BTreeSet::new();
        while let Some(path) = queue.pop() {
            if !taken.insert(path.clone()) {
                continue;
            }
            queue.extend(self.depends.get(&path).into_iter().flatten().cloned());
            for soft in self.soft.get(&name_of(&path)).into_iter().flatten() {
                queue.extend(self.named(soft));
            }
        }
        taken
    }

    /// Paths of the modules that a name or an alias without wildcards stands for.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let direct = self.by_name.get(&canonical(name));
        let by_alias = self
            .aliases
            .iter()
            .filter(move |(pattern, _)| direct.is_none() && canonical(pattern) == canonical(name))
            .filter_map(|(_, module)| self.by_name.get(module));
        direct.into_iter().chain(by_alias).cloned()
    }

    /// `modules.dep` for these paths alone.
    pub(crate) fn dep_text(&self, taken: &BTreeSet<String>) -> String {
        let mut text = String::new();
        for (path, depends) in self.depends.iter().filter(|(p, _)| taken.contains(*p)) {
            text.push_str(path);
            text.push(':');
            for d in depends {
                text.push(' ');
                text.push_str(d);
            }
            text.push('\n');
        }
        text
    }

    /// `modules.alias` for these paths alone, in the kernel's order.
    pub(crate) fn alias_text(&self, taken: &BTreeSet<String>) -> String {
        let names: BTreeSet<String> = taken.iter().map(|p| name_of(p)).collect();
        let mut text = String::new();
        for (pattern, name) in self.aliases.iter().filter(|(_, name)| names.contains(name)) {
            text.push_str(&format!("alias {pattern} {name}\n"));
        }
        text
    }

    /// `modules.softdep` for these paths alone.
    pub(crate) fn softdep_text(&self, taken: &BTreeSet<String>) -> String {
        let names: BTreeSet<String> = taken.iter().map(|p| name_of(p)).collect();
        let mut text = String::new();
        for (name, others) in self.soft.iter().filter(|(name, _)| names.contains(*name)) {
            text.push_str(&format!("softdep {name} pre: {}\n", others.join(" ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEP: &str = "\
kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
kernel/drivers/scsi/sd_mod.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz
kernel/drivers/scsi/scsi_mod.ko.xz:
kernel/drivers/scsi/st.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz
kernel/sound/snd.ko.xz:
";
    const SOFT: &str = "# comment\nsoftdep libcrc32c pre: crypto-crc32c\nsoftdep snd post: libcrc32c\n";
    const ALIAS: &str = "alias crypto-crc32c crc32c_intel\nalias scsi:t-0x00* sd_mod\nalias x snd\n";

    fn index() -> ModuleIndex {
        ModuleIndex::parse(DEP, SOFT, ALIAS, "kernel/drivers/md/dm-mod.ko\n")
    }

    #[test]
    fn closure_follows_hard_soft_and_aliases() {
        let taken = index().closure(&["fs/erofs/", "drivers/scsi/"], &["drivers/scsi/st"]);
        let names: Vec<_> = taken.iter().map(|p| name_of(p)).collect();
        assert_eq!(names, ["crc32c_intel", "scsi_mod", "sd_mod", "erofs", "libcrc32c"]);
    }

    #[test]
    fn texts_are_cut_to_what_was_taken() {
        let i = index();
        let taken = i.closure(&["drivers/scsi/sd_mod", "lib/libcrc32c"], &[]);
        assert_eq!(
            i.dep_text(&taken).lines().collect::<Vec<_>>(),
            [
                "kernel/arch/x86/crypto/crc32c-intel.ko.xz:",
                "kernel/drivers/scsi/scsi_mod.ko.xz:",
                "kernel/drivers/scsi/sd_mod.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz",
                "kernel/lib/libcrc32c.ko.xz:",
            ]
        );
        assert_eq!(i.alias_text(&taken), "alias crypto-crc32c crc32c_intel\nalias scsi:t-0x00* sd_mod\n");
        assert_eq!(i.softdep_text(&taken), "softdep libcrc32c pre: crypto-crc32c\n");
    }

    #[test]
    fn built_in_counts_as_there() {
        assert!(index().provides("dm_mod") && index().provides("erofs") && !index().provides("ext4"));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(dep in "\\PC{0,200}", soft in "(softdep|alias|[a-z:/. \n-]){0,80}") {
            let i = ModuleIndex::parse(&dep, &soft, &soft, &dep);
            let taken = i.closure(&["drivers/"], &[]);
            let again = ModuleIndex::parse(&i.dep_text(&taken), &i.softdep_text(&taken), &i.alias_text(&taken), "");
            prop_assert_eq!(again.closure(&["drivers/"], &[]), taken);
        }
    }
}
