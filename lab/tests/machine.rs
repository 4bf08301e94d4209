//! What a machine of a lab can do: cuts that forget, cuts at a flush, disks, cables, clocks, buttons.

mod support;

use nodeimg_contract::fault::Code;
use nodeimg_contract::status::milestone;
use nodeimg_lab::{Ended, Lab, Machine, Moment};
use std::process::ExitCode;
use std::time::Duration;
use support::{Seeds, lab, tell};

const READY: Duration = Duration::from_secs(120);
const THREE: [(&str, &str); 3] = [("cp1", "10.77.0.11"), ("cp2", "10.77.0.12"), ("cp3", "10.77.0.13")];

fn main() -> ExitCode {
    let scenarios: &[support::Scenario] = &[
        ("a_power_cut_forgets_what_was_not_synced", a_power_cut_forgets),
        ("a_control_plane_cut_at_flushes_comes_back", cut_at_flushes),
        ("disks_cables_clocks_and_buttons_work", disks_cables_clocks_and_buttons),
    ];
    support::run(scenarios, &[])
}

fn good<T>(result: Result<T, nodeimg_lab::LabError>) -> T {
    result.unwrap_or_else(|e| panic!("{e}"))
}

fn reached(lab: &Lab, node: &str, milestone: &str) -> bool {
    lab.node(node).status().is_some_and(|s| s.milestones.iter().any(|m| m.name == milestone))
}

fn waits_for(lab: &Lab, node: &str, words: &str) -> bool {
    lab.node(node).status().and_then(|s| s.waiting).is_some_and(|w| w.what.contains(words))
}

fn run(lab: &Lab, node: &str, command: &[&str]) -> String {
    let answer = good(lab.node(node).exec(command, Duration::from_secs(30)));
    assert_eq!(answer.code, Some(0), "{command:?}: {}{}", answer.stdout, answer.stderr);
    answer.stdout
}

fn file(lab: &Lab, node: &str, path: &str) -> Option<String> {
    good(lab.node(node).read_state_file(path)).map(|b| String::from_utf8_lossy(&b).into_owned())
}

fn a_power_cut_forgets() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &["cp1"]);
    let cp1 = lab.node("cp1");
    // Somebody else's fsync may take what was not synced along; a cut that forgets nothing in five tries does not forget.
    let script = "echo kept > /var/kept && sync && echo lost > /var/lost && echo lost >> /var/kept";
    let forgets = (0..5).any(|_| {
        good(cp1.power_on());
        good(lab.until("the state partition", READY, || reached(&lab, "cp1", milestone::STORAGE)));
        run(&lab, "cp1", &["sh", "-c", script]);
        assert_eq!(file(&lab, "cp1", "/var/lost").as_deref(), Some("lost\n"), "seen while it runs");
        good(cp1.power_cut());
        assert_eq!(cp1.last_end(), Some(Ended::Cut));
        // ext4 may keep an appended size without its content.
        let kept = file(&lab, "cp1", "/var/kept").unwrap_or_default();
        assert!(kept.starts_with("kept\n"), "what was synced: {kept:?}");
        file(&lab, "cp1", "/var/lost").as_deref() != Some("lost\n") && kept != "kept\nlost\n"
    });
    assert!(forgets, "what was not synced is gone");

    // An orderly end keeps everything.
    good(cp1.power_on());
    good(lab.until("the state partition", READY, || reached(&lab, "cp1", milestone::STORAGE)));
    run(&lab, "cp1", &["sh", "-c", "echo ended > /var/ended"]);
    good(cp1.power_off(READY));
    assert_eq!(file(&lab, "cp1", "/var/ended").as_deref(), Some("ended\n"));
}

fn cut_at_flushes() {
    let seeds = Seeds::new("lab", &[("cp1", "10.77.0.11")]);
    let lab = lab(&seeds, &["cp1"]);
    let cp1 = lab.node("cp1");
    for (flush, moment) in [(15, Moment::Before), (20, Moment::After), (60, Moment::Before)] {
        good(cp1.cut_at_flush(flush, moment));
        let before = cp1.flushes();
        good(cp1.power_on());
        good(lab.until("the cut", READY, || !cp1.is_on()));
        assert_eq!(cp1.last_end(), Some(Ended::Cut));
        assert_eq!(cp1.flushes(), before + flush, "no flush after it counts");
    }
    good(cp1.power_on());
    good(lab.until_ready(&["cp1"], READY));
    tell(&lab, "cp1", "after three cuts");
    println!("  flushes until Ready: {}", cp1.flushes());
}

fn disks_cables_clocks_and_buttons() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &["cp1", "cp2"]);
    let cp2 = lab.node("cp2");
    // No disk, then one.
    good(cp2.unplug_disk());
    good(lab.power_on(&["cp1", "cp2"]));
    let no_disk = || cp2.status().and_then(|s| s.fault).is_some_and(|f| f.code == Code::DiskMissing);
    good(lab.until("cp2 to miss its disk", READY, no_disk));
    good(cp2.plug_disk());
    good(lab.until("cp2 to find its disk", READY, || reached(&lab, "cp2", milestone::STORAGE)));
    let both = || waits_for(&lab, "cp1", "cp3") && !waits_for(&lab, "cp1", "cp2");
    good(lab.until("cp1 to wait for cp3 alone", READY, both));

    // Cables.
    good(lab.partition(&["cp1"], &["cp2"]));
    good(lab.until("cp1 to miss cp2", READY, || waits_for(&lab, "cp1", "cp2")));
    assert_eq!(run(&lab, "cp2", &["cat", "/sys/class/net/eth0/carrier"]).trim(), "1", "no loss of carrier");
    good(lab.heal());
    good(lab.until("cp1 to hear cp2 again", READY, both));
    good(cp2.link(false));
    assert_eq!(run(&lab, "cp2", &["cat", "/sys/class/net/eth0/carrier"]).trim(), "0");
    good(lab.until("cp1 to miss cp2", READY, || waits_for(&lab, "cp1", "cp2")));
    good(cp2.link(true));
    good(lab.until("cp1 to hear cp2 again", READY, both));

    // Buttons and clocks.
    cp2.set_clock_offset(-600);
    good(cp2.reboot(READY));
    assert_eq!(cp2.last_end(), Some(Ended::Reboot));
    let machine = run(&lab, "cp2", &["cat", nodeimg_contract::machine::MACHINE]);
    assert!(machine.contains("\"clockOffsetSeconds\":-600"), "{machine}");
    good(lab.until("the next boot", READY, || reached(&lab, "cp2", milestone::STORAGE)));
    good(cp2.power_off(READY));
    assert_eq!(cp2.last_end(), Some(Ended::PowerOff));
    assert!(good(lab.records())["cp2"].record.is_some());
    good(cp2.wipe_disk());
    assert_eq!(good(lab.records())["cp2"].record, None);
}
