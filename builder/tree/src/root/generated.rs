//! What maintainer scripts would have made: accounts, alternatives, CA bundle, library cache, links, empty folders.
//!
//! Takes a tree with packages and overlays in it, adds what is missing. Never replaces what an overlay brought, except
//! where a node could not boot with it. Reads contents of the tree, writes no file.

use super::RootError;
use super::accounts::{Accounts, BY_FILE};
use crate::ldcache;
use crate::model::{Content, Entry, Kind, Part, RootTree, TreePath};
use nodeimg_contract::image::RootManifest;
use nodeimg_contract::paths::{CNI_BIN, LIB, RUN_ETC, RUN_ETC_FILES, STATE_ETC_DIRS};

/// Folders that a node needs and no package brings, with their modes. The first ones are mounted over at boot.
const FOLDERS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("boot", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("root", 0o700),
    ("srv", 0o755),
    ("etc/containerd", 0o755),
    ("etc/ssl/certs", 0o755),
    // kubeadm's controller-manager mounts it, and would make it when it is missing: the root is read-only.
    ("usr/libexec/kubernetes/kubelet-plugins/volume/exec", 0o755),
];

/// update-alternatives' work: a link, and what it may lead to, the first one that is there.
const ALTERNATIVES: &[(&str, &[&str])] = &[
    ("usr/bin/awk", &["gawk", "mawk", "original-awk"]),
    ("usr/bin/editor", &["vim.tiny", "nano"]),
    ("usr/bin/nc", &["nc.openbsd", "nc.traditional"]),
    ("usr/bin/pager", &["less", "more"]),
    ("usr/bin/vi", &["vim.tiny"]),
    ("usr/bin/which", &["which.debianutils"]),
    ("usr/sbin/arptables", &["arptables-nft"]),
    ("usr/sbin/ebtables", &["ebtables-nft"]),
    ("usr/sbin/ip6tables", &["ip6tables-nft"]),
    ("usr/sbin/ip6tables-restore", &["ip6tables-nft-restore"]),
    ("usr/sbin/ip6tables-save", &["ip6tables-nft-save"]),
    ("usr/sbin/iptables", &["iptables-nft"]),
    ("usr/sbin/iptables-restore", &["iptables-nft-restore"]),
    ("usr/sbin/iptables-save", &["iptables-nft-save"]),
];

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\nethers: files\nrpc: files\n";

/// Adds all of it.
pub(super) fn add(tree: &mut RootTree, manifest: &RootManifest) -> Result<(), RootError> {
    folders(tree)?;
    links(tree)?;
    accounts(tree)?;
    certificates(tree)?;
    missing(tree, "etc/nsswitch.conf", Entry::file(NSSWITCH.as_bytes(), 0o644, Part::Config))?;
    os_release(tree, manifest)?;
    libraries(tree)
}

/// Inserts an entry where nothing is.
fn missing(tree: &mut RootTree, path: &str, entry: Entry) -> Result<(), RootError> {
    let path = TreePath::parse(path)?;
    if tree.get(&path).is_none() {
        crate::merge::place(tree, path, entry, "(the builder)")?;
    }
    Ok(())
}

fn folders(tree: &mut RootTree) -> Result<(), RootError> {
    let of_contract =
        STATE_ETC_DIRS.iter().map(|d| format!("etc/{d}")).chain([CNI_BIN.to_owned(), LIB.to_owned()]);
    let all = FOLDERS.iter().map(|(d, m)| ((*d).to_owned(), *m)).chain(of_contract.map(|d| (d, 0o755)));
    for (path, mode) in all {
        missing(tree, &path, Entry::dir(mode, Part::Config))?;
        if let Some(entry) = tree.get_mut(&TreePath::parse(&path)?) {
            entry.mode = mode;
        }
    }
    Ok(())
}

fn links(tree: &mut RootTree) -> Result<(), RootError> {
    let link = |target: String| Entry::symlink(target, Part::Config);
    for name in RUN_ETC_FILES {
        // Not only where missing: a package's own /etc/hosts must not stay.
        tree.insert(TreePath::parse(&format!("etc/{name}"))?, link(format!("{RUN_ETC}/{name}")));
    }
    missing(tree, "etc/mtab", link("../proc/self/mounts".into()))?;
    tree.insert(TreePath::parse("usr/sbin/init")?, link("../bin/nodeinit".into()));
    for (path, candidates) in ALTERNATIVES {
        let folder = TreePath::parse(path)?.parent().unwrap_or_else(TreePath::root);
        if let Some(found) = candidates.iter().find(|c| tree.get(&folder.child(c)).is_some()) {
            missing(tree, path, link((*found).to_owned()))?;
        }
    }
    if tree.get(&TreePath::parse("usr/share/zoneinfo/UTC")?).is_some() {
        missing(tree, "etc/localtime", link("/usr/share/zoneinfo/UTC".into()))?;
    }
    Ok(())
}

fn accounts(tree: &mut RootTree) -> Result<(), RootError> {
    let there = |path: &&str| TreePath::parse(path).is_ok_and(|p| tree.resolve(&p).is_some());
    let shell = ["usr/bin/bash", "usr/bin/sh"].into_iter().find(there).map(|p| p.trim_start_matches("usr"));
    let mut accounts = Accounts::debian(shell.unwrap_or("/usr/sbin/nologin"))?;
    // As systemd-sysusers: of two files with one name that in /etc stands; then in order of name.
    let mut files: std::collections::BTreeMap<&str, &Content> = Default::default();
    for folder in ["usr/lib/sysusers.d/", "etc/sysusers.d/"] {
        for (path, entry) in tree.iter() {
            if let (Some(name), Kind::File(content)) = (path.as_str().strip_prefix(folder), &entry.kind)
                && name.ends_with(".conf")
                && content.size() <= 1 << 20
            {
                files.insert(name, content);
            }
        }
    }
    for (name, content) in files {
        let text = content.read().map_err(|source| RootError::content(content, source))?;
        accounts.declare(name, &String::from_utf8_lossy(&text))?;
    }
    for (file, text) in BY_FILE {
        if there(file) {
            accounts.declare(file, text)?;
        }
    }
    let (passwd, group, shadow) = (accounts.passwd(), accounts.group_file(), accounts.shadow());
    missing(tree, "etc/passwd", Entry::file(passwd.into_bytes(), 0o644, Part::Config))?;
    missing(tree, "etc/group", Entry::file(group.into_bytes(), 0o644, Part::Config))?;
    missing(tree, "etc/shadow", Entry { gid: 42, ..Entry::file(shadow.into_bytes(), 0o640, Part::Config) })
}

/// One file with every certificate, where Go and OpenSSL look; the single files are not needed any more.
fn certificates(tree: &mut RootTree) -> Result<(), RootError> {
    let of =
        |folder: &str, path: &TreePath| path.as_str().starts_with(folder) && path.as_str().ends_with(".crt");
    let mut bundle = vec![];
    for (path, entry) in tree.iter() {
        if (of("usr/share/ca-certificates/", path) || of("usr/local/share/ca-certificates/", path))
            && let Kind::File(content) = &entry.kind
            && content.size() <= 1 << 20
        {
            bundle.extend(content.read().map_err(|source| RootError::content(content, source))?);
            if bundle.last().is_some_and(|b| *b != b'\n') {
                bundle.push(b'\n');
            }
        }
    }
    if !bundle.is_empty() {
        missing(tree, "etc/ssl/certs/ca-certificates.crt", Entry::file(bundle, 0o644, Part::Debian))?;
        tree.retain(|path, _| !path.as_str().starts_with("usr/share/ca-certificates"));
    }
    Ok(())
}

/// Debian's os-release with which image this is (os-release(5): IMAGE_ID, IMAGE_VERSION).
fn os_release(tree: &mut RootTree, manifest: &RootManifest) -> Result<(), RootError> {
    let path = TreePath::parse("usr/lib/os-release")?;
    let mut text = match tree.get(&path).map(|e| &e.kind) {
        Some(Kind::File(content)) => {
            let bytes = content.read().map_err(|source| RootError::content(content, source))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => "NAME=\"Debian GNU/Linux\"\nID=debian\n".to_owned(),
    };
    if !text.lines().any(|l| l.starts_with("IMAGE_ID=")) {
        let plain = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
                .collect()
        };
        text.push_str(&format!(
            "IMAGE_ID={}\nIMAGE_VERSION={}-{}\n",
            plain(&manifest.profile).to_lowercase(),
            plain(&manifest.kubernetes),
            manifest.source_date_epoch
        ));
    }
    tree.insert(path, Entry::file(text.into_bytes(), 0o644, Part::Config));
    missing(tree, "etc/os-release", Entry::symlink("../usr/lib/os-release", Part::Config))
}

fn libraries(tree: &mut RootTree) -> Result<(), RootError> {
    let io = |source| RootError::Libraries { source };
    let (libraries, links) = ldcache::libraries(tree).map_err(io)?;
    for (path, target) in links {
        crate::merge::place(tree, path, Entry::symlink(target, Part::Debian), "(the builder)")?;
    }
    let cache = ldcache::render(&libraries);
    missing(tree, "etc/ld.so.cache", Entry::file(cache, 0o644, Part::Debian))
}

#[cfg(test)]
mod tests;
