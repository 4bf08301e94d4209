//! The machine: durable facts and what happened since power-on decide the next action.

use super::record::RecordFile;
use super::{ClusterRecord, ClusterStep, NodeRecord, Record, Refusal, Seeded};
use nodeimg_contract::birth::{Birth, Incarnation, Participant};
use std::time::Duration;

/// The two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since some point before this boot; never goes back.
    pub monotonic: Duration,
    /// The calendar's time; may jump.
    pub wall: jiff::Timestamp,
}

/// Something happened. Each `…Done`-like event answers the action of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What both file systems hold, read once after power-on.
    Disks {
        /// `record.json` on the etcd file system.
        record: RecordFile<Record>,
        /// `formation.json` on the state partition.
        node: RecordFile<NodeRecord>,
        /// Whether the etcd folder holds a member's data.
        etcd_data: bool,
        /// A random incarnation, used if the node is blank.
        fresh: Incarnation,
    },
    /// The record is written and synced.
    RecordWritten(Record),
    /// The node record is written and synced.
    NodeRecordWritten(NodeRecord),
    /// Certificates, kubeconfigs and manifests are written and synced.
    Rendered,
    /// etcd's manifest says `existing`, synced.
    EtcdSettled,
    /// The kubelet was started.
    GateOpened,
    /// `/readyz` of the own API server says ok.
    ApiReady,
    /// The cluster's record was read; `None`: there is none yet.
    ClusterRecordRead(Option<ClusterRecord>),
    /// The cluster's record is written.
    ClusterRecordWritten(ClusterRecord),
    /// Steps are done, not yet recorded.
    StepsDone(Vec<ClusterStep>),
    /// super-admin.conf is gone.
    SuperAdminRemoved,
    /// The Node is Ready.
    NodeReady,
    /// The seed was read again.
    Reseeded(Box<Seeded>),
    /// Time passed.
    Tick,
}

/// Something to do. Doing it twice does no harm; it is asked for again until its event comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the record on the etcd file system, synced.
    WriteRecord(Record),
    /// Write the node record on the state partition, synced.
    WriteNodeRecord(NodeRecord),
    /// Clear what an earlier try left, write PKI, certificates, kubeconfigs and manifests for this birth, sync.
    Render(Birth),
    /// Put `existing` into etcd's manifest, sync.
    SettleEtcd,
    /// Start the kubelet.
    OpenGate(Gate),
    /// Wait until the own API server is ready.
    AwaitApi,
    /// Read the cluster's record.
    ReadClusterRecord,
    /// Create or replace the cluster's record.
    WriteClusterRecord(ClusterRecord),
    /// Do these steps, in order.
    RunSteps(Vec<ClusterStep>),
    /// Delete super-admin.conf.
    RemoveSuperAdmin,
    /// Wait until the Node is Ready.
    AwaitNode,
    /// Everything is done; watch.
    Steady,
    /// The gate stays shut (or, after it, nothing more is done): show this.
    Refuse(Refusal),
}

/// Leave to start the kubelet. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    birth: Birth,
}

impl Gate {
    /// The birth that etcd is a member of.
    pub fn birth(&self) -> &Birth {
        &self.birth
    }
}

/// The machine's state: what is known to be on the disks, and what happened since power-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    seeded: Seeded,
    disks: Option<Disks>,
    run: Run,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Disks {
    record: RecordFile<Record>,
    node: RecordFile<NodeRecord>,
    etcd_data: bool,
    fresh: Incarnation,
}

/// Gone at power-off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Run {
    rendered: bool,
    settled: bool,
    gate_open: bool,
    api_ready: bool,
    /// The outer `None`: not read yet.
    cluster: Option<Option<ClusterRecord>>,
    unrecorded: Vec<ClusterStep>,
    super_admin_removed: bool,
    node_ready: bool,
}

impl State {
    /// Before the disks are read.
    pub fn new(seeded: Seeded) -> Self {
        Self { seeded, disks: None, run: Run::default() }
    }
}

/// One step of the machine. The actions are at most one: the next thing to do.
pub fn step(state: &State, event: Event, now: Now) -> (State, Vec<Action>) {
    let mut next = state.clone();
    next.learn(event);
    let actions = match &next.disks {
        None => Vec::new(),
        Some(disks) => {
            let progress = Progress { seeded: &next.seeded, disks, run: &next.run, now };
            vec![progress.next().unwrap_or_else(Action::Refuse)]
        }
    };
    (next, actions)
}

impl State {
    fn learn(&mut self, event: Event) {
        let run = &mut self.run;
        match (event, &mut self.disks) {
            (Event::Disks { record, node, etcd_data, fresh }, disks @ None) => {
                *disks = Some(Disks { record, node, etcd_data, fresh });
            }
            (Event::RecordWritten(record), Some(disks)) => disks.record = RecordFile::Good(record),
            (Event::NodeRecordWritten(node), Some(disks)) => disks.node = RecordFile::Good(node),
            (Event::Rendered, _) => run.rendered = true,
            (Event::EtcdSettled, _) => run.settled = true,
            (Event::GateOpened, _) => run.gate_open = true,
            (Event::ApiReady, _) => run.api_ready = true,
            (Event::ClusterRecordRead(read), _) => run.cluster = Some(read),
            (Event::ClusterRecordWritten(record), _) => {
                run.unrecorded.retain(|s| !record.has(s));
                run.cluster = Some(Some(record));
            }
            (Event::StepsDone(steps), _) => run.unrecorded.extend(steps),
            (Event::SuperAdminRemoved, _) => run.super_admin_removed = true,
            (Event::NodeReady, _) => run.node_ready = true,
            (Event::Reseeded(seeded), _) => self.seeded = *seeded,
            // Disks are read once a boot: what is on them afterwards is what this machine had written.
            (
                Event::Tick | Event::Disks { .. } | Event::RecordWritten(_) | Event::NodeRecordWritten(_),
                _,
            ) => {}
        }
    }
}

struct Progress<'a> {
    seeded: &'a Seeded,
    disks: &'a Disks,
    run: &'a Run,
    now: Now,
}

impl Progress<'_> {
    /// The next thing to do, or why nothing may be done.
    fn next(&self) -> Result<Action, Refusal> {
        let record = match self.checked_record()? {
            Ok(record) => record,
            Err(first) => return Ok(first),
        };
        let node = match &self.disks.node {
            RecordFile::Good(node) => node,
            // checked_record saw that the record is blank: pin before anything is promised.
            _ => return Ok(Action::WriteNodeRecord(NodeRecord::pin(record.incarnation().clone()))),
        };
        let Some(birth) = record.started() else { return self.birth(record) };
        self.is_ours(birth)?;
        if node.rendered() != Some(&birth.id()) {
            return Ok(if self.run.rendered {
                Action::WriteNodeRecord(node.with_rendered(birth.id()))
            } else {
                Action::Render(birth.clone())
            });
        }
        if !self.run.gate_open {
            return Ok(if record.joined().is_some() && !self.run.settled {
                Action::SettleEtcd
            } else {
                Action::OpenGate(Gate { birth: birth.clone() })
            });
        }
        self.after_the_gate(record, birth)
    }

    /// The record, if it may be believed; or the action that makes a blank node's first one.
    fn checked_record(&self) -> Result<Result<&Record, Action>, Refusal> {
        let d = self.disks;
        match (&d.record, &d.node) {
            (RecordFile::Bad(bad), _) | (_, RecordFile::Bad(bad)) => Err(Refusal::BadRecord(*bad)),
            (RecordFile::Missing, RecordFile::Good(_)) => Err(Refusal::EtcdDiskLost),
            (RecordFile::Missing, RecordFile::Missing) if d.etcd_data => Err(Refusal::ForeignData),
            (RecordFile::Missing, RecordFile::Missing) => {
                Ok(Err(Action::WriteRecord(Record::blank(d.fresh.clone()))))
            }
            (RecordFile::Good(record), RecordFile::Good(node)) if node.pinned() != Some(record.incarnation()) => {
                Err(Refusal::EtcdDiskSwapped)
            }
            (RecordFile::Good(record), RecordFile::Missing) if record.promised().is_some() => {
                Err(Refusal::StateLost)
            }
            (RecordFile::Good(record), _) if record.started().is_none() && d.etcd_data => {
                Err(Refusal::ForeignData)
            }
            (RecordFile::Good(record), _) => Ok(Ok(record)),
        }
    }

    /// A node that has not started: promise, then start, under a permit that is valid at both moments.
    fn birth(&self, record: &Record) -> Result<Action, Refusal> {
        let permit = self.seeded.permit.as_ref().ok_or(Refusal::NoPermit)?;
        if self.now.wall > permit.not_after {
            return Err(Refusal::PermitExpired { not_after: permit.not_after, now: self.now.wall });
        }
        let me = Participant {
            name: self.seeded.name.clone(),
            address: self.seeded.address,
            incarnation: record.incarnation().clone(),
        };
        let candidate = Birth::new(permit.clone(), self.seeded.method, vec![me]);
        // A promise for another candidate (a newer seed) is replaced: nobody has started.
        let next =
            if record.promised() == Some(&candidate) { record.start() } else { record.promise(candidate) };
        next.map(Action::WriteRecord).ok_or(Refusal::BadRecord(super::BadRecord::Damaged))
    }

    /// A started birth that has this node in it under its present name and address.
    fn is_ours(&self, birth: &Birth) -> Result<(), Refusal> {
        let own = |p: &&Participant| match &self.disks.record {
            RecordFile::Good(record) => p.incarnation == *record.incarnation(),
            _ => false,
        };
        match birth.participants().iter().find(own) {
            Some(p) if p.name == self.seeded.name && p.address == self.seeded.address => Ok(()),
            Some(p) => Err(Refusal::AnotherNode { name: p.name.clone(), address: p.address }),
            None => Err(Refusal::EtcdDiskSwapped),
        }
    }

    fn after_the_gate(&self, record: &Record, birth: &Birth) -> Result<Action, Refusal> {
        let run = self.run;
        if !run.api_ready {
            return Ok(Action::AwaitApi);
        }
        if record.joined().is_none() {
            // etcd has served the API server: the first good start.
            return record
                .join()
                .map(Action::WriteRecord)
                .ok_or(Refusal::BadRecord(super::BadRecord::Damaged));
        }
        let cluster = match &run.cluster {
            None => return Ok(Action::ReadClusterRecord),
            Some(None) => {
                let (name, incarnation) = (self.seeded.name.clone(), record.incarnation().clone());
                return Ok(Action::WriteClusterRecord(ClusterRecord::new(birth.id(), name, incarnation)));
            }
            Some(Some(cluster)) => cluster,
        };
        if *cluster.birth() != birth.id() {
            let short = |id: &str| id.chars().take(12).collect();
            return Err(Refusal::AnotherBirth {
                found: short(&cluster.birth().0),
                own: short(&birth.id().0),
            });
        }
        if !run.unrecorded.is_empty() {
            return Ok(Action::WriteClusterRecord(cluster.with_done(&run.unrecorded)));
        }
        if let Some(steps) = next_batch(cluster.pending(self.seeded)) {
            return Ok(Action::RunSteps(steps));
        }
        Ok(if !run.super_admin_removed {
            Action::RemoveSuperAdmin
        } else if !run.node_ready {
            Action::AwaitNode
        } else {
            Action::Steady
        })
    }
}

/// kubeadm's phases go together, in one process; everything else one by one.
fn next_batch(pending: Vec<ClusterStep>) -> Option<Vec<ClusterStep>> {
    let of_kubeadm = |s: &&ClusterStep| matches!(s, ClusterStep::Kubeadm(_));
    let together: Vec<_> = pending.iter().take_while(of_kubeadm).cloned().collect();
    if together.is_empty() { pending.into_iter().next().map(|s| vec![s]) } else { Some(together) }
}
