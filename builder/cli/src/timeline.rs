//! The timeline of a boot: when which point was passed, as text, JSON and a picture.
//!
//! Takes the milestones of a [`NodeStatus`] and what was seen from outside; pure.

use nodeimg_contract::status::{Milestone, NodeStatus, milestone};
use std::fmt::Write;

/// One boot, from power-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// What the machine was: accelerator, processors, memory, way of booting.
    pub machine: String,
    /// Milliseconds from power-on to the kernel's first instruction (firmware and boot loader).
    pub firmware_ms: u64,
    /// Points in order, in milliseconds since power-on.
    pub points: Vec<Milestone>,
}

impl Timeline {
    /// From the last status of a boot. `power_on_ms` is how long the machine had been on when a status with
    /// `uptime_ms` arrived.
    pub fn new(machine: String, power_on_ms: u64, first: &NodeStatus, last: &NodeStatus) -> Self {
        let firmware_ms = power_on_ms.saturating_sub(first.uptime_ms);
        let points = last
            .milestones
            .iter()
            .map(|m| Milestone { name: m.name.clone(), at_ms: firmware_ms + m.at_ms })
            .collect();
        Self { machine, firmware_ms, points }
    }

    /// When a point was passed, in milliseconds since power-on.
    pub fn at(&self, name: &str) -> Option<u64> {
        self.points.iter().find(|m| m.name == name).map(|m| m.at_ms)
    }

    /// From nodeinit's start to containerd launched, in milliseconds: what nodeinit itself takes.
    pub fn nodeinit_ms(&self) -> Option<u64> {
        Some(self.at(milestone::CONTAINERD_LAUNCHED)?.saturating_sub(self.at(milestone::INIT)?))
    }

    fn rows(&self) -> Vec<(String, u64, u64)> {
        let mut rows = vec![("firmware".to_owned(), 0, self.firmware_ms)];
        let mut from = self.firmware_ms;
        for point in &self.points {
            let name = if point.name == milestone::INIT { "kernel" } else { &point.name };
            rows.push((name.to_owned(), from, point.at_ms));
            from = point.at_ms;
        }
        rows
    }

    /// A table with bars.
    pub fn text(&self) -> String {
        let rows = self.rows();
        let end = rows.last().map_or(1, |r| r.2).max(1);
        let mut out = format!("{}\n", self.machine);
        for (name, from, to) in &rows {
            let column = |ms: u64| (ms * 40 / end) as usize;
            let (a, b) = (column(*from), column(*to).max(column(*from) + 1));
            let bar = format!("{}{}", " ".repeat(a), "#".repeat(b - a));
            let _ = writeln!(out, "{name:<20} {:>8.2} s  |{bar:<41}|", *to as f64 / 1e3);
        }
        if let Some(ms) = self.nodeinit_ms() {
            let _ = writeln!(out, "nodeinit to containerd launched: {:.2} s", ms as f64 / 1e3);
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// Milliseconds since power-on by name.
    pub fn json(&self) -> String {
        let points: Vec<_> =
            self.points.iter().map(|m| serde_json::json!({ "name": m.name, "ms": m.at_ms })).collect();
        serde_json::json!({
            "machine": self.machine,
            "firmwareMs": self.firmware_ms,
            "points": points,
            "nodeinitMs": self.nodeinit_ms(),
        })
        .to_string()
    }

    /// A picture, 720 wide.
    pub fn svg(&self) -> String {
        let rows = self.rows();
        let end = rows.last().map_or(1, |r| r.2).max(1);
        let height = 40 + rows.len() * 22;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"720\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"18\">{}</text>\n",
            escape(&self.machine)
        );
        for (i, (name, from, to)) in rows.iter().enumerate() {
            let y = 30 + i * 22;
            let x = |ms: u64| 160.0 + ms as f64 * 470.0 / end as f64;
            let _ = writeln!(
                out,
                "<text x=\"150\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"#326ce5\"/>\
                 <text x=\"{:.1}\" y=\"{}\" fill=\"#555\">{:.1} s</text>",
                y + 12,
                escape(name),
                x(*from),
                y + 1,
                (x(*to) - x(*from)).max(1.0),
                x(*to) + 5.0,
                y + 12,
                *to as f64 / 1e3
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_contract::status::Phase;

    fn status(uptime_ms: u64, milestones: &[(&str, u64)]) -> NodeStatus {
        NodeStatus {
            schema: 1,
            sequence: 0,
            uptime_ms,
            node: None,
            phase: Phase::Steady,
            waiting: None,
            fault: None,
            warnings: vec![],
            milestones: milestones
                .iter()
                .map(|(n, at)| Milestone { name: (*n).to_owned(), at_ms: *at })
                .collect(),
            ready: None,
        }
    }

    #[test]
    fn firmware_is_what_the_kernel_did_not_see() {
        let first = status(1_000, &[]);
        let last = status(9_000, &[("init", 800), ("containerd-launched", 3_000), ("ready", 9_000)]);
        let t = Timeline::new("tcg <2>".into(), 3_500, &first, &last);
        assert_eq!((t.firmware_ms, t.at("ready"), t.nodeinit_ms()), (2_500, Some(11_500), Some(2_200)));
        assert!(t.text().lines().any(|l| l.starts_with("ready") && l.contains("11.50 s")), "{}", t.text());
        assert!(t.svg().contains("tcg &lt;2&gt;"));
    }
}
