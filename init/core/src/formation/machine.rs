//! The machine: durable facts and what happened since power-on decide the next action.
//!
//! Here are its words and its memory; [`super::member`] decides for nodes with an etcd file system, [`super::guest`] for
//! those without.

use super::guest::Guest;
use super::member::Member;
use super::membership::{ClusterView, EtcdMember};
use super::record::RecordFile;
use super::rules::Rules;
use super::standing::Answer;
use super::wait::Wait;
use super::{ClusterRecord, ClusterStep, NodeRecord, Record, Refusal, Seeded};
use nodeimg_contract::birth::{Birth, BirthId, Incarnation};
use std::collections::BTreeMap;
use std::time::Duration;

/// The two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Now {
    /// Since some point before this boot; never goes back.
    pub monotonic: Duration,
    /// The calendar's time; may jump.
    pub wall: jiff::Timestamp,
}

/// What etcd's own folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EtcdData {
    /// No member's data.
    Absent,
    /// A member that never had an entry beyond its birth's own.
    Empty,
    /// A member's data, or something that cannot be read.
    Present,
}

/// Something happened. Each `…Done`-like event answers the action of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What both file systems hold, read once after power-on. Without it (the disk is absent) nothing is done, and the
    /// node's answer to others is [`super::Standing::CannotSay`].
    Disks {
        /// `record.json` on the etcd file system (nodes without etcd: [`RecordFile::Missing`]).
        record: RecordFile<Record>,
        /// `formation.json` on the state partition.
        node: RecordFile<NodeRecord>,
        /// What etcd's folder holds.
        etcd: EtcdData,
        /// A random incarnation, used if the node is blank.
        fresh: Incarnation,
    },
    /// The record is written and synced. From now on the node's answer to others is of this record.
    RecordWritten(Record),
    /// The node record is written and synced.
    NodeRecordWritten(NodeRecord),
    /// Every other listed node was asked; answers by listed name.
    PeersAnswered(BTreeMap<String, Answer>),
    /// One look at the cluster.
    ClusterSeen(Box<ClusterView>),
    /// Nobody of the cluster lets this node look: why.
    ClusterHidden(String),
    /// A member was removed, or this node was added as a learner: what was seen before is over.
    MembersChanged,
    /// This node's member is a voter.
    Promoted,
    /// etcd does not promote it yet.
    NotPromoted,
    /// Certificates, kubeconfigs and manifests are written and synced.
    Rendered,
    /// etcd's manifest says `existing`, synced.
    EtcdSettled,
    /// The kubelet was started.
    GateOpened,
    /// The kubelet was stopped; pods go on.
    GateClosed,
    /// `/readyz` of the own API server says ok (an etcd node: its etcd is healthy).
    ApiReady,
    /// It did not, for a while; and what etcd's folder holds now.
    ApiNotYet(EtcdData),
    /// The birth of an external etcd is known.
    ExternalEtcd(BirthId),
    /// The cluster's record was read; `None`: there is none yet.
    ClusterRecordRead(Option<ClusterRecord>),
    /// The cluster's record is written.
    ClusterRecordWritten(ClusterRecord),
    /// Somebody wrote the cluster's record in between; nothing was written.
    ClusterRecordConflict,
    /// This node holds the Lease of formation.
    LeaseHeld,
    /// Another node holds it.
    LeaseElsewhere(String),
    /// Steps are done, not yet recorded.
    StepsDone(Vec<ClusterStep>),
    /// This node's own last steps are done.
    NodeStepsDone,
    /// super-admin.conf is gone.
    SuperAdminRemoved,
    /// The Node is Ready.
    NodeReady,
    /// The seed was read again.
    Reseeded(Box<Seeded>),
    /// Time passed.
    Tick,
}

/// How etcd's static pod starts for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdStart {
    /// As a participant of this birth: static list, state `new`, the birth ID as token.
    Born(Birth),
    /// As a learner of a cluster with these members (own one among them): state `existing`.
    Joins {
        /// The cluster's birth.
        birth: BirthId,
        /// Everybody in etcd's list.
        members: Vec<EtcdMember>,
    },
    /// etcd runs elsewhere.
    External(BirthId),
}

/// Something to do. Doing it twice does no harm; it is asked for again until its event comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the record on the etcd file system, synced.
    WriteRecord(Record),
    /// Write the node record on the state partition, synced.
    WriteNodeRecord(NodeRecord),
    /// Ask every other listed node, all at once; silence is an answer too.
    AskPeers,
    /// Look at the cluster of this birth through its members.
    LookAtCluster(BirthId),
    /// Remove a member from etcd's list (id): an earlier incarnation of this node.
    RemoveMember(u64),
    /// Add this node to etcd's list as a learner.
    AddLearner,
    /// Have etcd make this node's member a voter.
    Promote,
    /// Clear what an earlier try left, write PKI, certificates, kubeconfigs and manifests, sync.
    Render(EtcdStart),
    /// A node without the cluster's keys: write its kubelet's configuration and bootstrap kubeconfig, sync.
    RenderKubelet,
    /// Put `existing` into etcd's manifest, sync.
    SettleEtcd,
    /// Stop etcd, clear its data and this node's record, and boot again: what was started is worth nothing.
    StartAfresh,
    /// Start the kubelet.
    OpenGate(Gate),
    /// Stop the kubelet and leave its pods: another cluster answers.
    CloseGate,
    /// Wait a while for the own API server to be ready (an etcd node: for etcd).
    AwaitApi,
    /// Ask the external etcd which cluster it is.
    AskExternalEtcd,
    /// Read the cluster's record (a node without API server: through the endpoint).
    ReadClusterRecord,
    /// Create or replace the cluster's record, unless it has changed since it was read.
    WriteClusterRecord(ClusterRecord),
    /// Take or renew the Lease of formation.
    HoldLease,
    /// Do these steps, in order.
    RunSteps(Vec<ClusterStep>),
    /// This node's own last steps: label, taint, rotating certificate.
    RunNodeSteps,
    /// Delete super-admin.conf.
    RemoveSuperAdmin,
    /// Wait until the Node is Ready.
    AwaitNode,
    /// Everything is done; watch.
    Steady,
    /// Show what is waited for, pause ([`Wait::pause`]), then tick.
    Wait(Wait),
    /// The gate stays shut (or, after it, nothing more is done): show this.
    Refuse(Refusal),
}

/// Leave to start the kubelet. Only this room makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    birth: BirthId,
}

impl Gate {
    pub(super) fn of(birth: BirthId) -> Self {
        Self { birth }
    }
    /// The birth of the cluster that the kubelet serves.
    pub fn birth(&self) -> &BirthId {
        &self.birth
    }
}

/// The machine's state: what is known to be on the disks, and what happened since power-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    seeded: Seeded,
    rules: Rules,
    disks: Option<Disks>,
    run: Run,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disks {
    pub record: RecordFile<Record>,
    pub node: RecordFile<NodeRecord>,
    pub etcd: EtcdData,
    pub fresh: Incarnation,
}

/// One look through the cluster's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    Seen(Box<ClusterView>),
    Hidden(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Lease {
    #[default]
    Unknown,
    Held,
    Elsewhere(String),
}

/// Gone at power-off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub answers: Option<BTreeMap<String, Answer>>,
    pub look: Option<Look>,
    /// The last try to become a voter failed.
    pub not_promoted: bool,
    pub rendered: bool,
    pub settled: bool,
    pub gate_open: bool,
    pub api_ready: bool,
    /// The API did not become ready in the last wait.
    pub api_late: bool,
    pub external: Option<BirthId>,
    /// The outer `None`: not read yet.
    pub cluster: Option<Option<ClusterRecord>>,
    pub lease: Lease,
    pub unrecorded: Vec<ClusterStep>,
    pub node_steps_done: bool,
    pub super_admin_removed: bool,
    pub node_ready: bool,
}

impl State {
    /// Before the disks are read.
    pub fn new(seeded: Seeded) -> Self {
        Self::with_rules(seeded, Rules::ALL)
    }

    /// For the simulator: with some rules off.
    pub fn with_rules(seeded: Seeded, rules: Rules) -> Self {
        Self { seeded, rules, disks: None, run: Run::default() }
    }
}

/// One step of the machine. The actions are at most one: the next thing to do.
pub fn step(state: &State, event: Event, now: Now) -> (State, Vec<Action>) {
    let mut next = state.clone();
    next.learn(event);
    let actions = match &next.disks {
        None => Vec::new(),
        Some(disks) => {
            let State { seeded, run, rules, .. } = &next;
            let decided = if seeded.kind.has_etcd() {
                Member { seeded, disks, run, now, rules: *rules }.next()
            } else {
                Guest { seeded, disks, run }.next()
            };
            vec![decided.unwrap_or_else(Action::Refuse)]
        }
    };
    (next, actions)
}

impl State {
    fn learn(&mut self, event: Event) {
        let run = &mut self.run;
        match (event, &mut self.disks) {
            (Event::Disks { record, node, etcd, fresh }, disks @ None) => {
                *disks = Some(Disks { record, node, etcd, fresh });
            }
            (Event::RecordWritten(record), Some(disks)) => {
                disks.record = RecordFile::Good(record);
                // A round's answers belong to the record under which they were asked for.
                if self.rules.answers_belong_to_a_round {
                    run.answers = None;
                }
            }
            (Event::NodeRecordWritten(node), Some(disks)) => disks.node = RecordFile::Good(node),
            (Event::PeersAnswered(answers), _) => run.answers = Some(answers),
            (Event::ClusterSeen(view), _) => run.look = Some(Look::Seen(view)),
            (Event::ClusterHidden(why), _) => {
                run.look = Some(Look::Hidden(why));
                run.answers = None;
            }
            (Event::MembersChanged | Event::Promoted, _) => run.look = None,
            (Event::NotPromoted, _) => run.not_promoted = true,
            (Event::Rendered, _) => run.rendered = true,
            (Event::EtcdSettled, _) => run.settled = true,
            (Event::GateOpened, _) => run.gate_open = true,
            (Event::GateClosed, _) => run.gate_open = false,
            (Event::ApiReady, _) => (run.api_ready, run.api_late) = (true, false),
            (Event::ApiNotYet(etcd), Some(disks)) => {
                disks.etcd = etcd;
                run.api_late = true;
                run.answers = None;
            }
            (Event::ExternalEtcd(birth), _) => run.external = Some(birth),
            (Event::ClusterRecordRead(read), _) => run.cluster = Some(read),
            (Event::ClusterRecordWritten(record), _) => {
                run.unrecorded.retain(|s| !record.has(s));
                // The API gave it a new version: it is read again before it is written again.
                run.cluster = None;
                run.look = None;
            }
            (Event::ClusterRecordConflict, _) => {
                run.cluster = None;
                run.look = None;
            }
            (Event::LeaseHeld, _) => run.lease = Lease::Held,
            (Event::LeaseElsewhere(holder), _) => run.lease = Lease::Elsewhere(holder),
            (Event::StepsDone(steps), _) => run.unrecorded.extend(steps),
            (Event::NodeStepsDone, _) => run.node_steps_done = true,
            (Event::SuperAdminRemoved, _) => run.super_admin_removed = true,
            (Event::NodeReady, _) => run.node_ready = true,
            (Event::Reseeded(seeded), _) => {
                self.seeded = *seeded;
                run.answers = None;
                run.look = None;
            }
            (Event::Tick, _) => {
                // Whatever a wait waits for is looked at anew.
                run.answers = None;
                run.look = None;
                run.not_promoted = false;
                run.api_late = false;
                if run.lease != Lease::Held {
                    run.lease = Lease::Unknown;
                    run.cluster = None;
                }
                if !self.seeded.kind.has_api() {
                    run.cluster = None;
                }
            }
            // Disks are read once a boot: what is on them afterwards is what this machine had written.
            (
                Event::Disks { .. }
                | Event::RecordWritten(_)
                | Event::NodeRecordWritten(_)
                | Event::ApiNotYet(_),
                _,
            ) => {}
        }
    }
}
