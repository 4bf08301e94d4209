//! The machine: durable facts and what happened since power-on decide the next action.
//!
//! Here are its words and its memory; [`super::member`] decides for nodes with an etcd file system, [`super::guest`] for
//! those without.

use super::guest::{ExternalCluster, Guest};
use super::member::Member;
use super::membership::{ClusterView, EtcdMember};
use super::record::RecordFile;
use super::rules::Rules;
use super::standing::{Answer, Endpoint};
use super::wait::Wait;
use super::{ClusterRecord, ClusterStep, GivingUp, Listed, NodeRecord, Record, Refusal, Seeded, Standing};
use nodeimg_contract::birth::{Birth, BirthId, Incarnation};
use std::collections::BTreeMap;
use std::sync::Arc;
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
    /// A folder that etcd made before it became a member: there is no log, so it has never voted, nor held an entry.
    Unstarted,
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
    /// One round of questions.
    PeersAnswered {
        /// By name: of every other listed node, of every other voter, and of whoever has asked this node of late as a
        /// member of a cluster, listed or not.
        answers: BTreeMap<String, Answer>,
        /// What answers behind the endpoint.
        endpoint: Endpoint,
        /// Who votes, this node among them, as its own etcd says or said last; with a quorum or without. Empty: nobody
        /// knows.
        voters: Vec<Listed>,
    },
    /// One look at the cluster.
    ClusterSeen(Box<ClusterView>),
    /// Nobody of the cluster lets this node look: why.
    ClusterHidden(String),
    /// A member was removed, or this node was added as a learner: what was seen before is over.
    MembersChanged,
    /// This node's member is a voter.
    Promoted,
    /// etcd does not promote it yet: what it says.
    NotPromoted(String),
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
    /// Which cluster an external etcd is.
    ExternalEtcd(ExternalCluster),
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
///
/// One that fails may be answered with [`Event::Tick`] after a pause: what was seen is looked at anew before it is asked
/// for again. What needs the own API server and does not reach it may also be answered with [`Event::ApiNotYet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the record on the etcd file system, synced.
    WriteRecord(Record),
    /// Write the node record on the state partition, synced.
    WriteNodeRecord(NodeRecord),
    /// Ask every other listed node, every other voter and the endpoint, all at once; silence is an answer too.
    AskPeers,
    /// Look at the cluster of this birth through its members.
    LookAtCluster(BirthId),
    /// Remove a member from etcd's list (id): an earlier incarnation of this node, a learner that was left behind, or this
    /// node's own that cannot begin any more.
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
    /// Stop etcd, clear its data, then remove this node's record, then its node record, each synced in this order, and boot
    /// again as a blank node. With [`GivingUp::Worthless`] etcd's folder is looked at again once etcd is stopped: if it is
    /// [`EtcdData::Present`] now, nothing is cleared, etcd goes on, and the answer is [`Event::ApiNotYet`].
    StartAfresh(GivingUp),
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
    pub(super) seeded: Arc<Seeded>,
    pub(super) rules: Rules,
    pub(super) disks: Option<Disks>,
    pub(super) run: Run,
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
    /// Of the same round.
    pub endpoint: Endpoint,
    /// Of the same round: etcd's voters, as far as this node knows them.
    pub voters: Vec<Listed>,
    pub look: Option<Look>,
    /// The last try to become a voter failed: why.
    pub not_promoted: Option<String>,
    pub rendered: bool,
    /// etcd's list (ids), as it went into the manifest of a joining member.
    pub rendered_members: Option<Vec<u64>>,
    pub settled: bool,
    /// This boot's start is counted in the record.
    pub counted: bool,
    /// What etcd's folder holds was looked at since the gate was opened.
    pub sampled: bool,
    pub gate_open: bool,
    pub api_ready: bool,
    /// The API did not become ready in the last wait.
    pub api_late: bool,
    pub external: Option<ExternalCluster>,
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
        Self { seeded: Arc::new(seeded), rules, disks: None, run: Run::default() }
    }

    /// What this node answers to others, of what is synced: to be told anew after every step.
    pub fn standing(&self) -> Standing {
        match &self.disks {
            None => Standing::CannotSay { reason: "its disks are not read yet".into() },
            Some(disks) => Member {
                seeded: &self.seeded,
                disks,
                run: &self.run,
                now: Now { monotonic: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH },
                rules: self.rules,
            }
            .standing(),
        }
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
