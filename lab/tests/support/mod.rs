//! What scenarios share: a runner that skips by name what cannot run here, seeds, images.
//!
//! A scenario needs root. Without it every one is skipped by name and counted; nothing is said to have passed.

// Each test file uses some of it.
#![allow(dead_code)]

use base64::Engine;
use nodeimg_lab::{Lab, LabSpec, Machine, NodeSpec};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A scenario: a name and what it does.
pub type Scenario = (&'static str, fn());

/// Cores and memory of this host for which one scenario more runs at the same time.
const CORES: usize = 2;
const MEMORY_KIB: u64 = 6 << 20;

/// Runs those whose name contains the first argument, as many at a time as the host has room for. Those of `soak` run with
/// the feature of that name, or when the argument names them.
pub fn run(scenarios: &[Scenario], soak: &[Scenario]) -> ExitCode {
    run_with((!nix::unistd::geteuid().is_root()).then_some("needs root"), scenarios, soak)
}

/// The same for scenarios that need something else than root; all are skipped when it is `missing`.
pub fn run_with(missing: Option<&'static str>, scenarios: &[Scenario], soak: &[Scenario]) -> ExitCode {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let chosen = scenarios.iter().chain(soak).filter(|(name, _)| name.contains(&wanted));
    if std::env::args().any(|a| a == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let is_soak = |name: &str| soak.iter().any(|(n, _)| *n == name);
    let why = |name: &str| {
        let soak = is_soak(name) && wanted.is_empty() && !cfg!(feature = "soak");
        missing.or(soak.then_some("soak"))
    };
    let (skipped, chosen): (Vec<&Scenario>, Vec<&Scenario>) =
        chosen.partition(|(name, _)| why(name).is_some());
    for (name, _) in &skipped {
        println!("scenario {name} ... skipped ({})", why(name).unwrap_or_default());
    }
    let next = AtomicUsize::new(0);
    let failed: Mutex<Vec<&str>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..at_once().min(chosen.len()) {
            scope.spawn(|| {
                while let Some((name, scenario)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let result = catch_unwind(AssertUnwindSafe(scenario));
                    let seconds = begun.elapsed().as_secs_f32();
                    let word = if result.is_ok() { "ok" } else { "FAILED" };
                    println!("scenario {name} ... {word} in {seconds:.1} s");
                    if result.is_err() {
                        failed.lock().expect("no scenario holds it").push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no scenario holds it");
    let list =
        |names: Vec<&str>| if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let (bad, not) = (failed.len(), skipped.len());
    let (good, skipped) = (chosen.len() - bad, skipped.iter().map(|(name, _)| *name).collect());
    println!("scenarios: {good} passed, {bad} failed{}, {not} skipped{}", list(failed), list(skipped));
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `NODEIMG_LAB_PARALLEL`, or by the host's cores and memory.
fn at_once() -> usize {
    if let Some(asked) = std::env::var("NODEIMG_LAB_PARALLEL").ok().and_then(|n| n.parse::<usize>().ok()) {
        return asked.max(1);
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) / CORES;
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    let memory = available.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) / MEMORY_KIB;
    cores.min(usize::try_from(memory).unwrap_or(1)).max(1)
}

/// The checkout.
fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("lab/ lies in the checkout")
}

fn from_environment(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// `NODEIMG`, or the one that was built beside this test.
fn nodeimg() -> PathBuf {
    from_environment("NODEIMG").unwrap_or_else(|| {
        let exe = std::env::current_exe().expect("a path");
        let beside = exe.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join("nodeimg");
        assert!(beside.is_file(), "no {}: build it (cargo build), or set NODEIMG", beside.display());
        beside
    })
}

/// A cluster's seeds, in a folder that is gone afterwards.
pub struct Seeds(tempfile::TempDir);

/// A key pair to log in with: PKCS #8 in PEM, and a line of authorized_keys.
pub struct LoginKey {
    pub private: String,
    pub public: String,
}

impl LoginKey {
    /// ECDSA on P-256: ssh reads its PKCS #8. The public blob is that of RFC 5656, section 3.1.
    pub fn new() -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let mut blob = Vec::new();
        for part in [b"ecdsa-sha2-nistp256".as_slice(), b"nistp256", pair.public_key_raw()] {
            blob.extend((part.len() as u32).to_be_bytes());
            blob.extend(part);
        }
        let public = format!("ecdsa-sha2-nistp256 {} test", base64::prelude::BASE64_STANDARD.encode(blob));
        Self { private: pair.serialize_pem(), public }
    }
}

impl Seeds {
    /// Control planes, named and addressed; each has a seed of its own.
    pub fn new(cluster: &str, nodes: &[(&str, &str)]) -> Self {
        Self::with(cluster, nodes, &[])
    }

    /// The same with more arguments of `nodeimg cluster new`.
    pub fn with(cluster: &str, nodes: &[(&str, &str)], more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(nodeimg());
        command.args(["cluster", "new", cluster, "--endpoint", "api.lab.test", "--quiet"]);
        command.args(["--network", "static:/24"]).args(more);
        for (name, address) in nodes {
            command.arg("--control-plane").arg(format!("{name}={address}"));
        }
        good(command.arg("--out").arg(dir.path().join("c")), "cluster new");
        Self(dir)
    }

    /// Of a cluster.toml's text.
    pub fn from_file(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("cluster.toml");
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(nodeimg());
        command.args(["cluster", "new", "--quiet", "--from"]).arg(file);
        good(command.arg("--out").arg(dir.path().join("c")), "cluster new");
        Self(dir)
    }

    /// New seeds with a new permit and consent to a birth without these.
    pub fn permit(&self, without: &[&str]) {
        let mut command = Command::new(nodeimg());
        command.args(["cluster", "permit", "--quiet"]).arg(self.0.path().join("c"));
        for name in without {
            command.args(["--without", name]);
        }
        good(&mut command, "cluster permit");
    }

    /// A node's seed, with new secrets; what the cluster must be told of it is the text of the answer.
    pub fn renew(&self, name: &str) -> String {
        let mut command = Command::new(nodeimg());
        command.args(["cluster", "seed", "--quiet"]).arg(self.folder()).arg(name);
        good(&mut command, "cluster seed");
        std::fs::read_to_string(self.folder().join(format!("tokens/{name}.json"))).expect("a token")
    }

    /// Lets the owner of a key log in at a node.
    pub fn let_in(&self, node: &str, public: &str) {
        let path = self.of(node).join("user-data");
        let text = std::fs::read_to_string(&path).expect("user-data");
        let (first, rest) = text.split_once('\n').expect("#cloud-config and more");
        std::fs::write(&path, format!("{first}\nssh_authorized_keys: [{public:?}]\n{rest}"))
            .expect("written");
    }

    /// The cluster's folder, as `nodeimg cluster new` made it.
    pub fn folder(&self) -> PathBuf {
        self.0.path().join("c")
    }

    /// The seed of one more node.
    pub fn add(&self, name: &str, role: &str, address: &str) {
        let mut command = Command::new(nodeimg());
        command.args(["cluster", "seed", "--quiet"]).arg(self.0.path().join("c"));
        command.args([name, "--role", role, "--address", address]);
        good(&mut command, "cluster seed");
    }

    /// New seeds with a new permit that ends so soon, like "1m".
    pub fn permit_for(&self, lifetime: &str) {
        let mut command = Command::new(nodeimg());
        command.args(["cluster", "permit", "--quiet", "--permit-ttl", lifetime]).arg(self.0.path().join("c"));
        good(&mut command, "cluster permit");
    }

    /// A new seed for a node of the cluster.
    pub fn again(&self, name: &str) {
        let mut command = Command::new(nodeimg());
        good(
            command.args(["cluster", "seed", "--quiet"]).arg(self.0.path().join("c")).arg(name),
            "cluster seed",
        );
    }

    /// Forgets a node: seeds that are made from now on do not list it.
    pub fn remove(&self, name: &str) {
        let mut command = Command::new(nodeimg());
        command
            .args(["cluster", "remove-node", "--quiet", "--offline"])
            .arg(self.0.path().join("c"))
            .arg(name);
        good(&mut command, "cluster remove-node");
    }

    /// Another seed of a node: a copy of what was made, with `from` changed into `to` wherever it stands in `user-data`.
    pub fn changed(&self, node: &str, as_name: &str, changes: &[(&str, &str)]) -> PathBuf {
        let (made, copy) = (self.of(node), self.0.path().join(as_name));
        std::fs::create_dir_all(&copy).expect("a folder");
        for file in ["meta-data", "network-config", "user-data"] {
            std::fs::copy(made.join(file), copy.join(file)).expect("a document of the seed");
        }
        let path = copy.join("user-data");
        let mut text = std::fs::read_to_string(&path).expect("user-data");
        for (from, to) in changes {
            assert!(text.contains(from), "the seed of {node} has no {from:?}");
            text = text.replace(from, to);
        }
        std::fs::write(&path, text).expect("written");
        copy
    }

    /// A file of the cluster's folder, each line moved in by so many spaces, as a seed has it.
    pub fn pem(&self, file: &str, spaces: usize) -> String {
        let text = std::fs::read_to_string(self.0.path().join("c/pki").join(file)).expect("a PEM");
        let indent = " ".repeat(spaces);
        text.lines().map(|line| format!("{indent}{line}\n")).collect()
    }

    /// The same as a disk image.
    pub fn disk_of(&self, node: &str) -> PathBuf {
        self.0.path().join(format!("c/seeds/{node}.img"))
    }

    /// The cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.path().join("c/admin.kubeconfig")
    }

    /// The folder of one node's seed.
    pub fn of(&self, node: &str) -> PathBuf {
        self.0.path().join("c/seeds").join(node)
    }
}

fn good(command: &mut Command, what: &str) {
    let output = command.output().expect("nodeimg starts");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The image of a profile: `NODEIMG_LAB_IMAGE` (of `worker`: `NODEIMG_LAB_IMAGE_WORKER`, and so on), or the one that the
/// whole-boot tests use as well, built here, once, when it is not there or not of this code.
fn root_image(profile: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let variable = match profile {
        CONTROL_PLANE => "NODEIMG_LAB_IMAGE".to_owned(),
        _ => format!("NODEIMG_LAB_IMAGE_{}", profile.to_uppercase()),
    };
    // A build that failed fails anew for the next one who asks.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let found = from_environment(&variable).or_else(|| built.get(profile).cloned());
    found.unwrap_or_else(|| {
        let image = build(profile);
        built.insert(profile.to_owned(), image.clone());
        image
    })
}

/// The folder of that image, with its kernel and command line.
pub fn image(profile: &str) -> PathBuf {
    root_image(profile).parent().expect("a file lies in a folder").to_owned()
}

fn build(profile: &str) -> PathBuf {
    let dist = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dist");
    let mut command = Command::new(nodeimg());
    command.arg("build").arg(checkout().join(format!("profiles/{profile}.toml"))).current_dir(checkout());
    match from_environment("NODEIMG_TEST_LOCKS").map(|d| d.join(format!("{profile}.lock"))) {
        Some(renewed) if renewed.is_file() => command.arg("--lock-file").arg(renewed),
        _ => command.arg("--locked"),
    };
    good(command.arg("--out").arg(&dist), "build");
    dist.join(profile).join("root.img")
}

/// The profile of control planes, and of a lab's nodes unless said otherwise.
const CONTROL_PLANE: &str = "cplane";

/// A lab of these nodes with the image of `profiles/cplane.toml`, each with its seed; a node without one has none.
pub fn lab(seeds: &Seeds, nodes: &[&str]) -> Lab {
    let nodes: Vec<(&str, &str)> = nodes.iter().map(|n| (*n, *n)).collect();
    lab_of(seeds, &nodes)
}

/// The same with machines that have somebody else's seed: machine, node of the seed.
pub fn lab_of(seeds: &Seeds, machines: &[(&str, &str)]) -> Lab {
    let node = |(machine, node): &(&str, &str)| {
        let spec = NodeSpec::new(*machine, seeds.of(node));
        if seeds.of(node).is_dir() { spec } else { NodeSpec { seed: None, ..spec } }
    };
    lab_with(machines.iter().map(node).collect())
}

/// Control planes, and machines with images of other profiles, each with its seed: name and profile.
pub fn lab_of_roles(seeds: &Seeds, nodes: &[&str], others: &[(&str, &str)]) -> Lab {
    let of = |name: &str| NodeSpec::new(name, seeds.of(name));
    let others = others.iter().map(|(name, profile)| of(name).with_image(root_image(profile)));
    lab_with(nodes.iter().map(|n| of(n)).chain(others).collect())
}

/// A lab of these machines.
pub fn lab_with(nodes: Vec<NodeSpec>) -> Lab {
    let spec = LabSpec {
        root_image: root_image(CONTROL_PLANE),
        nodeinit: from_environment("NODEIMG_LAB_NODEINIT"),
        folder: from_environment("NODEIMG_LAB_FOLDER").unwrap_or_else(|| "/dev/shm/nodeimg-lab".into()),
        nodes,
    };
    Lab::new(spec).unwrap_or_else(|e| panic!("{e}"))
}

/// Prints where a node's boot spent its time.
pub fn tell(lab: &Lab, node: &str, what: &str) {
    let line = lab.node(node).timeline();
    let at = |(name, at): &(String, Duration)| format!("{name} {:.2}", at.as_secs_f32());
    println!("  {what}, {}: {}", lab.node(node).name(), line.iter().map(at).collect::<Vec<_>>().join(", "));
    if std::env::var_os("NODEIMG_LAB_CONSOLE").is_some() {
        println!("{}", lab.node(node).console());
    }
}
