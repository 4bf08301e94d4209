//! Formation: does what init/core's machine decides, until the node is Ready, and then watches it.
//!
//! Takes: a [`NodeConfig`], the image's facts, a [`Desk`] for talk with other nodeinits, and the [`Host`] that starts and
//! stops the kubelet.
//! Gives: a node of one cluster; phases, milestones, waits and faults on the [`Reporter`].
//! May touch: `/etc/kubernetes`, `/etc/cni/net.d`, `/var/lib/{etcd,kubelet,nodeimg}`, `/run/nodeimg`, the own API server,
//! etcd's members, other control planes' API servers while it joins.
//! Never does: start the kubelet without the machine's gate, run a step that the cluster has recorded, write a secret
//! into a log or a file that others can read.

mod addons;
mod api;
mod book;
mod certs;
mod cni;
mod desk;
mod door;
mod endpoint;
mod etcd;
mod external;
pub mod files;
mod guest;
mod https;
mod last_words;
mod lease;
mod look;
mod nodes;
mod outside;
mod perform;
mod phases;
mod prepare;
mod records;
mod roles;
mod silence;
mod steps;
mod tokens;
mod versions;
mod voters;
mod watch;
mod ways_out;

pub use desk::Desk;
pub use ways_out::{carry_out, recover, remove_member, reset};

use crate::process::Processes;
use crate::report::{Reporter, WaitGuard};
use nodeimg_contract::birth::Incarnation;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_contract::status::{Phase, milestone};
use nodeimg_init_core::formation::{Action, Event, Now, Refusal, Seeded, State, Wait, step};
use nodeimg_init_core::node_config::NodeConfig;
use std::cell::{Cell, RefCell};
use std::mem::Discriminant;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause after a failed action; doubled each time up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks at a gate that stays shut.
const REFUSED: Duration = Duration::from_secs(5);

/// Resolves the endpoint's name by DNS; the error says what went wrong.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>;

/// What formation may do to the node that it forms.
pub trait Host {
    /// Starts the kubelet with these arguments, supervised.
    fn start_kubelet(&self, arguments: Vec<String>) -> Result<(), Fault>;
    /// Stops the kubelet; its pods go on.
    fn stop_kubelet(&self);
    /// Ends the static pods that a stopped kubelet left running.
    fn stop_pods(&self);
    /// Orderly shutdown, then start again. Returns at once.
    fn reboot(&self);
}

/// What formation works with.
pub struct Formation<'a> {
    /// Where it tells what it does.
    pub reporter: Reporter,
    /// How it runs programs.
    pub processes: Processes,
    /// What this node is to be.
    pub config: NodeConfig,
    /// What the image is.
    pub image: RootManifest,
    /// Where it talks with other nodeinits.
    pub desk: Desk,
    /// DNS.
    pub resolve: Resolve<'a>,
    /// The node.
    pub host: &'a dyn Host,
    /// Set when the node goes down: formation returns soon after.
    pub stop: &'a AtomicBool,
    /// What is remembered between two actions.
    pub memory: Memory,
}

/// What is remembered between two actions of one boot; nothing here decides.
#[derive(Default)]
pub struct Memory {
    /// When the kubelet was started, by the clock that it has.
    opened: Cell<Option<jiff::Timestamp>>,
    /// Certificates and kubeconfigs of this boot's seed are written.
    credentials: Cell<bool>,
    /// Through whom a joining node looks at its cluster.
    way: Cell<Option<look::Way>>,
    /// The own etcd file system.
    incarnation: RefCell<Option<Incarnation>>,
    lease: RefCell<lease::Watched>,
    /// A member that may have to go, as a joining node sees it.
    watch: RefCell<silence::Watch>,
    /// End of the kubelet's certificate that is on the disk for good.
    durable: Cell<Option<jiff::Timestamp>>,
    /// A worker's.
    door: RefCell<Option<door::Door>>,
    /// The wait for the own API server, over several tries.
    api_wait: RefCell<Option<WaitGuard>>,
    /// The wait for the Node to be Ready, over several tries.
    node_wait: RefCell<Option<WaitGuard>>,
    /// The own API server was waited for in this boot.
    waited: Cell<bool>,
    /// The wait for the endpoint, over several tries, by its fault.
    endpoint_wait: RefCell<Option<(Code, WaitGuard)>>,
    /// The endpoint's addresses, and when DNS was asked for them.
    addresses: RefCell<Option<(Instant, Vec<IpAddr>)>>,
    /// It was said that a server of another CA answers behind the endpoint.
    elsewhere: Cell<bool>,
    /// How often an API server behind the endpoint took a connection and gave no good answer.
    turned_away: Cell<usize>,
    /// What this control plane could not put into its cluster.
    not_kept: RefCell<Option<Fault>>,
    /// Looks at the node without an answer, in a row.
    missed: Cell<u32>,
    steady: Cell<bool>,
    /// Looks at the node since it was steady.
    rounds: Cell<u64>,
}

/// What the console shows between two actions: one wait of a kind goes on over many rounds.
#[derive(Default)]
struct Shown {
    wait: Option<(Discriminant<Wait>, WaitGuard)>,
    refusal: Option<Refusal>,
    failed: Option<Failed>,
}

/// An action that failed, and is asked for again after a look around.
struct Failed {
    action: Discriminant<Action>,
    fault: Fault,
    pause: Duration,
}

impl Formation<'_> {
    /// Forms, or opens the gate of what was formed before, then watches the node. Returns when `stop` is set.
    pub fn run(&self) {
        self.reporter.phase(Phase::Formation);
        cni::watch(&self.reporter, &self.image.addons);
        let mut state = State::new(Seeded::new(&self.config, &self.image.addons));
        let Some(disks) = self.insist(records::read) else { return };
        if let Event::Disks { record, node, .. } = &disks {
            perform::remember(self, record);
            if self.config.role.value == Role::Worker {
                let Some(door) = self.insist(|| door::Door::open(self)) else { return };
                *self.memory.door.borrow_mut() = Some(door);
            }
            perform::remember_node(self, node);
        }
        let mut event = disks;
        let mut shown = Shown::default();
        loop {
            let (next, actions) = step(&state, event, now());
            state = next;
            self.desk.says(state.standing());
            let Some(action) = actions.into_iter().next() else { return };
            shown.before(self, &action);
            let done = match action {
                Action::Steady => self.steady(),
                Action::Refuse(refusal) => shown.refuse(self, refusal),
                Action::Wait(wait) => shown.wait(self, wait),
                action if self.depends_on_others(&action) => self.attempt(&mut shown, &action),
                action => self.insist(|| perform::perform(self, &action)),
            };
            let Some(done) = done else { return };
            event = done;
        }
    }

    /// Nothing is left to do: one look at the node, then time has passed.
    fn steady(&self) -> Option<Event> {
        if !self.memory.steady.replace(true) {
            self.reporter.milestone(milestone::STEADY);
            self.reporter.phase(Phase::Steady);
        }
        watch::round(self).then_some(Event::Tick)
    }

    /// Tries once. If it fails, time has passed, and the machine looks around before it asks again: what stands in the way
    /// may be another cluster behind the endpoint, or a majority that is lost. The fault stays until it works, or until
    /// something else is done.
    fn attempt(&self, shown: &mut Shown, action: &Action) -> Option<Event> {
        match perform::perform(self, action) {
            Ok(done) => {
                shown.forget_failure(self);
                Some(done)
            }
            Err(_) if self.stopping() => None,
            Err(fault) => {
                let pause = shown.fails(self, action, fault);
                self.pause(pause).then_some(Event::Tick)
            }
        }
    }

    /// Tries until it works, with a fault in between; `None` when the node goes down.
    fn insist<T>(&self, mut attempt: impl FnMut() -> Result<T, Fault>) -> Option<T> {
        let mut pause = FIRST_PAUSE;
        let mut shown: Option<Fault> = None;
        // One lost answer of a steady node is a restart of the API server, not news.
        let mut quietly = if self.memory.steady.get() { 3 } else { 0 };
        loop {
            if self.stopping() {
                return None;
            }
            match attempt() {
                Ok(done) => {
                    if let Some(f) = shown {
                        self.reporter.clear_fault_of(f.code, &f.object);
                    }
                    return Some(done);
                }
                Err(_) if quietly > 0 => quietly -= 1,
                Err(fault) => {
                    if self.stopping() {
                        return None;
                    }
                    if let Some(f) = shown.filter(|f| (f.code, &f.object) != (fault.code, &fault.object)) {
                        self.reporter.clear_fault_of(f.code, &f.object);
                    }
                    self.reporter.fault(fault.clone());
                    shown = Some(fault);
                }
            }
            if !self.pause(pause) {
                return None;
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Whether an action needs more than this node's own disks: that it fails may be for others to explain.
    fn depends_on_others(&self, action: &Action) -> bool {
        match action {
            Action::RunSteps(_) | Action::RunNodeSteps | Action::RenderKubelet => true,
            Action::OpenGate(_) => self.config.role.value == Role::Worker,
            _ => false,
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps; `false` when the node goes down meanwhile.
    fn pause(&self, long: Duration) -> bool {
        !crate::process::poll(long, Duration::from_millis(250).min(long), || self.stopping())
    }
}

impl Shown {
    /// What was shown goes when something is done; questions are part of a wait.
    fn before(&mut self, f: &Formation<'_>, next: &Action) {
        let asks = matches!(
            next,
            Action::AskPeers
                | Action::LookAtCluster(_)
                | Action::ReadClusterRecord
                | Action::AskExternalEtcd
                | Action::HoldLease
                | Action::AwaitApi
                | Action::Promote
                | Action::AddLearner
        );
        if !matches!(next, Action::Wait(_)) && !asks && self.wait.take().is_some() {
            f.desk.waits_for(None);
        }
        if !matches!(next, Action::Refuse(_)) && !asks {
            self.forget_refusal(f);
        }
        let again = self.failed.as_ref().is_some_and(|failed| failed.action == std::mem::discriminant(next));
        if !asks && !again {
            self.forget_failure(f);
        }
    }

    /// Gives how long to pause.
    fn fails(&mut self, f: &Formation<'_>, action: &Action, fault: Fault) -> Duration {
        let pause = self.failed.as_ref().map_or(FIRST_PAUSE, |before| (before.pause * 2).min(MAX_PAUSE));
        if self
            .failed
            .as_ref()
            .is_some_and(|b| (b.fault.code, &b.fault.object) != (fault.code, &fault.object))
        {
            self.forget_failure(f);
        }
        f.reporter.fault(fault.clone());
        self.failed = Some(Failed { action: std::mem::discriminant(action), fault, pause });
        pause
    }

    fn forget_failure(&mut self, f: &Formation<'_>) {
        if let Some(Failed { fault, .. }) = self.failed.take() {
            f.reporter.clear_fault_of(fault.code, &fault.object);
        }
    }

    fn forget_refusal(&mut self, f: &Formation<'_>) {
        if let Some(refusal) = self.refusal.take() {
            let fault = refusal.fault();
            f.reporter.clear_fault_of(fault.code, &fault.object);
            f.desk.waits_for(None);
        }
    }

    fn refuse(&mut self, f: &Formation<'_>, refusal: Refusal) -> Option<Event> {
        self.wait = None;
        if self.refusal.as_ref() != Some(&refusal) {
            self.forget_refusal(f);
            f.reporter.fault(refusal.fault());
            f.desk.waits_for(Some(refusal.to_string()));
            self.refusal = Some(refusal);
        }
        f.pause(REFUSED).then_some(Event::Tick)
    }

    fn wait(&mut self, f: &Formation<'_>, wait: Wait) -> Option<Event> {
        let kind = std::mem::discriminant(&wait);
        let what = wait.to_string();
        let fault = match wait {
            Wait::OwnEtcd | Wait::Cluster(_) => last_words::explain(f, wait.fault()),
            _ => wait.fault(),
        };
        f.desk.waits_for(Some(what.clone()));
        match &self.wait {
            Some((same, guard)) if *same == kind => guard.now_for(what, fault.cause),
            _ => self.wait = Some((kind, f.reporter.waiting(what, wait.deadline(), fault))),
        }
        f.pause(wait.pause()).then_some(Event::Tick)
    }
}

fn now() -> Now {
    Now { monotonic: Duration::from_millis(crate::report::uptime_ms()), wall: crate::clock::now() }
}
