//! The end of a schedule: the adversary has stopped, everybody is on and hears everybody. Who is not steady has a reason
//! by name, and the reason must be explained by what was done to the disks.

use crate::machine::Machine;
use crate::world::{Violation, World};
use nodeimg_contract::birth::{Birth, BirthId};
use nodeimg_init_core::formation::{Action, Refusal, Wait};

/// How a schedule ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// One cluster, everybody steady.
    Steady,
    /// One cluster; who is not steady refuses what was done to its disk, or waits for such a node.
    SteadyButHurt,
    /// Two births: the data of one was only on nodes outside of the list, of which nobody could hear when the other began.
    Apart,
    /// A birth's majority of disks is gone or refuses; the rest waits by name.
    QuorumLost,
    /// A property does not hold.
    Violated(Violation),
}

impl World {
    /// After [`World::calm_down`]: runs until nothing changes any more, and judges.
    pub fn settle(&mut self) -> Outcome {
        for _ in 0..MOMENTS {
            if let Some(violation) = &self.violation {
                return Outcome::Violated(violation.clone());
            }
            let everybody = self.ours().all(|m| matches!(m.last, Some(Action::Steady)));
            if (everybody && self.is_one()) || self.time - self.changed > QUIET {
                return self.judge();
            }
            self.moment();
        }
        Outcome::Violated(Violation::Stuck("something changes for ever".into()))
    }

    fn ours(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|m| !m.clone)
    }

    /// Everybody belongs to one birth.
    fn is_one(&self) -> bool {
        let births: Vec<Option<BirthId>> = self.ours().map(cluster_of).collect();
        births.windows(2).all(|w| w[0] == w[1])
    }

    fn judge(&mut self) -> Outcome {
        let is_steady = |m: &&Machine| matches!(m.last, Some(Action::Steady));
        let rest: Vec<&Machine> = self.ours().filter(|m| !is_steady(m)).collect();
        if rest.is_empty() {
            return match self.is_one() {
                true => Outcome::Steady,
                false if self.births_of_the_list() <= 1 => Outcome::Apart,
                false => Outcome::Violated(Violation::TwoBirths),
            };
        }
        let hurt = self.ours().any(|m| m.hurt);
        let lost = self.lost_quorum();
        for m in &rest {
            let explained = match &m.last {
                Some(Action::Refuse(refusal)) => match refusal {
                    Refusal::EtcdDiskLost
                    | Refusal::EtcdDiskSwapped
                    | Refusal::EtcdDiskRolledBack
                    | Refusal::ForeignData
                    | Refusal::StateLost => m.hurt,
                    Refusal::Replaced => m.hurt || self.machines.iter().any(|c| c.clone),
                    Refusal::NoPermit => m.seeded.permit.is_none() && (hurt || lost),
                    Refusal::TwoBirths { .. } => self.has_two_births(),
                    // A guest keeps to the birth that it met, even after all its disks are gone.
                    Refusal::AnotherBirth { .. } => !m.seeded.kind.has_etcd() || self.has_two_births(),
                    _ => false,
                },
                Some(Action::Wait(wait)) => match wait {
                    Wait::Quorum(_) | Wait::OwnEtcd => lost,
                    Wait::StaleMember(_) | Wait::SickMember { .. } | Wait::Learner(_) | Wait::Cluster(_) => {
                        // A clone that had joined leaves a dead member behind.
                        let cloned = self.machines.iter().any(|c| c.clone);
                        hurt || lost || cloned || self.dead_members() > 1
                    }
                    _ => hurt || lost,
                },
                // The guest has no name for an endpoint that leads nowhere: that is its driver's.
                _ => lost || hurt,
            };
            if !explained {
                return Outcome::Violated(Violation::Stuck(format!("{:?}", kind(&m.last))));
            }
        }
        if lost { Outcome::QuorumLost } else { Outcome::SteadyButHurt }
    }

    /// Members listed in a living cluster whose disks are no more.
    fn dead_members(&self) -> usize {
        (0..self.tokens.len())
            .filter(|t| self.lives(*t))
            .map(|t| self.voters(t).iter().filter(|(id, slot)| !self.can_vote(t, *id, *slot)).count())
            .max()
            .unwrap_or(0)
    }

    /// Voters (id, slot) by the longest log that lives.
    fn voters(&self, token: usize) -> Vec<(u64, usize)> {
        let datas =
            self.machines.iter().filter_map(|m| m.etcd_disk.data.as_ref()).filter(|d| d.token == token);
        let Some(longest) = datas.max_by_key(|d| d.end()) else { return Vec::new() };
        let list = &self.lists[longest.members()];
        list.iter().filter(|l| !l.learner).map(|l| (l.id, l.slot)).collect()
    }

    fn can_vote(&self, token: usize, id: u64, slot: usize) -> bool {
        self.ours().any(|m| {
            let has = m.etcd_disk.data.as_ref().is_some_and(|d| d.token == token && d.id == id);
            // A participant that has not started yet still may.
            let may = m.etcd_disk.data.is_none()
                && !self.made.contains_key(&(token, id))
                && m.etcd_disk.record.as_ref().and_then(|r| r.started()).map(Birth::id).as_ref()
                    == self.tokens.get(token);
            m.slot == slot && (has || may) && !matches!(m.last, Some(Action::Refuse(_)))
        })
    }

    /// A birth whose data lives and whose voters' disks are not a majority any more; or one that somebody belongs to, and
    /// all its data is gone.
    fn lost_quorum(&self) -> bool {
        let is_gone = |t: usize| {
            let belongs = |m: &Machine| cluster_of(m).as_ref() == self.tokens.get(t);
            !self.truth[t].acknowledged.is_empty() && self.voters(t).is_empty() && self.ours().any(belongs)
        };
        (0..self.tokens.len()).any(|t| {
            if is_gone(t) {
                return true;
            }
            let voters = self.voters(t);
            let able = voters.iter().filter(|(id, slot)| self.can_vote(t, *id, *slot)).count();
            !voters.is_empty() && able * 2 <= voters.len()
        })
    }

    fn has_two_births(&self) -> bool {
        let of = |m: &Machine, t: usize| {
            m.etcd_disk.data.as_ref().is_some_and(|d| d.token == t && !d.log.is_empty())
        };
        let member =
            |m: &Machine, t: usize| m.seeded.kind.has_etcd() && cluster_of(m).as_ref() == self.tokens.get(t);
        let lives = |t: &usize| self.ours().any(|m| of(m, *t) || member(m, *t));
        (0..self.tokens.len()).filter(lives).count() > 1
    }

    /// Births of which disks of listed nodes hold data.
    fn births_of_the_list(&self) -> usize {
        (0..self.tokens.len()).filter(|t| self.lives(*t)).count()
    }
}

fn cluster_of(m: &Machine) -> Option<BirthId> {
    let record = m.etcd_disk.record.as_ref().and_then(|r| r.cluster());
    record.or_else(|| m.state_disk.node.as_ref().and_then(|n| n.birth().cloned()))
}

/// The reason without its particulars.
fn kind(last: &Option<Action>) -> String {
    let text = match last {
        Some(action) => format!("{action:?}"),
        None => "no reason".into(),
    };
    text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

/// Nothing durable has changed for so long (milliseconds): it is over.
const QUIET: u64 = 200_000;
/// More is a livelock.
const MOMENTS: usize = 30_000;
