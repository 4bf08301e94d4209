//! QEMU's command line for a machine. Pure: names in, words out.

use crate::accel::Accel;
use crate::program::QemuProgram;
use crate::spec::{Boot, Cable, VmSpec};
use nodeimg_contract::paths::STATUS_PORT;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What the card's end in QEMU is called.
pub(crate) const CARD: &str = "net0";

/// Files of one run of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// QEMU connects here and sends what the guest writes to the status port.
    pub status: PathBuf,
    /// QEMU connects here and takes commands.
    pub qmp: PathBuf,
    /// The EFI system partition with the UKI; unused without UEFI.
    pub esp: PathBuf,
    /// This machine's UEFI variables; unused without UEFI.
    pub vars: PathBuf,
}

/// The arguments behind the program's own words. The console is on standard output. SMBIOS type 11 carries the
/// machine's own kernel arguments under UEFI (systemd-stub reads `io.systemd.stub.kernel-cmdline-extra`).
pub fn command_line(spec: &VmSpec, program: &QemuProgram, files: &Sockets) -> Vec<OsString> {
    let mut words = Words(Vec::new());
    words.add(["-nodefaults", "-no-user-config", "-display", "none"]);
    words.pair("-name", OsString::from(format!("guest={}", escape(&spec.name))));
    match spec.accel {
        Accel::Kvm => words.add(["-accel", "kvm", "-cpu", "host"]),
        // la57=off: five-level paging costs a guest under TCG; FACTS.
        Accel::Tcg => words.add(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"]),
    }
    words.add(["-M", "q35"]);
    words.pair("-smp", spec.cpus.to_string());
    words.pair("-m", spec.memory_mib.to_string());
    words.add(["-rtc", "base=utc", "-device", "virtio-rng-pci"]);
    boot(&mut words, spec, program, files);
    words.disk("root", &spec.root_img, true, None);
    if let Some(state) = &spec.state_disk {
        words.disk("state", state, false, None);
    }
    if let Some(seed) = &spec.seed_disk {
        words.disk("seed", seed, true, None);
    }
    network(&mut words, spec);
    words.add(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    words.pair("-chardev", with_path("socket,id=qmp,path=", &files.qmp));
    words.add(["-mon", "chardev=qmp,mode=control", "-device", "virtio-serial-pci"]);
    words.pair("-chardev", with_path("socket,id=status,path=", &files.status));
    words.pair("-device", format!("virtserialport,chardev=status,name={STATUS_PORT}"));
    words.0
}

fn boot(words: &mut Words, spec: &VmSpec, program: &QemuProgram, files: &Sockets) {
    match &spec.boot {
        Boot::Uefi { .. } => {
            if let Some(code) = &program.ovmf_code {
                words.pair("-drive", with_path("if=pflash,format=raw,unit=0,readonly=on,file=", code));
            }
            words.pair("-drive", with_path("if=pflash,format=raw,unit=1,file=", &files.vars));
            words.disk("esp", &files.esp, true, Some(1));
            if !spec.extra_arguments.is_empty() {
                let value = format!("io.systemd.stub.kernel-cmdline-extra={}", spec.extra_arguments);
                words.pair("-smbios", format!("type=11,value={}", escape(&value)));
            }
        }
        Boot::Direct { kernel, initrd, cmdline } => {
            words.pair("-kernel", kernel.as_os_str().to_owned());
            words.pair("-initrd", initrd.as_os_str().to_owned());
            words.pair("-append", format!("{} {}", cmdline.trim(), spec.extra_arguments).trim().to_owned());
        }
    }
}

fn network(words: &mut Words, spec: &VmSpec) {
    match &spec.network.cable {
        None => user_network(words, spec),
        Some(cable) => cabled(words, spec, cable),
    }
    // No option ROM: nothing here boots from the network, and QEMU would look for the file.
    let mac = escape(&spec.network.mac);
    words.pair("-device", format!("virtio-net-pci,netdev={CARD},romfile=,mac={mac}"));
}

fn user_network(words: &mut Words, spec: &VmSpec) {
    let mut netdev = format!("user,id={CARD}");
    if spec.network.restrict {
        netdev.push_str(",restrict=on");
    }
    for f in &spec.network.forwards {
        netdev.push_str(&format!(",hostfwd=tcp:127.0.0.1:{}-:{}", f.host, f.guest));
    }
    words.pair("-netdev", netdev);
}

/// The card at one socket; the forwards, joined to the other by a hub inside QEMU.
fn cabled(words: &mut Words, spec: &VmSpec, cable: &Cable) {
    let stream = |id: &str| format!("stream,id={id},server=off,addr.type=unix,addr.path=");
    words.pair("-netdev", with_path(&stream(CARD), &cable.card));
    if spec.network.forwards.is_empty() {
        return;
    }
    let (net, dns) = (network_of(cable), dns_of(cable));
    // IPv6 off: nobody here may advertise a router.
    let mut user = format!(
        "user,id=forwards,restrict=on,ipv6=off,net={net}/{},host={},dns={dns}",
        cable.prefix, cable.host
    );
    for f in &spec.network.forwards {
        user.push_str(&format!(",hostfwd=tcp:127.0.0.1:{}-{}:{}", f.host, cable.guest, f.guest));
    }
    words.pair("-netdev", user);
    words.pair("-netdev", with_path(&stream("way"), &cable.way));
    words.pair("-netdev", "hubport,id=forwards-port,hubid=0,netdev=forwards");
    words.pair("-netdev", "hubport,id=way-port,hubid=0,netdev=way");
}

fn network_of(cable: &Cable) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(cable.prefix.clamp(1, 30))).unwrap_or(0);
    Ipv4Addr::from(u32::from(cable.guest) & mask)
}

/// QEMU wants a second address for its DNS forwarder, which nobody asks: the neighbour of the forwards' own.
fn dns_of(cable: &Cable) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(cable.host) ^ 1)
}

struct Words(Vec<OsString>);

impl Words {
    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.0.extend(words.map(OsString::from));
    }
    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
    /// A raw virtio disk; its serial number is `nodeimg-ID`.
    fn disk(&mut self, id: &str, path: &Path, read_only: bool, boot_index: Option<u32>) {
        let access = if read_only { ",readonly=on" } else { "" };
        let drive = format!("if=none,id={id},format=raw{access},cache=unsafe,aio=threads,file=");
        self.pair("-drive", with_path(&drive, path));
        let index = boot_index.map(|i| format!(",bootindex={i}")).unwrap_or_default();
        self.pair("-device", format!("virtio-blk-pci,drive={id},serial=nodeimg-{id}{index}"));
    }
}

/// QEMU's option lists split at commas; a doubled comma is one.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

fn with_path(before: &str, path: &Path) -> OsString {
    let mut bytes = before.as_bytes().to_vec();
    for b in path.as_os_str().as_bytes() {
        bytes.push(*b);
        if *b == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}
