//! Faults: failures of a node that have a code, an object, a cause and a next step.
//!
//! The codes are an interface: one is never given another meaning. docs/faults.md lists them.

use serde::{Deserialize, Serialize};

/// A fault as the console, `status.json` and `nodeimg run` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// `NI-AREA-NNN`.
    pub code: Code,
    /// What it is about: a device, a name, a field.
    pub object: String,
    /// Why, in one sentence.
    pub cause: String,
    /// What to do next.
    pub help: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} (next: {})", self.code, self.object, self.cause, self.help)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $title:literal;)*) => {
        /// A fault's code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $text)] $name,)* }
        impl Code {
            /// Every code, in order of area.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            /// `NI-AREA-NNN`.
            pub fn text(self) -> &'static str { match self { $(Code::$name => $text,)* } }
            /// One line of what it means.
            pub fn title(self) -> &'static str { match self { $(Code::$name => $title,)* } }
        }
    };
}

codes! {
    /// Early boot.
    BootKernel = "NI-BOOT-001", "the kernel lacks something that a node needs";
    /// No root hash on the command line.
    RootHashMissing = "NI-ROOT-001", "the command line names no valid root hash";
    /// No partition with that root hash.
    RootNotFound = "NI-ROOT-002", "no disk carries the root that the command line names";
    /// dm-verity refused a block.
    RootTampered = "NI-ROOT-003", "the root does not match its root hash";
    /// Mounting failed.
    RootMount = "NI-ROOT-004", "the verified root could not be mounted";
    /// No seed anywhere.
    SeedMissing = "NI-SEED-001", "no datasource has a seed";
    /// Not parseable.
    SeedMalformed = "NI-SEED-002", "a seed could not be read";
    /// Parsed, makes no sense.
    SeedInvalid = "NI-SEED-003", "a seed does not make sense";
    /// A field that may not change after the first boot.
    SeedImmutable = "NI-SEED-004", "a seed changes what cannot change after the first boot";
    /// Role of the seed and of the image differ.
    SeedRole = "NI-SEED-005", "the seed's role is not the image's";
    /// No link.
    NetNoLink = "NI-NET-001", "no network link matches or comes up";
    /// No lease.
    NetDhcp = "NI-NET-002", "no DHCP server answers";
    /// Cannot apply.
    NetApply = "NI-NET-003", "the network configuration could not be applied";
    /// The endpoint's name does not resolve.
    NetEndpointName = "NI-NET-004", "the endpoint's name does not resolve";
    /// Networks overlap.
    NetOverlap = "NI-NET-005", "two networks overlap";
    /// The address that the seed gives this node.
    NetOwnAddress = "NI-NET-006", "no link has this node's own address";
    /// No NTP answer.
    TimeNoAnswer = "NI-TIME-001", "no time server answers";
    /// Clock before the floor.
    TimeBeforeFloor = "NI-TIME-002", "the clock is before the image was made";
    /// No disk for the state.
    DiskMissing = "NI-DISK-001", "no disk for the state partition";
    /// A disk that is not ours.
    DiskForeign = "NI-DISK-002", "the disk holds somebody else's data";
    /// Formatting or mounting failed.
    DiskFailed = "NI-DISK-003", "the state partition could not be prepared";
    /// A newer layout.
    DiskLayout = "NI-DISK-004", "the state partition was written by a newer nodeimg";
    /// A service keeps failing.
    ServiceFailed = "NI-SVC-001", "a service keeps failing";
    /// The image store could not be placed.
    StoreFailed = "NI-SVC-002", "the baked images could not be put in place";
    /// A blank node without permit.
    PermitMissing = "NI-FORM-001", "a blank control plane has no valid permit";
    /// Record and disk disagree.
    RecordMismatch = "NI-FORM-002", "the etcd file system is not the one that this node formed with";
    /// kubeadm failed.
    KubeadmFailed = "NI-FORM-003", "a kubeadm phase failed";
    /// The API server does not become ready.
    ApiNotReady = "NI-FORM-004", "the API server does not become ready";
    /// Node not Ready.
    NodeNotReady = "NI-FORM-005", "the node does not become Ready";
    /// Add-on failed.
    AddonFailed = "NI-FORM-006", "an add-on could not be applied";
    /// Not in the list.
    NotListed = "NI-FORM-007", "this node is not in the seed's list of control planes";
    /// Peers do not answer.
    PeersMissing = "NI-FORM-008", "not every listed control plane answers";
    /// Peers hold other seeds.
    PeersDisagree = "NI-FORM-009", "the seeds of two nodes disagree";
    /// A peer that is not one.
    PeerUntrusted = "NI-FORM-010", "a peer lies, or speaks another version of the protocol";
    /// Two nodes with one name.
    PeerDuplicate = "NI-FORM-011", "two nodes claim one name or one address";
    /// A cluster that is not ours.
    AnotherCluster = "NI-FORM-012", "what answers is another cluster";
    /// Not removable.
    StaleMember = "NI-FORM-013", "an old member stands in the way and cannot safely be removed";
    /// Join blocked.
    JoinBlocked = "NI-FORM-014", "the cluster cannot take this node now";
    /// Token or certificate key.
    JoinSecretExpired = "NI-FORM-015", "the seed's bootstrap token or certificate key is over";
    /// Versions.
    VersionSkew = "NI-FORM-016", "the image's Kubernetes version does not fit the cluster's";
    /// Majority of disks lost.
    QuorumLost = "NI-FORM-017", "the cluster has lost the majority of its etcd members";
    /// The endpoint refuses.
    EndpointRefused = "NI-FORM-018", "the endpoint refuses connections";
    /// The endpoint does not answer.
    EndpointTimeout = "NI-FORM-019", "the endpoint does not answer";
    /// Nothing is born beside it.
    ClusterElsewhere = "NI-FORM-020", "a cluster lives on nodes outside of the seed's list";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
