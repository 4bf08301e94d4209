//! Power cuts at what a node makes durable.
//!
//! A cut forgets what was not flushed, and nobody hears of the flush at which it comes.

use crate::claims::*;
use crate::support::{Seeds, lab};
use nodeimg_lab::{Lab, Machine, Moment, Node};
use std::time::Duration;

/// Flushes from the first answer of the last node on, at most, until a birth is started.
const TO_THE_START: u64 = 40;
/// A round of questions that was under way when a node went dark is over: a connection is tried for 2 s.
const ROUND: Duration = Duration::from_secs(3);
/// The promise is never durable before: what containerd and the kernel keep comes in between.
const FIRST: u64 = 4;

/// cp3 loses its power at one flush after another, from the moment on at which the other two hear of it: before its promise
/// is durable, when it is and nobody has heard so, when the others have heard and start. Its disk is new each time.
pub fn around_promise_and_start() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    good(lab.power_on(&["cp1", "cp2"]));
    let (mut unpromised, mut promised) = (0, 0);
    let last = (FIRST..TO_THE_START).find(|flush| {
        cut_last(&lab, *flush, Moment::After);
        if !births(&lab).is_empty() {
            return true;
        }
        if has(&lab, "cp3", "promised") {
            promised += 1
        } else {
            unpromised += 1
        }
        good(lab.node("cp3").wipe_disk());
        false
    });
    let last = last.expect("a birth is started");
    println!(
        "  cuts of cp3: {unpromised} before its promise, {promised} after it; at flush {last} a birth is started"
    );
    assert_eq!(births(&lab).len(), 1);
    good(lab.node("cp3").power_on());
    good(lab.until_ready(&ALL, READY));
    one_cluster(&lab, &ALL);
}

/// Until all three have promised and nobody has started; cp3 is off then. cp1 and cp2 run.
pub fn until_promised(lab: &Lab) {
    good(lab.power_on(&["cp1", "cp2"]));
    for flush in FIRST..TO_THE_START {
        cut_last(lab, flush, Moment::After);
        if births(lab).is_empty() && has(lab, "cp3", "promised") {
            return;
        }
        // The flush after which nobody has heard of the promise was missed: again, from the beginning.
        if !births(lab).is_empty() {
            good(lab.power_cut(&["cp1", "cp2"]));
            ["cp1", "cp2"].iter().for_each(|n| good(lab.node(n).wipe_disk()));
            good(lab.power_on(&["cp1", "cp2"]));
        }
        good(lab.node("cp3").wipe_disk());
    }
    panic!("no cut left cp3 with a promise of which nobody had heard");
}

/// Boots cp3 beside the others, unheard, then lets them hear each other, and cuts it at the n-th flush from then on.
fn cut_last(lab: &Lab, flush: u64, moment: Moment) {
    let node = lab.node("cp3");
    good(lab.partition(&["cp1", "cp2"], &["cp3"]));
    good(node.power_on());
    good(lab.until("all to wait", READY, || {
        waits_for(lab, "cp3", "cp1") && waits_for(lab, "cp1", "cp3") && waits_for(lab, "cp2", "cp3")
    }));
    good(node.cut_at_flush(flush, moment));
    good(lab.heal());
    until_off(lab, node);
    // Whether the others have heard enough to start shows when they have asked in vain.
    let since = std::time::Instant::now();
    good(lab.until("the others to start, or to wait", READY, || {
        !births(lab).is_empty() || since.elapsed() > ROUND
    }));
}

fn until_off(lab: &Lab, node: &Node) {
    good(lab.until(&format!("the cut of {}", node.name()), READY, || !node.is_on()));
}

fn has(lab: &Lab, node: &str, field: &str) -> bool {
    good(lab.records())[node].record.as_ref().is_some_and(|r| r.get(field).is_some())
}

/// One of three loses its power at a flush on the way from power-on to Ready, comes back, and they are one cluster: for
/// flush after flush, on blank disks each time.
pub fn at_every_flush() {
    let seeds = Seeds::new("lab", &THREE);
    let lab = lab(&seeds, &ALL);
    let mut born = 0;
    good(lab.power_on(&ALL));
    good(lab.until("a birth", READY, || {
        born = lab.node("cp1").flushes();
        has(&lab, "cp1", "started")
    }));
    good(lab.until_ready(&ALL, READY));
    let ready = lab.node("cp1").flushes();
    println!("  flushes of cp1: {born} until its birth begins, {ready} until it is Ready");
    one_cluster(&lab, &ALL);
    for (number, flush) in chosen(born, ready).into_iter().enumerate() {
        let victim = lab.node(ALL[number % ALL.len()]);
        let moment = if number % 2 == 0 { Moment::After } else { Moment::Before };
        good(lab.power_cut(&ALL));
        ALL.iter().for_each(|n| good(lab.node(n).wipe_disk()));
        good(victim.cut_at_flush(flush, moment));
        good(lab.power_on(&ALL));
        until_off(&lab, victim);
        let begun = good(lab.records())[victim.name()]
            .record
            .as_ref()
            .map_or(0, |r| r.as_object().map_or(0, |o| o.len()));
        assert!(births(&lab).len() <= 1, "one birth at most");
        good(victim.power_on());
        good(lab.until_ready(&ALL, READY));
        println!(
            "  {} cut {moment:?} flush {flush} ({begun} fields in its record): one cluster",
            victim.name()
        );
        one_cluster(&lab, &ALL);
    }
}

/// `NODEIMG_LAB_CUTS`, as FROM..TO/STEP; else a sample, closer before the birth than after it.
fn chosen(born: u64, ready: u64) -> Vec<u64> {
    const SAMPLE: u64 = 5;
    let Ok(asked) = std::env::var("NODEIMG_LAB_CUTS") else {
        let spread = |from: u64, to: u64| {
            (0..SAMPLE).map(move |n| from + (to.saturating_sub(from)) * n / SAMPLE).collect::<Vec<_>>()
        };
        return [spread(1, born), spread(born, ready)].concat();
    };
    let number = |text: &str| {
        text.parse::<u64>().unwrap_or_else(|_| panic!("NODEIMG_LAB_CUTS: {text:?} is no number"))
    };
    let (range, step) = asked.split_once('/').unwrap_or((&asked, "1"));
    let (from, to) = range.split_once("..").expect("NODEIMG_LAB_CUTS is FROM..TO/STEP");
    let step = usize::try_from(number(step).max(1)).unwrap_or(1);
    (number(from)..=number(to)).step_by(step).collect()
}
