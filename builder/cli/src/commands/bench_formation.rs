//! `nodeimg bench formation`: from power-on to three Ready control planes, in the namespace lab: by `quorum`, by `first`, and
//! by a script of plain `kubeadm init` and two `kubeadm join --control-plane`, in one run on the same image.
//!
//! Needs root, for namespaces. May touch a folder of its own, which goes when it ends.

mod by_hand;

use crate::args::{BenchFormationArgs, Global};
use crate::cluster::{self, ClusterSeedArgs, ClusterSpec, NodeNetwork};
use crate::failure::Failure;
use crate::pipeline::Builder;
use crate::project::Project;
use crate::settings::{self, LockMode};
use nodeimg_contract::birth::Method;
use nodeimg_contract::seed::ControlPlane;
use nodeimg_contract::status::milestone;
use nodeimg_lab::{Lab, LabError, LabSpec, Machine, NodeSpec};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const CLUSTER: &str = "bench";
const ENDPOINT: &str = "api.bench.test";
const NAMES: [&str; 3] = ["cp1", "cp2", "cp3"];
const ADDED: &str = "cp4";
/// Of one formation; nothing is measured by it.
const LIMIT: Duration = Duration::from_secs(600);
/// What a stale member's removal asks for (`nodeimg_init_core::formation::QUIET`), and a little.
const SILENCE: Duration = Duration::from_secs(62);

/// Times with what they are of.
type Times = Vec<(&'static str, Duration)>;

/// One way to a cluster.
struct Way {
    name: &'static str,
    ready: Duration,
    /// What else is known of it, in seconds since power-on.
    points: Times,
}

/// Runs all.
pub fn bench(global: &Global, args: &BenchFormationArgs) -> Result<ExitCode, Failure> {
    let progress = settings::progress(global);
    let project = Project::of(&args.profile)?;
    let cache = settings::cache(global)?;
    let builder = Builder::new(&cache, &progress, &project, &args.input);
    let built = builder.image(&args.image, LockMode::of(&args.input))?;
    let root = built.folder.join(nodeimg_output::ROOT_IMG);
    let scratch = tempfile::tempdir()?;
    let bench = Bench { root, scratch: scratch.path(), folder: args.folder.clone() };

    let say = |text: &str| progress.line(text);
    say("quorum: three power on together");
    let mut ways = Vec::new();
    let (quorum, joins) = bench.quorum(&say)?;
    ways.push(quorum);
    say("quorum again, with the script's bridge in place of the add-on's network");
    ways.push(bench.quorum_on_bridge()?);
    say("first: one is born, two join");
    ways.push(bench.first()?);
    say("kubeadm by hand: init, join, join");
    ways.push(bench.by_hand()?);
    println!("{}", if args.json { json(&ways, &joins) } else { text(&ways, &joins) });
    Ok(ExitCode::SUCCESS)
}

struct Bench<'a> {
    root: PathBuf,
    scratch: &'a Path,
    folder: PathBuf,
}

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, 10 + number))
}

impl Bench<'_> {
    /// Seeds of three control planes, changed by `wish`.
    fn seeds(&self, name: &str, wish: impl FnOnce(&mut ClusterSpec)) -> Result<PathBuf, Failure> {
        let out = self.scratch.join(name);
        let nodes = (1..).zip(NAMES).map(|(n, name)| ControlPlane { name: name.into(), address: address(n) });
        let mut spec = ClusterSpec::with_defaults(CLUSTER, out.clone(), nodes.collect(), ENDPOINT);
        spec.network = NodeNetwork::Static { address: None, prefix: 24, gateway: None, dns: Vec::new() };
        wish(&mut spec);
        cluster::new(&spec)?;
        Ok(out)
    }

    fn lab(&self, seeds: &Path, names: &[&str]) -> Result<Lab, LabError> {
        let node = |name: &&str| NodeSpec::new(*name, seeds.join("seeds").join(name));
        Lab::new(LabSpec {
            root_image: self.root.clone(),
            nodeinit: None,
            folder: self.folder.clone(),
            nodes: names.iter().map(node).collect(),
        })
    }

    /// And, with the same cluster: a fresh join, and a wiped node's.
    fn quorum(&self, say: &dyn Fn(&str)) -> Result<(Way, Times), Failure> {
        let seeds = self.seeds("quorum", |_| {})?;
        cluster::add(&ClusterSeedArgs::control_plane(&seeds, ADDED, address(4)))?;
        let lab = self.lab(&seeds, &[NAMES.as_slice(), &[ADDED]].concat())?;
        let way = formed("quorum", &lab, PodNetwork::Addon)?;
        say("a fourth joins");
        lab.node(ADDED).power_on()?;
        lab.until_ready(&[ADDED], LIMIT)?;
        let mut joins = vec![("a fresh node is a voter", at(&lab, ADDED, milestone::VOTER)?)];
        say("cp3 is wiped, and comes back after a minute");
        lab.node("cp3").power_cut()?;
        lab.node("cp3").wipe_disk()?;
        std::thread::sleep(SILENCE);
        lab.node("cp3").power_on()?;
        lab.until_ready(&["cp3"], LIMIT)?;
        joins.push(("a wiped node is a voter again", at(&lab, "cp3", milestone::VOTER)?));
        Ok((way, joins))
    }

    /// The same as `quorum` where nothing is waited for that the script does not wait for.
    fn quorum_on_bridge(&self) -> Result<Way, Failure> {
        let seeds = self.seeds("quorum-on-bridge", |_| {})?;
        formed("quorum, the script's bridge", &self.lab(&seeds, &NAMES)?, PodNetwork::Bridge)
    }

    fn first(&self) -> Result<Way, Failure> {
        let seeds = self.seeds("first", |spec| spec.method = Method::First)?;
        formed("first", &self.lab(&seeds, &NAMES)?, PodNetwork::Addon)
    }

    /// Without a permit nodeinit brings a node up to containerd and goes no further: the script does the rest.
    fn by_hand(&self) -> Result<Way, Failure> {
        let seeds = self.seeds("by-hand", |spec| {
            spec.permit_lifetime = None;
            spec.endpoint_addresses = vec![address(1)];
        })?;
        let lab = self.lab(&seeds, &NAMES)?;
        let begun = Instant::now();
        lab.power_on(&NAMES)?;
        until_containerd(&lab)?;
        let points = vec![("containerd", begun.elapsed())];
        by_hand::form(&lab, &NAMES, ENDPOINT, LIMIT)?;
        Ok(Way { name: "kubeadm by hand", ready: begun.elapsed(), points })
    }
}

/// What a node's Ready waits for.
#[derive(Clone, Copy, PartialEq)]
enum PodNetwork {
    /// The image's add-on: the controller manager must give the node a range first.
    Addon,
    /// The script's, there from the beginning.
    Bridge,
}

fn until_containerd(lab: &Lab) -> Result<(), Failure> {
    until(lab, "containerd of all", || NAMES.iter().all(|n| at(lab, n, milestone::CONTAINERD).is_ok()))
}

/// Waits for all three; one that goes off by itself ends it at once.
fn until(lab: &Lab, what: &str, done: impl Fn() -> bool) -> Result<(), Failure> {
    let off = || NAMES.iter().find(|name| !lab.node(name).is_on());
    lab.until(what, LIMIT, || off().is_some() || done())?;
    match off() {
        Some(name) => Err(Failure::new(format!("{name} went off before {what}"), lab.consoles())),
        None => Ok(()),
    }
}

/// Powers all three on and waits until all are Ready.
fn formed(name: &'static str, lab: &Lab, network: PodNetwork) -> Result<Way, Failure> {
    let begun = Instant::now();
    lab.power_on(&NAMES)?;
    if network == PodNetwork::Bridge {
        until_containerd(lab)?;
        by_hand::write_bridges(lab, &NAMES, LIMIT)?;
    }
    until(lab, "the API servers of all", || NAMES.iter().all(|n| at(lab, n, milestone::APISERVER).is_ok()))?;
    by_hand::until_ready(lab, &NAMES)?;
    let ready = begun.elapsed();
    lab.until_ready(&NAMES, LIMIT)?;
    let latest = |what: &str| NAMES.iter().filter_map(|n| at(lab, n, what).ok()).max();
    let between = |from: &str, to: &str| {
        let span = |n: &&str| Some(at(lab, n, to).ok()?.saturating_sub(at(lab, n, from).ok()?));
        NAMES.iter().filter_map(span).max()
    };
    let agreement = Option::zip(latest(milestone::STORAGE), latest(milestone::BIRTH));
    let points = [
        (
            "agreement (last node's disk to last node's birth)",
            agreement.map(|(from, to)| to.saturating_sub(from)),
        ),
        ("a node's PKI, kubeconfigs and manifests", between(milestone::BIRTH, milestone::FILES)),
        ("kubelets started", latest(milestone::KUBELET)),
        ("API servers ready", latest(milestone::READYZ)),
        ("every step of nodeinit done", latest(milestone::STEADY)),
    ];
    let points = points.into_iter().filter_map(|(what, time)| Some((what, time?))).collect();
    Ok(Way { name, ready, points })
}

/// When a node passed a milestone of this boot, since its power-on.
fn at(lab: &Lab, node: &str, what: &str) -> Result<Duration, Failure> {
    let line = lab.node(node).timeline();
    line.iter().find(|(name, _)| name == what).map(|(_, time)| *time).ok_or_else(|| {
        Failure::new(format!("{node} did not pass \"{what}\""), "its console says how far it came")
    })
}

/// Ratios of the first two ways to the third.
fn ratios(ways: &[Way]) -> Vec<(&'static str, f64)> {
    let Some((script, ours)) = ways.split_last() else { return Vec::new() };
    ours.iter().map(|w| (w.name, w.ready.as_secs_f64() / script.ready.as_secs_f64().max(1e-9))).collect()
}

fn text(ways: &[Way], joins: &[(&'static str, Duration)]) -> String {
    let mut out = String::from("power-on to three Ready control planes\n");
    for way in ways {
        out.push_str(&format!("  {:<50} {:>7.2} s\n", way.name, way.ready.as_secs_f64()));
        for (what, time) in &way.points {
            out.push_str(&format!("    {what:<48} {:>7.2} s\n", time.as_secs_f64()));
        }
    }
    for (name, ratio) in ratios(ways) {
        out.push_str(&format!("{name} / kubeadm by hand: {ratio:.2}\n"));
    }
    out.push_str("power-on to a voter of etcd\n");
    for (what, time) in joins {
        out.push_str(&format!("  {what:<50} {:>7.2} s\n", time.as_secs_f64()));
    }
    if let [(_, fresh), (_, wiped)] = joins {
        out.push_str(&format!("wiped / fresh: {:.2}\n", wiped.as_secs_f64() / fresh.as_secs_f64().max(1e-9)));
    }
    out.truncate(out.trim_end().len());
    out
}

fn json(ways: &[Way], joins: &[(&'static str, Duration)]) -> String {
    let points = |points: &[(&'static str, Duration)]| -> serde_json::Map<String, serde_json::Value> {
        points.iter().map(|(what, time)| ((*what).to_owned(), time.as_secs_f64().into())).collect()
    };
    let ways_json: Vec<_> = ways
        .iter()
        .map(|w| serde_json::json!({ "way": w.name, "readySeconds": w.ready.as_secs_f64(), "points": points(&w.points) }))
        .collect();
    let ratios: serde_json::Map<_, _> =
        ratios(ways).into_iter().map(|(n, r)| (n.to_owned(), r.into())).collect();
    serde_json::json!({ "ways": ways_json, "toByHand": ratios, "voterSeconds": points(joins) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_script() {
        let way = |name, seconds| Way { name, ready: Duration::from_secs(seconds), points: Vec::new() };
        let ways = [way("quorum", 10), way("first", 30), way("kubeadm by hand", 40)];
        assert_eq!(ratios(&ways), [("quorum", 0.25), ("first", 0.75)]);
        let text = text(&ways, &[("fresh", Duration::from_secs(4)), ("wiped", Duration::from_secs(6))]);
        assert!(
            text.contains("quorum / kubeadm by hand: 0.25") && text.ends_with("wiped / fresh: 1.50"),
            "{text}"
        );
    }
}
