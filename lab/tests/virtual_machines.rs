//! Virtual machines from real images: the driver `qemu`. Any user may run these; QEMU and kubectl come from the cache.

mod support;

use nodeimg_contract::fault::Code;
use nodeimg_contract::status::milestone;
use nodeimg_lab::{Ended, LabError, Machine, QemuLab, QemuLabSpec, QemuNodeSpec};
use nodeimg_qemu::QemuProgram;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Seeds, image};

const MINUTE: Duration = Duration::from_secs(60);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 253);
const THREE: [(&str, &str); 3] = [("cp1", "10.77.0.11"), ("cp2", "10.77.0.12"), ("cp3", "10.77.0.13")];
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];
const QEMU: &str = "qemu-system-x86_64";

fn main() -> ExitCode {
    let qemu = nodeimg_test_programs::tool("virtual_machines", QEMU);
    support::run_with(
        qemu.is_none().then_some("needs QEMU in the cache: nodeimg build profiles/cplane.toml"),
        &[],
        &[
            ("disks_cables_and_buttons_of_virtual_machines", disks_cables_and_buttons),
            ("a_control_plane_and_a_worker_from_real_images", a_control_plane_and_a_worker),
            ("three_control_planes_in_vms", three_control_planes),
        ],
    )
}

fn good<T>(result: Result<T, LabError>) -> T {
    result.unwrap_or_else(|e| panic!("{e}"))
}

fn lab(seeds: &Seeds, cpus: u32, nodes: &[(&str, &str, &str)]) -> QemuLab {
    let command = nodeimg_test_programs::tool("virtual_machines", QEMU).expect("main has asked for it");
    let program = QemuProgram::from_command(&command);
    let choice = nodeimg_qemu::choose_accel(&program).unwrap_or_else(|e| panic!("{e}"));
    println!("  {}", choice.why);
    let node = |(name, role, address): &(&str, &str, &str)| {
        QemuNodeSpec::new(name, image(role), seeds.disk_of(name), address.parse().expect("an address"))
    };
    good(QemuLab::new(QemuLabSpec {
        program,
        accel: choice.accel,
        cpus,
        memory_mib: 2048,
        folder: std::env::var_os("NODEIMG_LAB_FOLDER")
            .map_or_else(|| std::env::temp_dir().join("nodeimg-lab"), PathBuf::from),
        host_address: HOST,
        nodes: nodes.iter().map(node).collect(),
    }))
}

/// The payload's kubectl.
fn kubectl() -> PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    nodeimg_test_programs::payload("virtual_machines", &["kubectl"], &folder).expect("kubectl in the cache");
    let link = folder.join("kubectl");
    let program = std::fs::read_link(&link).expect("a link");
    std::fs::remove_dir_all(&folder).expect("removed");
    program
}

fn reached(lab: &QemuLab, node: &str, milestone: &str) -> bool {
    lab.node(node).status().is_some_and(|s| s.milestones.iter().any(|m| m.name == milestone))
}

fn waits_for(lab: &QemuLab, node: &str, words: &str) -> bool {
    lab.node(node).status().and_then(|s| s.waiting).is_some_and(|w| w.what.contains(words))
}

/// What the node last said, for a timeline and for a log of how far it came.
fn tell(lab: &QemuLab, node: &str) {
    let Some(status) = lab.node(node).status() else { return println!("  {node}: nothing said") };
    let at: Vec<String> =
        status.milestones.iter().map(|m| format!("{} {:.1}", m.name, m.at_ms as f32 / 1000.0)).collect();
    println!("  {node}, {:?}: {}", status.phase, at.join(", "));
    if let Some(waiting) = status.waiting {
        println!("  {node} waits: {}", waiting.what);
    }
}

fn disks_cables_and_buttons() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, 2, &[("cp1", "cplane", "10.77.0.11"), ("cp2", "cplane", "10.77.0.12")]);
    let cp2 = lab.node("cp2");
    assert!(matches!(cp2.exec(&["true"], MINUTE), Err(LabError::NoAgent { .. })));
    assert!(matches!(cp2.power_off(MINUTE), Err(LabError::Power { state: "off", .. })));
    good(cp2.unplug_disk());
    good(lab.power_on(&["cp1", "cp2"]));
    assert!(matches!(cp2.plug_disk(), Err(LabError::Power { state: "on", .. })));
    let no_disk = || cp2.status().and_then(|s| s.fault).is_some_and(|f| f.code == Code::DiskMissing);
    good(lab.until("cp2 to miss its disk", 5 * MINUTE, no_disk));
    good(cp2.power_cut());
    assert!(!cp2.is_on());
    assert_eq!(cp2.last_end(), Some(Ended::Cut));
    good(cp2.plug_disk());
    good(cp2.power_on());
    good(lab.until("cp2's disk", 5 * MINUTE, || reached(&lab, "cp2", milestone::STORAGE)));

    // Cables.
    let both = || waits_for(&lab, "cp1", "cp3") && !waits_for(&lab, "cp1", "cp2");
    good(lab.until("cp1 to hear cp2", 5 * MINUTE, both));
    let missed = || waits_for(&lab, "cp1", "cp2");
    good(lab.partition(&["cp1"], &["cp2"]));
    good(lab.until("cp1 to miss cp2", 5 * MINUTE, missed));
    lab.heal();
    good(lab.until("cp1 to hear cp2 again", 5 * MINUTE, both));
    good(cp2.link(false));
    good(lab.until("cp1 to miss cp2 without its cable", 5 * MINUTE, missed));
    good(cp2.link(true));
    good(lab.until("cp1 to hear cp2 once more", 5 * MINUTE, both));

    // Buttons.
    good(cp2.power_off(5 * MINUTE));
    assert_eq!(cp2.last_end(), Some(Ended::PowerOff));
    good(cp2.wipe_disk());
    good(lab.power_cut(&["cp1"]));
}

fn a_control_plane_and_a_worker() {
    let more = ["--worker", "w1=10.77.0.21"];
    let seeds = Seeds::with("lab", &[("cp1", "10.77.0.11")], &more);
    let lab = lab(&seeds, 2, &[("cp1", "cplane", "10.77.0.11"), ("w1", "worker", "10.77.0.21")]);
    let begun = Instant::now();
    good(lab.power_on(&["cp1", "w1"]));
    let ready = lab.until_ready(&["cp1", "w1"], 20 * MINUTE);
    println!("  after {} s:", begun.elapsed().as_secs());
    ["cp1", "w1"].iter().for_each(|n| tell(&lab, n));
    good(ready);
    let kubectl = kubectl();
    let ask = |arguments: &[&str]| lab.kubectl(&kubectl, &seeds.kubeconfig(), "cp1", arguments);
    let ready =
        "jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=='Ready')].status} {end}";
    let mut seen = String::new();
    good(lab.until("both Ready by kubectl", 5 * MINUTE, || {
        seen = ask(&["get", "nodes", "-o", ready]).unwrap_or_else(|e| e.to_string());
        seen.trim() == "cp1=True w1=True"
    }));
    println!("{}", good(ask(&["get", "nodes", "--show-labels", "-o", "wide"])));
    let address = "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}";
    assert_eq!(good(ask(&["get", "node", "w1", "-o", address])), "10.77.0.21");
    let labels = good(ask(&["get", "node", "cp1", "-o", "jsonpath={.metadata.labels}"]));
    assert!(labels.contains("\"node-role.kubernetes.io/control-plane\""), "{labels}");
}

/// What three control planes on two software CPUs need beside one CPU each: etcd's times for slow members, and leases that
/// outlive a controller manager's wait for its API server.
const SLOW: &str = r#"schema = 1
name = "lab"
network = "static:/24"
[endpoint]
name = "api.lab.test"
[kubernetes]
etcd-extra-args = { heartbeat-interval = "500", election-timeout = "5000" }
controller-manager-extra-args = { leader-elect-lease-duration = "120s", leader-elect-renew-deadline = "90s" }
scheduler-extra-args = { leader-elect-lease-duration = "120s", leader-elect-renew-deadline = "90s" }
"#;

fn three_control_planes() {
    let node = |(name, address): (&str, &str)| {
        format!("[[node]]\nname = \"{name}\"\nrole = \"control-plane\"\naddress = \"{address}\"\n")
    };
    let seeds = Seeds::from_file(&format!("{SLOW}{}", THREE.map(node).concat()));
    let nodes = THREE.map(|(name, address)| (name, "cplane", address));
    let lab = lab(&seeds, 1, &nodes);
    let begun = Instant::now();
    good(lab.power_on(&ALL));
    let ready = lab.until_ready(&ALL, 30 * MINUTE);
    println!("  after {} s:", begun.elapsed().as_secs());
    ALL.iter().for_each(|n| tell(&lab, n));
    good(ready);
    let kubectl = kubectl();
    println!("{}", good(lab.kubectl(&kubectl, &seeds.kubeconfig(), "cp1", &["get", "nodes", "-o", "wide"])));
}
