//! What of a package does not go into a node's root.
//!
//! Takes the profile's globs, gives a yes or no for each path. The defaults leave out what nobody reads on a node that
//! nobody logs in to (documentation but for licences, translations), what only maintainer scripts and other inits use,
//! and kernel modules for hardware that no server has. `!GLOB` in the profile keeps what a default would leave out.

use crate::model::TreePath;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Left out unless the profile says otherwise. `KERNEL/` stands for `usr/lib/modules/*/kernel/`.
/// docs/profile-reference.md shows this list.
pub const DEFAULT: &[&str] = &[
    // Documentation and translations. Licences stay: usr/share/doc/*/copyright.
    "usr/share/doc/*/*",
    "!usr/share/doc/*/copyright",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/bash-completion",
    "usr/share/zsh",
    "usr/share/fish",
    "usr/share/applications",
    "usr/share/icons",
    "usr/share/pixmaps",
    "usr/share/menu",
    "usr/share/gdb",
    "usr/share/gcc",
    "usr/share/metainfo",
    "usr/share/polkit-1",
    "usr/share/i18n",
    "usr/share/zoneinfo/*",
    "!usr/share/zoneinfo/UTC",
    "!usr/share/zoneinfo/Etc",
    // Conversions other than those that are built into glibc.
    "usr/lib/x86_64-linux-gnu/gconv",
    // For compilers.
    "usr/include",
    "usr/src",
    "usr/lib/**/*.a",
    "usr/lib/**/pkgconfig",
    "usr/share/pkgconfig",
    // Package management and what its scripts use.
    "etc/apt",
    "etc/dpkg",
    "etc/debconf.conf",
    "etc/kernel",
    "etc/initramfs-tools",
    "etc/skel",
    "etc/cron.*",
    "etc/logrotate.d",
    "etc/update-motd.d",
    "usr/share/base-files",
    "usr/share/base-passwd",
    "usr/share/debconf",
    "usr/share/initramfs-tools",
    "usr/share/pam-configs",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/lib/apt",
    "usr/lib/dpkg",
    "usr/lib/systemd/boot",
    // Units of another init.
    "etc/init.d",
    "etc/rc*.d",
    "etc/systemd",
    "etc/xdg",
    "usr/lib/systemd/system",
    "usr/lib/systemd/user",
    "usr/lib/systemd/system-preset",
    "usr/lib/systemd/user-preset",
    "usr/share/dbus-1",
    "usr/share/runit",
    // Without the compiled hwdb.bin nothing reads these.
    "usr/lib/udev/hwdb.d",
    "etc/udev/hwdb.d",
    // The kernel's own files are found before this list is asked; a sealed root has nothing in /boot.
    "boot/config-*",
    "boot/System.map-*",
    // Kernel modules: sound, cameras, television, radio, telephony, sensors of phones, toys. What modules that stay
    // depend on stays too (`depmod` over all modules of 6.12 says which).
    "KERNEL/sound",
    "KERNEL/drivers/media",
    "!KERNEL/drivers/media/cec/core",
    "!KERNEL/drivers/media/rc/rc-core.ko*",
    "KERNEL/drivers/staging",
    "KERNEL/drivers/comedi",
    "KERNEL/drivers/iio",
    "!KERNEL/drivers/iio/industrialio.ko*",
    "KERNEL/drivers/isdn",
    "KERNEL/drivers/bluetooth",
    "KERNEL/drivers/nfc",
    "KERNEL/drivers/accessibility",
    "KERNEL/drivers/greybus",
    "KERNEL/drivers/w1",
    "!KERNEL/drivers/w1/wire.ko*",
    "KERNEL/drivers/soundwire",
    "!KERNEL/drivers/soundwire/soundwire-bus.ko*",
    "KERNEL/drivers/usb/atm",
    "KERNEL/drivers/usb/gadget",
    "!KERNEL/drivers/usb/gadget/udc/udc-core.ko*",
    "KERNEL/drivers/hid/hid-prodikeys.ko*",
    "KERNEL/drivers/platform/x86/thinkpad_acpi.ko*",
    "KERNEL/drivers/input/joystick",
    "KERNEL/drivers/input/tablet",
    "KERNEL/drivers/input/touchscreen",
    "KERNEL/drivers/input/gameport",
    "KERNEL/drivers/net/wireless",
    "KERNEL/drivers/net/wwan",
    "KERNEL/drivers/net/hamradio",
    "KERNEL/drivers/net/can",
    "KERNEL/drivers/net/arcnet",
    "KERNEL/drivers/net/fddi",
    "KERNEL/drivers/net/ieee802154",
    "KERNEL/drivers/net/plip",
    "KERNEL/drivers/atm",
    "KERNEL/net/wireless",
    "KERNEL/net/mac80211",
    "KERNEL/net/mac802154",
    "KERNEL/net/ieee802154",
    "KERNEL/net/6lowpan",
    "KERNEL/net/bluetooth",
    "KERNEL/net/nfc",
    "KERNEL/net/can",
    "KERNEL/net/atm",
    "KERNEL/net/ax25",
    "KERNEL/net/netrom",
    "KERNEL/net/rose",
    "KERNEL/net/batman-adv",
    // Graphics and accelerators; what boards' management controllers and virtual machines show stays.
    "KERNEL/drivers/accel",
    "KERNEL/drivers/gpu/drm/amd",
    "KERNEL/drivers/gpu/drm/gma500",
    "KERNEL/drivers/gpu/drm/i915",
    "KERNEL/drivers/gpu/drm/nouveau",
    "KERNEL/drivers/gpu/drm/radeon",
    "KERNEL/drivers/gpu/drm/xe",
    "KERNEL/drivers/video/fbdev",
];

/// A glob that is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{glob}\" in `os.exclude` is not a glob: {reason}\nhelp: write a path without leading slash; `*` matches within a name, `**` across folders"
)]
pub struct BadGlob {
    /// As written.
    pub glob: String,
    /// Why not.
    pub reason: String,
}

/// The decision.
#[derive(Debug)]
pub struct Excludes {
    out: GlobSet,
    kept: GlobSet,
    out_by_profile: GlobSet,
}

impl Excludes {
    /// From the profile's globs, on top of [`DEFAULT`].
    pub fn new(profile: &[String]) -> Result<Self, BadGlob> {
        let split = |globs: &mut dyn Iterator<Item = &str>| {
            let (mut out, mut kept) = (vec![], vec![]);
            for glob in globs {
                match glob.strip_prefix('!') {
                    Some(glob) => kept.push(glob.to_owned()),
                    None => out.push(glob.to_owned()),
                }
            }
            (out, kept)
        };
        let (out, mut kept) = split(&mut DEFAULT.iter().copied());
        let (out_by_profile, kept_by_profile) = split(&mut profile.iter().map(String::as_str));
        kept.extend(kept_by_profile);
        Ok(Self { out: set(&out)?, kept: set(&kept)?, out_by_profile: set(&out_by_profile)? })
    }

    /// Whether an entry at this path goes into the root.
    pub fn keeps(&self, path: &TreePath) -> bool {
        let path = path.as_str();
        !self.out_by_profile.is_match(path) && (!self.out.is_match(path) || self.kept.is_match(path))
    }
}

/// Matches each glob's path and everything below it.
fn set(globs: &[String]) -> Result<GlobSet, BadGlob> {
    let bad = |glob: &str, e: globset::Error| BadGlob { glob: glob.to_owned(), reason: e.kind().to_string() };
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        let full = glob
            .trim_start_matches('/')
            .trim_end_matches('/')
            .replace("KERNEL/", "usr/lib/modules/*/kernel/");
        for text in [full.clone(), format!("{full}/**")] {
            builder.add(GlobBuilder::new(&text).literal_separator(true).build().map_err(|e| bad(glob, e))?);
        }
    }
    builder.build().map_err(|e| bad("(all of them together)", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(profile: &[&str], path: &str) -> bool {
        let globs: Vec<String> = profile.iter().map(|g| (*g).to_owned()).collect();
        Excludes::new(&globs).expect("globs").keeps(&TreePath::parse(path).expect("path"))
    }

    #[test]
    fn defaults_keep_what_a_server_needs() {
        let kernel = "usr/lib/modules/6.12-amd64/kernel";
        for path in
            ["drivers/net/virtio_net.ko.xz", "drivers/gpu/drm/ast/ast.ko.xz", "net/bridge/br_netfilter.ko.xz"]
        {
            assert!(keeps(&[], &format!("{kernel}/{path}")), "{path}");
        }
        for path in ["sound", "sound/core/snd.ko.xz", "drivers/net/wireless/ath/ath9k/ath9k.ko.xz"] {
            assert!(!keeps(&[], &format!("{kernel}/{path}")), "{path}");
        }
        assert!(
            keeps(&[], "usr/share/doc/libc6/copyright") && !keeps(&[], "usr/share/doc/libc6/changelog.gz")
        );
        assert!(keeps(&[], "usr/bin/nft") && !keeps(&[], "usr/share/man/man8/nft.8.gz"));
    }

    #[test]
    fn the_profile_adds_and_takes_back() {
        assert!(!keeps(&["usr/share/doc"], "usr/share/doc/libc6/copyright"));
        assert!(!keeps(&["/usr/bin/perl*"], "usr/bin/perl5.40"));
        let sound = "usr/lib/modules/6.12/kernel/sound/core/snd.ko.xz";
        assert!(keeps(&["!usr/lib/modules/*/kernel/sound"], sound));
        assert!(!keeps(&["usr/lib/*/x"], "usr/lib/a/x/y") && keeps(&["usr/lib/*/x"], "usr/lib/a/b/x"));
        assert!(Excludes::new(&["usr/[".into()]).expect_err("no glob").to_string().contains("\"usr/[\""));
    }
}
