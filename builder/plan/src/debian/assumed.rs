//! What is assumed to be installed although it is not.
//!
//! Debian's packages depend on programs that only their maintainer scripts run (debconf, adduser, dpkg's triggers).
//! The builder unpacks packages and runs no script of theirs: what the scripts would have done it does itself. A
//! dependency on a name of this list therefore counts as satisfied, unless the profile names the package itself; so an
//! image is small, and has neither dpkg nor apt nor Perl.

/// A name and why no tree needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssumedName {
    /// Package or virtual package.
    pub name: &'static str,
    /// Why nothing is missing without it.
    pub why: &'static str,
}

const fn name(name: &'static str, why: &'static str) -> AssumedName {
    AssumedName { name, why }
}

const SCRIPTS: &str = "only maintainer scripts run it";
const ACCOUNTS: &str = "the builder writes users and groups itself";
const INITRAMFS: &str = "the builder makes the initramfs";
const INIT: &str = "nodeinit is PID 1 and supervises";
const PAM: &str = "nobody logs in through PAM";

/// The list; docs/profile-reference.md shows it.
pub const ASSUMED: &[AssumedName] = &[
    name("adduser", ACCOUNTS),
    name("apt", "packages never change on a node"),
    name("base-passwd", ACCOUNTS),
    name("cdebconf", SCRIPTS),
    name("dbus", "nothing on a node listens on the bus"),
    name("dbus-bin", "nothing on a node listens on the bus"),
    name("debconf", SCRIPTS),
    name("debconf-2.0", SCRIPTS),
    name("default-dbus-system-bus", "nothing on a node listens on the bus"),
    name("dpkg", SCRIPTS),
    name("init-system-helpers", SCRIPTS),
    name("initramfs-tools", INITRAMFS),
    name("install-info", SCRIPTS),
    name("libpam-modules", PAM),
    name("libpam-modules-bin", PAM),
    name("libpam-runtime", PAM),
    name("linux-base", "it installs kernels into /boot, which a sealed root has not"),
    name("linux-initramfs-tool", INITRAMFS),
    name("login", PAM),
    name("login.defs", ACCOUNTS),
    name("lsb-base", INIT),
    name("openssl", "only ca-certificates' script runs it; the builder makes the CA bundle"),
    name("passwd", ACCOUNTS),
    name("perl", SCRIPTS),
    name("perl-base", SCRIPTS),
    name("sensible-utils", SCRIPTS),
    name("systemd-standalone-sysusers", ACCOUNTS),
    name("systemd-standalone-tmpfiles", "nodeinit makes what a boot needs"),
    name("systemd-sysusers", ACCOUNTS),
    name("systemd-tmpfiles", "nodeinit makes what a boot needs"),
    name("sysvinit-utils", INIT),
    name("ucf", SCRIPTS),
];

/// A set of assumed names.
#[derive(Debug, Clone, Copy)]
pub struct Assumed {
    names: &'static [AssumedName],
}

impl Assumed {
    /// [`ASSUMED`]: for every tree that the builder makes.
    pub fn without_scripts() -> Self {
        Self { names: ASSUMED }
    }
    /// Nothing is assumed.
    pub fn nothing() -> Self {
        Self { names: &[] }
    }
    /// Whether a dependency on this name counts as satisfied.
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|assumed| assumed.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_sorted_and_every_name_says_why() {
        assert!(ASSUMED.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(ASSUMED.iter().all(|a| !a.why.is_empty()));
        assert!(Assumed::without_scripts().covers("dpkg") && !Assumed::without_scripts().covers("libc6"));
        assert!(!Assumed::nothing().covers("dpkg"));
    }
}
