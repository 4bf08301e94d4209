//! Formation: does what init/core's machine decides, until the node is Ready, and then watches it.
//!
//! Takes: a [`NodeConfig`], the image's facts, and a way to start the kubelet (the caller supervises it).
//! Gives: a control plane of one cluster; phases, milestones, waits and faults on the [`Reporter`].
//! May touch: `/etc/kubernetes`, `/etc/cni/net.d`, `/var/lib/{etcd,kubelet,nodeimg}`, `/run/nodeimg`, the own API server.
//! Never does: start the kubelet without the machine's gate, run a step that the cluster has recorded, write a secret
//! into a log or a file that others can read.

mod addons;
mod api;
mod cni;
mod endpoint;
mod files;
mod nodes;
mod phases;
mod prepare;
mod records;

use crate::process::Processes;
use crate::report::Reporter;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::image::RootManifest;
use nodeimg_contract::status::{Phase, milestone};
use nodeimg_init_core::formation::{Action, ClusterStep, Event, Now, Seeded, State, step};
use nodeimg_init_core::kubeadm;
use nodeimg_init_core::node_config::NodeConfig;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Pause after a failed action; doubled each time up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks at a node that is steady, or at a gate that stays shut.
const LOOK: Duration = Duration::from_secs(10);

/// Starts the kubelet with these arguments, supervised. Called at most once a boot.
pub type StartKubelet<'a> = &'a mut dyn FnMut(Vec<String>) -> Result<(), Fault>;
/// Resolves the endpoint's name by DNS; the error says what went wrong.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>;

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
    /// DNS.
    pub resolve: Resolve<'a>,
    /// Set when the node goes down: formation returns soon after.
    pub stop: &'a AtomicBool,
}

impl Formation<'_> {
    /// Forms, or opens the gate of what was formed before, then watches the node. Returns when `stop` is set.
    pub fn run(&self, start_kubelet: StartKubelet<'_>) {
        self.reporter.phase(Phase::Formation);
        cni::watch(&self.reporter, &self.image.addons);
        let mut state = State::new(Seeded::new(&self.config, &self.image.addons));
        let Some(disks) = self.insist(records::read) else { return };
        let mut event = disks;
        let opened = Cell::new(None);
        loop {
            let (next, actions) = step(&state, event, now());
            state = next;
            let Some(action) = actions.into_iter().next() else { return };
            event = match action {
                Action::Steady => break,
                Action::Refuse(refusal) => {
                    self.reporter.fault(refusal.fault());
                    if !self.pause(LOOK) {
                        return;
                    }
                    Event::Tick
                }
                action => {
                    let Some(event) = self.insist(|| self.perform(&action, &opened, start_kubelet)) else {
                        return;
                    };
                    event
                }
            };
        }
        self.reporter.milestone(milestone::STEADY);
        self.reporter.phase(Phase::Steady);
        nodes::watch(self);
    }

    /// Tries until it works, with a fault in between; `None` when the node goes down.
    fn insist<T>(&self, mut attempt: impl FnMut() -> Result<T, Fault>) -> Option<T> {
        let mut pause = FIRST_PAUSE;
        let mut shown: Option<Fault> = None;
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

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps; `false` when the node goes down meanwhile.
    fn pause(&self, long: Duration) -> bool {
        !crate::process::poll(long, Duration::from_millis(250).min(long), || self.stopping())
    }

    fn perform(
        &self,
        action: &Action,
        opened: &Cell<Option<jiff::Timestamp>>,
        start_kubelet: StartKubelet<'_>,
    ) -> Result<Event, Fault> {
        match action {
            Action::WriteRecord(record) => {
                records::write_record(record)?;
                Ok(Event::RecordWritten(record.clone()))
            }
            Action::WriteNodeRecord(node) => {
                records::write_node_record(node)?;
                Ok(Event::NodeRecordWritten(node.clone()))
            }
            Action::Render(birth) => {
                self.reporter.line(format!("birth {} begins", short(&birth.id().0)));
                phases::render(self, birth)?;
                Ok(Event::Rendered)
            }
            Action::SettleEtcd => {
                phases::settle_etcd()?;
                Ok(Event::EtcdSettled)
            }
            Action::OpenGate(_) => {
                prepare::before_the_kubelet(self)?;
                opened.set(Some(jiff::Timestamp::now()));
                start_kubelet(kubeadm::kubelet_arguments(&self.config))?;
                self.reporter.milestone(milestone::KUBELET);
                Ok(Event::GateOpened)
            }
            Action::AwaitApi => nodes::await_api(self).map(|()| Event::ApiReady),
            Action::ReadClusterRecord => records::read_cluster_record(self).map(Event::ClusterRecordRead),
            Action::WriteClusterRecord(record) => {
                records::write_cluster_record(self, record)?;
                Ok(Event::ClusterRecordWritten(record.clone()))
            }
            Action::RunSteps(steps) => {
                self.run_steps(steps)?;
                Ok(Event::StepsDone(steps.clone()))
            }
            Action::RemoveSuperAdmin => {
                files::remove(phases::SUPER_ADMIN)?;
                Ok(Event::SuperAdminRemoved)
            }
            Action::AwaitNode => nodes::await_ready(self, opened.get()).map(|()| Event::NodeReady),
            Action::Steady | Action::Refuse(_) => Ok(Event::Tick),
        }
    }

    fn run_steps(&self, steps: &[ClusterStep]) -> Result<(), Fault> {
        let of_kubeadm: Vec<_> = steps
            .iter()
            .filter_map(|s| if let ClusterStep::Kubeadm(phase) = s { Some(*phase) } else { None })
            .collect();
        if !of_kubeadm.is_empty() {
            phases::publish(self, &of_kubeadm)?;
        }
        for step in steps {
            match step {
                ClusterStep::Kubeadm(_) | ClusterStep::CoreDns { forward: true } => {}
                ClusterStep::CoreDns { forward: false } => addons::core_dns_without_forward(self)?,
                ClusterStep::Addon(name) => addons::apply(self, name)?,
            }
        }
        Ok(())
    }
}

fn now() -> Now {
    Now { monotonic: Duration::from_millis(crate::report::uptime_ms()), wall: jiff::Timestamp::now() }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
