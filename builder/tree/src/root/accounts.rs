//! Users and groups from declarations: `/etc/passwd`, `/etc/group`, `/etc/shadow`.
//!
//! Takes Debian's static accounts, the sysusers.d files of packages, and a few declarations of our own for packages
//! that make their user in a maintainer script. Gives the three files. Pure. Never gives anybody a password.
//!
//! Format of declarations: sysusers.d(5), types `u`, `u!`, `g`, `m` (`r` is passed over). A number that a declaration
//! leaves open comes from the name, so that a user keeps it when another package comes or goes: files on the state
//! partition outlive images.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Numbers for users that no declaration fixes: the upper part of Debian's range for system users.
const OPEN: std::ops::Range<u32> = 200..900;

/// Debian's static accounts (base-passwd), as far as programs of a node or udev's rules name them.
const STATIC: &str = "
g adm 4
g tty 5
g disk 6
g lp 7
g kmem 15
g dialout 20
g cdrom 24
g floppy 25
g tape 26
g audio 29
g shadow 42
g utmp 43
g video 44
g plugdev 46
g staff 50
g users 100
g nogroup 65534
u root 0 root /root
u daemon 1 - /usr/sbin
u bin 2 - /bin
u nobody 65534:65534 nobody /nonexistent
";

/// Users that a package makes in its maintainer script: a file that it ships, and the declaration.
pub(super) const BY_FILE: &[(&str, &str)] = &[
    ("usr/sbin/chronyd", "u _chrony - \"Chrony daemon\" /var/lib/chrony"),
    ("usr/bin/dbus-daemon", "u messagebus - \"System Message Bus\" /nonexistent"),
    ("usr/sbin/sshd", "u sshd -:nogroup \"sshd user\" /run/sshd"),
    ("usr/sbin/haproxy", "u haproxy - \"HAProxy\" /var/lib/haproxy"),
    ("usr/sbin/keepalived", "u keepalived_script - - /nonexistent"),
    ("usr/lib/systemd/systemd-udevd", "g input -\ng sgx -\ng clock -\ng kvm -\ng render -"),
];

/// A declaration that cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{file}\" line {line}: {what}")]
pub struct BadDeclaration {
    /// Which file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
    gecos: String,
    home: String,
    shell: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    gid: u32,
    members: Vec<String>,
}

/// All accounts of a root.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, Group>,
}

impl Accounts {
    /// Debian's static ones; root's shell is `shell`.
    pub(super) fn debian(shell: &str) -> Result<Self, BadDeclaration> {
        let mut accounts = Self::default();
        accounts.declare("static accounts", STATIC)?;
        if let Some(root) = accounts.users.get_mut("root") {
            root.shell = shell.to_owned();
        }
        Ok(accounts)
    }

    /// Adds what a sysusers.d file declares; who is there already stays as they are.
    pub(super) fn declare(&mut self, file: &str, text: &str) -> Result<(), BadDeclaration> {
        for (index, line) in text.lines().enumerate().take(10_000) {
            let refuse = |what| BadDeclaration { file: file.to_owned(), line: index + 1, what };
            let words = words(line).ok_or_else(|| refuse("a quotation mark is not closed"))?;
            let field = |at: usize| words.get(at).map(String::as_str).filter(|w| *w != "-");
            match words.first().map(String::as_str) {
                None => {}
                Some("u" | "u!") => {
                    let name =
                        field(1).filter(|n| plain(n)).ok_or_else(|| refuse("a user needs a plain name"))?;
                    self.user(name, field(2), field(3), field(4), field(5)).map_err(refuse)?;
                }
                Some("g") => {
                    let name =
                        field(1).filter(|n| plain(n)).ok_or_else(|| refuse("a group needs a plain name"))?;
                    let gid = field(2).map(number).transpose().map_err(refuse)?;
                    self.group(name, gid);
                }
                Some("m") => {
                    let both = field(1).zip(field(2)).filter(|(u, g)| plain(u) && plain(g));
                    let (user, group) =
                        both.ok_or_else(|| refuse("a membership needs a user and a group"))?;
                    self.group(group, None);
                    if let Some(group) = self.groups.get_mut(group)
                        && !group.members.iter().any(|m| m == user)
                    {
                        group.members.push(user.to_owned());
                    }
                }
                Some("r") => {}
                Some(_) => return Err(refuse("its type is none of u, g, m, r")),
            }
        }
        Ok(())
    }

    fn user(
        &mut self,
        name: &str,
        id: Option<&str>,
        gecos: Option<&str>,
        home: Option<&str>,
        shell: Option<&str>,
    ) -> Result<(), &'static str> {
        if self.users.contains_key(name) {
            return Ok(());
        }
        let (uid, gid) = match id.map(|id| id.split_once(':').unwrap_or((id, ""))) {
            None => (None, None),
            Some((uid, "")) => (Some(number(uid)?), None),
            Some(("-", group)) => (None, Some(self.group_number(group)?)),
            Some((uid, group)) => (Some(number(uid)?), Some(self.group_number(group)?)),
        };
        let uid = uid.unwrap_or_else(|| {
            let taken =
                |id| self.users.values().any(|u| u.uid == id) || self.groups.values().any(|g| g.gid == id);
            free(name, taken)
        });
        let gid = match gid {
            Some(gid) => gid,
            None => self.group(name, Some(uid)),
        };
        let text = |value: Option<&str>, fallback: &str| {
            value.unwrap_or(fallback).chars().filter(|c| *c != ':' && !c.is_control()).collect::<String>()
        };
        let user = User {
            uid,
            gid,
            gecos: text(gecos, ""),
            home: text(home, "/"),
            shell: text(shell, "/usr/sbin/nologin"),
        };
        self.users.insert(name.to_owned(), user);
        Ok(())
    }

    fn group_number(&mut self, group: &str) -> Result<u32, &'static str> {
        match group.parse() {
            Ok(gid) => Ok(gid),
            Err(_) if plain(group) => Ok(self.group(group, None)),
            Err(_) => Err("a group is a number or a plain name"),
        }
    }

    fn group(&mut self, name: &str, gid: Option<u32>) -> u32 {
        if let Some(group) = self.groups.get(name) {
            return group.gid;
        }
        let gid = gid.unwrap_or_else(|| {
            let taken =
                |id| self.groups.values().any(|g| g.gid == id) || self.users.values().any(|u| u.uid == id);
            free(name, taken)
        });
        self.groups.insert(name.to_owned(), Group { gid, members: vec![] });
        gid
    }

    /// `/etc/passwd`, by number.
    pub(super) fn passwd(&self) -> String {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_by_key(|(name, u)| (u.uid, *name));
        users
            .iter()
            .map(|(name, u)| format!("{name}:x:{}:{}:{}:{}:{}\n", u.uid, u.gid, u.gecos, u.home, u.shell))
            .collect()
    }

    /// `/etc/group`, by number.
    pub(super) fn group_file(&self) -> String {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(name, g)| (g.gid, *name));
        groups.iter().map(|(name, g)| format!("{name}:x:{}:{}\n", g.gid, g.members.join(","))).collect()
    }

    /// `/etc/shadow`: nobody has a password, no password ages.
    pub(super) fn shadow(&self) -> String {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_by_key(|(name, u)| (u.uid, *name));
        users.iter().map(|(name, _)| format!("{name}:*:::::::\n")).collect()
    }
}

/// A free number that the name leads to.
fn free(name: &str, taken: impl Fn(u32) -> bool) -> u32 {
    let digest = Sha256::digest(name.as_bytes());
    let hash = digest.iter().take(4).fold(0u32, |n, b| n << 8 | u32::from(*b));
    let count = OPEN.end - OPEN.start;
    (0..count)
        .map(|step| OPEN.start + hash.wrapping_add(step) % count)
        .find(|id| !taken(*id))
        .unwrap_or(OPEN.end)
}

fn number(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "a number was expected")
}

/// Names that useradd would take.
fn plain(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Words of a line; double or single quotes group, `#` starts a comment line. None when a quote stays open.
fn words(line: &str) -> Option<Vec<String>> {
    if line.trim_start().starts_with('#') {
        return Some(vec![]);
    }
    let (mut words, mut word, mut any, mut quote) = (vec![], String::new(), false, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                any = true;
            }
            (None, c) if c.is_whitespace() => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (_, c) => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn declarations_become_files() {
        let mut a = Accounts::debian("/bin/sh").expect("static");
        a.declare(
            "x.conf",
            "# c\nu sshd -:nogroup \"sshd user\" /run/sshd\ng kvm -\nm sshd kvm\nr - 500-900\n",
        )
        .expect("declared");
        assert!(a.passwd().starts_with("root:x:0:0:root:/root:/bin/sh\n"));
        let sshd = a.users.get("sshd").expect("sshd");
        assert_eq!(
            (sshd.gid, sshd.home.as_str(), sshd.shell.as_str()),
            (65534, "/run/sshd", "/usr/sbin/nologin")
        );
        assert!(OPEN.contains(&sshd.uid));
        assert!(a.group_file().contains(":sshd\n") && a.group_file().starts_with("root:x:0:\n"));
        assert!(a.shadow().contains("sshd:*:::::::\n"));
        let ids: Vec<u32> = a.groups.values().map(|g| g.gid).collect();
        assert_eq!(ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len());
    }

    #[test]
    fn a_number_does_not_depend_on_who_else_is_there() {
        let uid = |text: &str| {
            let mut a = Accounts::debian("/bin/sh").expect("static");
            a.declare("x", text).expect("declared");
            a.users.get("_chrony").expect("user").uid
        };
        assert_eq!(uid("u _chrony -"), uid("u another -\nu third -\nu _chrony -"));
    }

    #[test]
    fn what_is_no_declaration_says_where() {
        let mut a = Accounts::default();
        let error = a.declare("usr/lib/sysusers.d/x.conf", "\nz what").expect_err("refused").to_string();
        assert_eq!(error, "\"usr/lib/sysusers.d/x.conf\" line 2: its type is none of u, g, m, r");
        assert!(a.declare("x", "u a:b -").is_err() && a.declare("x", "u a\nu \"b").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_nor_forges_a_line(text in ".{0,200}") {
            let mut a = Accounts::debian("/bin/sh").expect("static");
            let _ = a.declare("x", &text);
            for line in a.passwd().lines() {
                prop_assert_eq!(line.split(':').count(), 7);
            }
        }
    }
}
