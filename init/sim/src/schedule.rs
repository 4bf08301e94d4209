//! One schedule: a seed and the adversary's blows. The same schedule always goes the same way; one that violates a
//! property is made shorter by leaving blows out, and can be written down and run again.

use crate::adversary::Blow;
use crate::diagram::Ways;
use crate::mutant::Mutant;
use crate::plan;
use crate::random::Random;
use crate::verdict::Outcome;
use crate::world::{Setting, World};
use nodeimg_contract::birth::Method;
use nodeimg_init_core::formation::Kind;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Of the world.
    pub setting: Setting,
    /// Of the scheduler, the network, and etcd's luck.
    pub seed: u64,
    /// Moments before the adversary stops.
    pub moments: usize,
    /// What it does, by moment.
    pub blows: Vec<(usize, Blow)>,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn of(seed: u64, listed: usize, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(seed ^ 0x6e6f_6465_696d_6721);
        let method = if random.chance(15) { Method::First } else { Method::Quorum };
        let loss = if random.chance(50) { 0 } else { random.below(30) };
        let narrow = random.chance(40);
        let most = if listed > 3 { 700 } else { 450 };
        let most = if random.chance(30) { most / 4 } else { most };
        let moments = 60 + random.below(most);
        let blows = plan::plan(&mut random, listed, moments);
        let guest = if random.chance(25) { Kind::Lb } else { Kind::Worker };
        Self { setting: Setting { listed, method, loss, narrow, guest, mutant }, seed, moments, blows }
    }

    /// Runs it. `trace`: keep what happened, for people.
    pub fn run(&self, trace: bool) -> (Outcome, Vec<String>) {
        let mut world = World::new(self.setting.clone(), self.seed);
        world.trace = trace.then(Vec::new);
        let outcome = self.run_in(&mut world);
        (outcome, world.trace.unwrap_or_default())
    }

    /// Runs it, for the ways that its machines go.
    pub fn ways(&self) -> Ways {
        let mut world = World::new(self.setting.clone(), self.seed);
        world.ways = Some(Ways::default());
        self.run_in(&mut world);
        world.ways.unwrap_or_default()
    }

    fn run_in(&self, world: &mut World) -> Outcome {
        let mut blows = self.blows.iter().peekable();
        let mut back: Vec<(usize, usize)> = Vec::new();
        for moment in 0..self.moments {
            while let Some((_, blow)) = blows.next_if(|(at, _)| *at <= moment) {
                if let Some((m, after)) = world.strike(*blow) {
                    back.push((moment + after, m));
                }
            }
            let due: Vec<usize> = back.iter().filter(|(at, _)| *at <= moment).map(|(_, m)| *m).collect();
            back.retain(|(at, _)| *at > moment);
            for m in due {
                world.power_on(m);
            }
            world.moment();
            if let Some(violation) = world.violation.clone() {
                return Outcome::Violated(violation);
            }
        }
        world.calm_down();
        world.settle()
    }

    /// The shortest schedule found that still violates a property in the same way.
    pub fn shrunk(&self) -> Self {
        let (Outcome::Violated(violation), _) = self.run(false) else { return self.clone() };
        let same = |s: &Self| match s.run(false).0 {
            Outcome::Violated(v) => std::mem::discriminant(&v) == std::mem::discriminant(&violation),
            _ => false,
        };
        let mut best = self.clone();
        loop {
            let mut shorter = Vec::new();
            for n in 0..best.blows.len() {
                let mut s = best.clone();
                s.blows.remove(n);
                shorter.push(s);
            }
            for cut in [best.moments / 2, best.moments * 3 / 4, best.moments * 9 / 10] {
                if cut < best.moments {
                    let blows = best.blows.iter().copied().filter(|(at, _)| *at < cut).collect();
                    shorter.push(Self { moments: cut, blows, ..best.clone() });
                }
            }
            if best.setting.loss > 0 {
                shorter.push(Self { setting: Setting { loss: 0, ..best.setting.clone() }, ..best.clone() });
            }
            match shorter.into_iter().find(same) {
                Some(s) => best = s,
                None => return best,
            }
        }
    }

    /// As text, for `--replay`.
    pub fn to_text(&self) -> String {
        let s = &self.setting;
        let mut text = format!(
            "formation-sim 3\nnodes {}\nmethod {}\nloss {}\nendpoint {}\nguest {}\nmutant {}\nseed {}\nmoments {}\n",
            s.listed,
            if s.method == Method::First { "first" } else { "quorum" },
            s.loss,
            if s.narrow { "listed" } else { "everybody" },
            if s.guest == Kind::Lb { "lb" } else { "worker" },
            s.mutant.map_or("none", Mutant::name),
            self.seed,
            self.moments
        );
        for (at, blow) in &self.blows {
            text.push_str(&format!("at {at} {blow:?}\n"));
        }
        text
    }

    /// Reads [`Schedule::to_text`]; `None` if it is not one.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|l| !l.trim().is_empty());
        if lines.next()? != "formation-sim 3" {
            return None;
        }
        let mut value = |key: &str| lines.next()?.strip_prefix(key).map(|v| v.trim().to_owned());
        let listed = value("nodes")?.parse().ok()?;
        let method = if value("method")? == "first" { Method::First } else { Method::Quorum };
        let loss = value("loss")?.parse().ok()?;
        let narrow = value("endpoint")? == "listed";
        let guest = if value("guest")? == "lb" { Kind::Lb } else { Kind::Worker };
        let mutant = match value("mutant")?.as_str() {
            "none" => None,
            name => Some(Mutant::named(name)?),
        };
        let seed = value("seed")?.parse().ok()?;
        let moments = value("moments")?.parse().ok()?;
        let blows = lines
            .map(|line| {
                let (at, blow) = line.strip_prefix("at ")?.split_once(' ')?;
                Some((at.parse().ok()?, Blow::from_text(blow, listed)?))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { setting: Setting { listed, method, loss, narrow, guest, mutant }, seed, moments, blows })
    }
}
