//! What a machine is made of.

use crate::accel::Accel;
use crate::error::VmError;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

/// Kernel arguments that make a guest bearable under TCG, and that no product image may carry: FACTS, "Guests under
/// TCG".
pub const LAB_ARGUMENTS_TCG: &str = "mitigations=off audit=0 nowatchdog no_timer_check tsc=reliable \
    random.trust_cpu=on rcupdate.rcu_cpu_stall_suppress=1 init_on_alloc=0 highres=off preempt=none";

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSpec {
    /// Shown by QEMU and in process lists.
    pub name: String,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What it boots.
    pub boot: Boot,
    /// Kernel arguments for this machine alone: by SMBIOS under UEFI, appended otherwise.
    pub extra_arguments: String,
    /// `root.img`; never written to.
    pub root_img: PathBuf,
    /// The state disk; made by [`crate::create_state_disk`].
    pub state_disk: Option<PathBuf>,
    /// A disk image with label `cidata`; never written to.
    pub seed_disk: Option<PathBuf>,
    /// Its network card.
    pub network: Network,
}

/// How a machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Firmware, then the UKI from an EFI system partition that is made for this machine.
    Uefi {
        /// The UKI.
        uki: PathBuf,
    },
    /// The kernel at once: quicker, above all under TCG.
    Direct {
        /// Kernel (bzImage, or a vmlinux with a PVH entry).
        kernel: PathBuf,
        /// initramfs.
        initrd: PathBuf,
        /// Command line, without the machine's own arguments.
        cmdline: String,
    },
}

/// The network of a machine's one card.
///
/// Without a cable it is QEMU's user-mode network: the guest gets 10.0.2.15 by DHCP (static is the same to it), the gateway
/// is 10.0.2.2, a DNS forwarder 10.0.2.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Keeps the guest from everything outside but the forwarded ports.
    pub restrict: bool,
    /// Ports of 127.0.0.1 that lead into the guest.
    pub forwards: Vec<Forward>,
    /// MAC address.
    pub mac: String,
    /// Leads to a switch of the caller's instead; the outside is then out of reach whatever `restrict` says.
    pub cable: Option<Cable>,
}

/// Two Unix sockets at which somebody listens who is the switch. QEMU connects and sends Ethernet frames, each behind its
/// length (4 bytes, big-endian; QEMU, net/stream.c).
///
/// The forwards need somebody on the guest's network who is their other end: QEMU's user-mode network, behind a socket of
/// its own. The switch must show it no frame that is not meant for it: it answers TCP for other machines with a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The card's.
    pub card: PathBuf,
    /// That of the forwards.
    pub way: PathBuf,
    /// The guest's address; the forwards lead there.
    pub guest: Ipv4Addr,
    /// Length of its network's prefix, at most 30.
    pub prefix: u8,
    /// The forwards' own address on that network. Neither it nor its neighbour (the last bit turned) may be a machine's,
    /// the network's own or its broadcast.
    pub host: Ipv4Addr,
}

impl Default for Network {
    fn default() -> Self {
        Self { restrict: true, forwards: Vec::new(), mac: "52:54:00:6e:69:01".into(), cable: None }
    }
}

/// A TCP port of the host's loopback that leads into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// On 127.0.0.1.
    pub host: u16,
    /// On the guest's address.
    pub guest: u16,
}

/// A TCP port of 127.0.0.1 that nobody listens on now. Somebody else may take it before QEMU does: QEMU then says so.
pub fn free_port() -> Result<u16, VmError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(VmError::NoPort)?;
    Ok(listener.local_addr().map_err(VmError::NoPort)?.port())
}
