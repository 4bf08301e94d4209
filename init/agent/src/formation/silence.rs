//! For how long nothing is heard of a member that may have to go: by the word of the others, and by this node's own look.
//!
//! The other voters' nodeinits tell when they last had contact with it. Voters that nodeimg did not make (of an adopted
//! cluster) have no nodeinit, and no line in the cluster's record: nobody can be asked there. Among such voters this node
//! watches for itself: etcd does not reach the member, nobody answers at its address, its Node is not Ready, in look after
//! look. Takes time only; removes nothing.

use super::Formation;
use nodeimg_contract::birth::Incarnation;
use nodeimg_contract::image::Role;
use nodeimg_contract::peer::PORT;
use nodeimg_init_core::etcd_gateway::{CLIENT_PORT, PEER_PORT};
use nodeimg_init_core::formation::{ClusterRecord, EtcdMember, NodeSeen, QUIET, Silence};
use nodeimg_init_core::peer::Contact;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// For somebody who answers at a stale member's address.
const CONNECT: Duration = Duration::from_secs(2);

/// What this node has seen of a silent member.
#[derive(Debug, Default)]
pub struct Watch(Option<Watched>);

#[derive(Debug)]
struct Watched {
    incarnation: Incarnation,
    since: Instant,
    last: Instant,
}

impl Watch {
    /// One look more; gives for how long it was silent in every look. Looks that lie too far apart saw nothing between.
    fn saw(&mut self, incarnation: &Incarnation, is_silent: bool, now: Instant) -> Duration {
        let goes_on =
            |w: &Watched| w.incarnation == *incarnation && now.saturating_duration_since(w.last) < QUIET;
        let since = self.0.as_ref().filter(|w| goes_on(w)).map_or(now, |w| w.since);
        self.0 = is_silent.then(|| Watched { incarnation: incarnation.clone(), since, last: now });
        if is_silent { now.saturating_duration_since(since) } else { Duration::ZERO }
    }
}

/// The member that is looked at, and what is known of whoever ran it.
pub struct Suspect<'a> {
    pub member: &'a EtcdMember,
    /// Its name and incarnation, by the cluster's record.
    pub name: &'a str,
    pub incarnation: &'a Incarnation,
}

/// How much is heard of another node's learner. Its address is asked last: that takes seconds at a dead one.
pub fn of_learner(
    f: &Formation<'_>,
    record: &ClusterRecord,
    learner: &EtcdMember,
    members: &[EtcdMember],
    node: impl Fn(&str) -> NodeSeen,
) -> Silence {
    let Some((name, incarnation)) = record.owner_of(learner.id, learner.address) else {
        return Silence::default();
    };
    let suspect = Suspect { member: learner, name, incarnation };
    let quiet = quiet(f, record, &suspect, members, || node(name));
    Silence { quiet, answers: quiet < QUIET || answers(f, learner.address) }
}

/// For how long every other healthy voter's nodeinit has had no contact with this incarnation, which runs or ran under this
/// name; where there are voters without one, for how long this node saw nothing of it, too. A voter that does not answer, or
/// does not watch it, has just heard of it for all that is known.
pub fn quiet(
    f: &Formation<'_>,
    record: &ClusterRecord,
    suspect: &Suspect<'_>,
    members: &[EtcdMember],
    node: impl Fn() -> NodeSeen,
) -> Duration {
    let Suspect { member, name, incarnation } = *suspect;
    if f.memory.incarnation.borrow().as_ref() == Some(incarnation) {
        return Duration::ZERO;
    }
    let voters = members.iter().filter(|m| !m.learner && m.healthy && m.name != name);
    let (ours, strangers): (Vec<_>, Vec<_>) = voters.partition(|m| has_nodeinit(record, m));
    let own = (!strangers.is_empty()).then(|| {
        // Where no API server runs nothing is known of Nodes; nobody adopts such an etcd.
        let is_silent = f.config.role.value == Role::ControlPlane
            && !member.healthy
            && node() != NodeSeen::Ready
            && (Some(member.address) == f.config.address || !answers(f, member.address));
        f.memory.watch.borrow_mut().saw(incarnation, is_silent, Instant::now())
    });
    let heard = ours.into_iter().map(|m| {
        let hello = f.desk.ask(&m.name.parse().ok()?, m.address).ok()?;
        let contact = |c: &&Contact| c.name.as_str() == name && c.incarnation == *incarnation;
        hello.last_contact.iter().filter(contact).map(|c| c.seconds).min()
    });
    let heard = heard.map(|s| Duration::from_secs(s.unwrap_or(0)));
    heard.chain(own).min().unwrap_or_default()
}

/// Whether the cluster's record knows who runs a member: then a nodeinit does.
fn has_nodeinit(record: &ClusterRecord, member: &EtcdMember) -> bool {
    record.members().contains_key(&member.name) || record.owner_of(member.id, member.address).is_some()
}

/// Whether anybody takes a connection there that a control plane takes.
pub fn answers(f: &Formation<'_>, address: IpAddr) -> bool {
    [PORT, PEER_PORT, CLIENT_PORT, f.config.api_port()]
        .into_iter()
        .any(|port| TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_first_of_looks_in_a_row() {
        let (one, other) = (Incarnation("1".repeat(32)), Incarnation("2".repeat(32)));
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut watch = Watch::default();
        let mut saw = |of: &Incarnation, silent, second| watch.saw(of, silent, at(second)).as_secs();
        assert_eq!(saw(&one, true, 0), 0, "the first look has seen nothing before");
        assert_eq!(saw(&one, true, 40), 40);
        assert_eq!(saw(&one, true, 61), 61);
        assert_eq!(saw(&one, false, 65), 0, "it answered");
        assert_eq!(saw(&one, true, 70), 0);
        assert_eq!(saw(&one, true, 100), 30);
        assert_eq!(saw(&other, true, 101), 0, "another one");
        assert_eq!(saw(&other, true, 101 + QUIET.as_secs()), 0, "nobody looked in between");
    }
}
