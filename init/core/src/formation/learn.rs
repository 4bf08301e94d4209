//! What the machine learns of an event: the only place where its state changes.
//!
//! What was seen of others is dropped whenever it may be over: a round's answers with every change of the own record, a
//! look and the cluster's record with every write and every tick.

use super::machine::Disks;
use super::machine::{EtcdData, Event, Lease, Look, State};
use super::record::RecordFile;

impl State {
    pub(super) fn learn(&mut self, event: Event) {
        let run = &mut self.run;
        match (event, &mut self.disks) {
            (Event::Disks { record, node, etcd, fresh }, disks @ None) => {
                *disks = Some(Disks { record, node, etcd, fresh });
            }
            (Event::RecordWritten(record), Some(disks)) => {
                if let RecordFile::Good(before) = &disks.record {
                    run.counted |= record.starts() > before.starts();
                }
                if record.joined().is_some() {
                    // Its etcd has served, or was promoted.
                    disks.etcd = EtcdData::Present;
                }
                disks.record = RecordFile::Good(record);
                // A round's answers belong to the record under which they were asked for.
                if self.rules.answers_belong_to_a_round {
                    run.answers = None;
                }
            }
            (Event::NodeRecordWritten(node), Some(disks)) => disks.node = RecordFile::Good(node),
            (Event::PeersAnswered { answers, endpoint, voters }, _) => {
                (run.answers, run.endpoint, run.voters) = (Some(answers), endpoint, voters);
            }
            (Event::ClusterSeen(view), _) => run.look = Some(Look::Seen(view)),
            (Event::ClusterHidden(why), _) => {
                run.look = Some(Look::Hidden(why));
                run.answers = None;
            }
            (Event::Promoted, Some(disks)) => {
                // Only a learner that has caught up is promoted.
                disks.etcd = EtcdData::Present;
                run.look = None;
            }
            (Event::MembersChanged | Event::Promoted, _) => run.look = None,
            (Event::NotPromoted(why), _) => run.not_promoted = Some(why),
            (Event::Rendered, _) => {
                run.rendered = true;
                run.rendered_members = match &run.look {
                    Some(Look::Seen(view)) => Some(view.member_ids()),
                    _ => None,
                };
            }
            (Event::EtcdSettled, _) => run.settled = true,
            (Event::GateOpened, _) => run.gate_open = true,
            (Event::GateClosed, _) => run.gate_open = false,
            (Event::ApiReady, _) => (run.api_ready, run.api_late) = (true, false),
            (Event::ApiNotYet(etcd), Some(disks)) => {
                disks.etcd = etcd;
                run.sampled = run.gate_open;
                (run.api_ready, run.api_late) = (false, true);
                run.answers = None;
            }
            (Event::ExternalEtcd(cluster), _) => run.external = Some(cluster),
            (Event::ClusterRecordRead(read), _) => {
                run.unrecorded.retain(|s| !read.as_ref().is_some_and(|r| r.has(s)));
                run.cluster = Some(read);
            }
            (Event::ClusterRecordWritten(record), _) => {
                run.unrecorded.retain(|s| !record.has(s));
                // The API gave it a new version: it is read again before it is written again.
                run.cluster = None;
                run.look = None;
                run.lease = Lease::Unknown;
            }
            (Event::ClusterRecordConflict, _) => {
                run.cluster = None;
                run.look = None;
            }
            (Event::LeaseHeld, _) => {
                if run.lease != Lease::Held {
                    // What was read before may have been changed by whoever held it then.
                    run.cluster = None;
                }
                run.lease = Lease::Held;
            }
            (Event::LeaseElsewhere(holder), _) => run.lease = Lease::Elsewhere(holder),
            (Event::StepsDone(steps), _) => {
                run.unrecorded.extend(steps);
                // Steps may last: it is renewed before they are recorded.
                run.lease = Lease::Unknown;
            }
            (Event::NodeStepsDone, _) => run.node_steps_done = true,
            (Event::SuperAdminRemoved, _) => run.super_admin_removed = true,
            (Event::NodeReady, _) => run.node_ready = true,
            (Event::Reseeded(seeded), _) => {
                self.seeded = std::sync::Arc::new(*seeded);
                run.answers = None;
                run.look = None;
                run.cluster = None;
                run.external = None;
            }
            (Event::Tick, _) => {
                // Whatever a wait waits for is looked at anew.
                run.answers = None;
                run.look = None;
                run.not_promoted = None;
                run.api_late = false;
                run.lease = Lease::Unknown;
                run.cluster = None;
                run.external = None;
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
