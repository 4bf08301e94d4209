//! The command line, as clap sees it. Parses, decides nothing.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Turns a profile into bootable, immutable Kubernetes node images, and boots them.
#[derive(Debug, Parser)]
#[command(name = "nodeimg", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "First steps:
  nodeimg run profiles/cplane.toml            build a control plane, boot it, stay until Ctrl-C
  nodeimg build profiles/cplane.toml          only build; the artifacts are in dist/cplane/
  nodeimg cluster new lab --control-plane cp1=192.0.2.11 --endpoint api.kube.example.net

Exit codes: 0 done, 1 the input or the world, 2 usage.")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Folder of the content-addressed cache; safe to lose [default: $XDG_CACHE_HOME/nodeimg]
    #[arg(long, global = true, value_name = "DIR", env = "NODEIMG_CACHE")]
    pub cache: Option<PathBuf>,
    /// Say nothing but errors and results
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say what is looked up, fetched and made, on standard error
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the images of one or more profiles
    Build(BuildArgs),
    /// Resolve a profile's packages and write its lock
    Lock(LockArgs),
    /// Build what is missing and boot it in a virtual machine
    Run(RunArgs),
    /// Make what the nodes of a cluster need to be told, and change it later
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Measure builds and boots, in one run
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print a script that completes nodeimg's words in a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// Where inputs come from and what may be renewed.
#[derive(Debug, Clone, Args)]
pub struct InputArgs {
    /// Debian mirror, for example http://mirror.example.net/debian [default: NODEIMG_MIRROR, the profile's, this machine's apt sources]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Refuse to change the lock: fail when the profile needs another one
    #[arg(long, conflicts_with = "update")]
    pub locked: bool,
    /// Renew the lock from the mirror before building
    #[arg(long)]
    pub update: bool,
    /// Where the lock is, when it is not beside the profile
    #[arg(long, value_name = "FILE")]
    pub lock_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    /// Profiles (TOML)
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<PathBuf>,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub image: ImageArgs,
}

/// What is baked beside the lock, and where it goes.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    /// Folder for artifacts; each profile gets one of its own in it [default: dist/ in the project folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The nodeinit to bake [default: the one beside nodeimg, else built from the checkout]
    #[arg(long, value_name = "FILE", env = "NODEIMG_NODEINIT")]
    pub nodeinit: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// Profiles (TOML)
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<PathBuf>,
    /// Debian mirror [default: NODEIMG_MIRROR, the profile's, this machine's apt sources]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Renew even when the lock fits the profile
    #[arg(long)]
    pub update: bool,
    /// Write no lock: fail when it does not fit the profile, or when one of its files can no longer be fetched
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Where to write, when not beside the profile
    #[arg(long, value_name = "FILE")]
    pub lock_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Profile (TOML)
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub vm: VmArgs,
}

/// The virtual machine.
#[derive(Debug, Clone, Args)]
pub struct VmArgs {
    /// Seed folder (meta-data, user-data, network-config) or NoCloud disk image [default: a throw-away cluster of one]
    #[arg(long, value_name = "DIR|IMG")]
    pub seed: Option<PathBuf>,
    /// Keep seed and state disk here, so that the same node boots again [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Shut down and exit 0 as soon as the node is there
    #[arg(long, value_name = "GOAL")]
    pub until: Option<Until>,
    /// Give up after this long without the node being Ready (30s, 15m)
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
    /// Boot kernel and initrd directly instead of the UKI under UEFI firmware (quicker without KVM)
    #[arg(long)]
    pub direct: bool,
    /// Forward a TCP port of this machine's loopback to the node (HOST:GUEST); may be repeated
    #[arg(long, value_name = "PORT:PORT", value_parser = parse_forward)]
    pub forward: Vec<(u16, u16)>,
    /// Keep the machine off every network but the forwarded ports
    #[arg(long)]
    pub isolated: bool,
    /// Processors
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// Memory, in MiB
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(512..))]
    pub memory: u32,
    /// Size of the state disk, in GiB (sparse)
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..))]
    pub disk: u32,
    /// Accelerator [default: KVM where a guest truly runs under it, else TCG]
    #[arg(long, value_name = "NAME")]
    pub accel: Option<Accelerator>,
}

/// What `--until` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// The Kubernetes Node is Ready
    Ready,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accelerator {
    /// Linux' hardware virtualisation
    Kvm,
    /// QEMU's translator
    Tcg,
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make PKI, permit, seeds and an admin kubeconfig for a new cluster
    New(Box<crate::cluster::ClusterNewArgs>),
    /// Make new seeds with a new permit, for nodes that are born together
    Permit(crate::cluster::ClusterPermitArgs),
    /// Make the seed of one more node, or a new one for a node of the cluster
    Seed(crate::cluster::ClusterSeedArgs),
    /// Take a node out of the cluster: drain it, delete its Node, forget it
    RemoveNode(crate::cluster::ClusterRemoveArgs),
    /// Make a new admin.kubeconfig from the kept CA
    Kubeconfig(crate::cluster::ClusterKubeconfigArgs),
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Time of a build by step, cold and unchanged, and sizes by part
    Build(BenchBuildArgs),
    /// The timeline of a boot, from power-on to Ready
    Boot(BenchBootArgs),
    /// Power-on to three Ready control planes, against plain kubeadm, with nodes as namespaces (needs root)
    Formation(BenchFormationArgs),
}

#[derive(Debug, Clone, Args)]
pub struct BenchBuildArgs {
    /// Profile (TOML)
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Begin with an empty cache (downloads and compiles everything again, in a temporary folder)
    #[arg(long)]
    pub cold: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct BenchBootArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Draw the timeline into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct BenchFormationArgs {
    /// Profile of a control plane (TOML)
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Folder for the nodes' disks: a tmpfs makes syncs free, as on a good server disk
    #[arg(long, value_name = "DIR", default_value = "/dev/shm/nodeimg-lab")]
    pub folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `90s`, `15m`, `2h`, or seconds.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .map(std::time::Duration::from_secs)
        .ok_or_else(|| format!("\"{text}\" is no time; write 90s, 15m or 2h"))
}

fn parse_forward(text: &str) -> Result<(u16, u16), String> {
    text.split_once(':')
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
        .ok_or_else(|| format!("\"{text}\" is no pair of ports; write HOST:GUEST, for example 8443:6443"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("15m").map(|d| d.as_secs()), Ok(900));
        assert_eq!(parse_duration("7").map(|d| d.as_secs()), Ok(7));
        assert!(parse_duration("soon").is_err() && parse_duration("").is_err());
    }
}
