//! Which blows fall in a schedule, and when: by chance, in groups that meet more often than chance would have it.

use crate::adversary::Blow;
use crate::random::Random;
use crate::world::machines;

/// Blows that go together, with their weights. A schedule leaves some groups out: what is left meets more often.
#[derive(Debug, Clone, Copy)]
enum Likes {
    Power,
    Wipe,
    WipeListed,
    WipePart,
    Detach,
    Copy,
    Link,
    Clock,
    Consent,
    Clone,
}

impl Likes {
    const ALL: [(Likes, usize); 10] = [
        (Likes::Power, 36),
        (Likes::Wipe, 10),
        (Likes::WipeListed, 3),
        (Likes::WipePart, 4),
        (Likes::Detach, 12),
        (Likes::Copy, 8),
        (Likes::Link, 16),
        (Likes::Clock, 4),
        (Likes::Consent, 5),
        (Likes::Clone, 6),
    ];

    fn some(random: &mut Random) -> Vec<(Likes, usize)> {
        let all = random.chance(30);
        let mut stays = |likes: &(Likes, usize)| all || matches!(likes.0, Likes::Power) || random.chance(50);
        Self::ALL.into_iter().filter(|l| stays(l)).collect()
    }
}

/// One at random.
fn blow(random: &mut Random, listed: usize, likes: &[(Likes, usize)]) -> Blow {
    let all = machines(listed);
    let any = random.below(all);
    let node = random.below(listed);
    let mut luck = random.below(likes.iter().map(|(_, weight)| weight).sum());
    let chosen = likes.iter().find(|(_, weight)| {
        let here = luck < *weight;
        luck = luck.saturating_sub(*weight);
        here
    });
    match chosen.map_or(Likes::Power, |(likes, _)| *likes) {
        Likes::Power if random.chance(72) => {
            Blow::Cut(any, if random.chance(70) { 1 + random.below(60) } else { 0 })
        }
        Likes::Power => Blow::On(any),
        Likes::Wipe => Blow::Wipe(node),
        Likes::WipeListed => Blow::WipeListed,
        Likes::WipePart if random.chance(50) => Blow::WipeEtcd(node),
        Likes::WipePart => Blow::WipeState(node),
        Likes::Detach if random.chance(50) => Blow::Detach(node, random.chance(50)),
        Likes::Detach => Blow::Attach(node),
        Likes::Copy => match random.below(8) {
            0..4 => Blow::Copy(node),
            4..7 => Blow::RollbackEtcd(node),
            _ => Blow::RollbackState(node),
        },
        Likes::Link if random.chance(75) => Blow::Link(any, random.below(all)),
        Likes::Link => Blow::Heal,
        Likes::Clock => Blow::Clock(node),
        Likes::Consent => Blow::Consent(node, random.below(listed + 1)),
        Likes::Clone if random.chance(50) => Blow::Clone(node),
        Likes::Clone => Blow::Address(node),
    }
}

/// Blows that meet seldom by chance and do much together, at one node. Gives who is switched on late, and when.
fn theme(
    random: &mut Random,
    listed: usize,
    moments: usize,
    plan: &mut Vec<(usize, Blow)>,
) -> Option<(usize, usize)> {
    let node = random.below(listed);
    match random.below(3) {
        // While all agree, disks are exchanged.
        0 => {
            for _ in 0..1 + random.below(3) {
                plan.push((random.below(100), Blow::Wipe(random.below(listed))));
            }
            None
        }
        // Two machines join under one name.
        1 => {
            let from = moments / 3 + random.below(moments / 2);
            plan.push((from, Blow::Wipe(node)));
            plan.push((from + random.below(30), Blow::Clone(node)));
            for _ in 0..1 + random.below(4) {
                plan.push((from + random.below(90), Blow::Address(node)));
            }
            plan.push((from + random.below(90), Blow::Cut(node, 1 + random.below(30))));
            None
        }
        // Consent to a birth without a node that comes after all.
        _ => {
            let from = random.below(60);
            let at = if random.chance(60) { listed } else { random.below(listed) };
            if random.chance(50) {
                plan.push((from, Blow::Consent(node, at)));
                // And is gone again, when it may have begun.
                if random.chance(50) {
                    let comes = from + 1 + random.below(12);
                    plan.push((comes + 30 + random.below(60), Blow::Cut(node, 60)));
                    return Some((node, comes));
                }
                return Some((node, from + 1 + random.below(60)));
            }
            // It has promised.
            plan.push((from, Blow::Cut(node, 2 + random.below(30))));
            plan.push((from + 1 + random.below(10), Blow::Consent(node, at)));
            Some((node, 0))
        }
    }
}

/// The blows of a schedule, each with its moment.
pub fn plan(random: &mut Random, listed: usize, moments: usize) -> Vec<(usize, Blow)> {
    let many = random.below(14);
    let likes = Likes::some(random);
    let mut plan: Vec<(usize, Blow)> =
        (0..many).map(|_| (random.below(moments), blow(random, listed, &likes))).collect();
    let late = if random.chance(40) { theme(random, listed, moments, &mut plan) } else { None };
    // Who is on at the start; the rest comes on some time.
    for m in 0..machines(listed) {
        let at = match late {
            Some((late, at)) if late == m => at,
            _ if random.chance(60) => 0,
            _ => random.below(moments),
        };
        plan.push((at, Blow::On(m)));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}
