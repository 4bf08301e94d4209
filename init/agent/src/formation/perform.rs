//! Each action of the machine, done.

use super::{
    Formation, external, files, guest, lease, look, nodes, outside, phases, prepare, records, steps,
    versions, voters, watch,
};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::Role;
use nodeimg_contract::paths;
use nodeimg_contract::status::milestone;
use nodeimg_init_core::etcd_gateway::CLIENT_PORT;
use nodeimg_init_core::formation::{
    Action, EtcdData, EtcdStart, Event, GivingUp, Listed, NodeRecord, Record, RecordFile,
};
use nodeimg_init_core::kubeadm;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Questions to the own API server before it counts as gone.
const TRIES: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_secs(2);

/// Does one action, and says what came of it. An own API server that does not answer any more is waited for anew: why it
/// does not is the machine's question. A member through which a joining node looked, and which does not answer any more, is
/// given up: the next look finds another.
pub fn perform(f: &Formation<'_>, action: &Action) -> Result<Event, Fault> {
    if let (Some(_), Action::WriteClusterRecord(_)) = (f.memory.way.get(), action) {
        return match do_it(f, action) {
            Err(fault) if fault.code == Code::ApiNotReady => Ok(look::lost(f, fault.cause)),
            done => done,
        };
    }
    let asks_own_api = matches!(f.config.role.value, Role::ControlPlane | Role::Etcd)
        && matches!(action, Action::ReadClusterRecord | Action::HoldLease | Action::WriteClusterRecord(_));
    if !asks_own_api {
        return do_it(f, action);
    }
    for _ in 1..TRIES {
        match do_it(f, action) {
            Err(fault) if fault.code == Code::ApiNotReady => {}
            done => return done,
        }
        if !f.pause(TRY_PAUSE) {
            break;
        }
    }
    match do_it(f, action) {
        Err(fault) if fault.code == Code::ApiNotReady => {
            Ok(Event::ApiNotYet(records::etcd_data(Path::new(paths::ETCD))))
        }
        done => done,
    }
}

fn do_it(f: &Formation<'_>, action: &Action) -> Result<Event, Fault> {
    Ok(match action {
        Action::WriteRecord(record) => {
            records::write_record(record)?;
            remember(f, &RecordFile::Good(record.clone()));
            Event::RecordWritten(record.clone())
        }
        Action::WriteNodeRecord(node) => {
            records::write_node_record(node)?;
            remember_node(f, &RecordFile::Good(node.clone()));
            Event::NodeRecordWritten(node.clone())
        }
        Action::AskPeers => ask(f),
        Action::LookAtCluster(_) => look::look(f)?,
        Action::RemoveMember(id) => look::remove(f, *id),
        Action::AddLearner => look::add_learner(f),
        Action::Promote => {
            let event = look::promote(f);
            if event == Event::Promoted {
                f.reporter.milestone(milestone::VOTER);
            }
            event
        }
        Action::Render(start) => {
            f.reporter.line(begins(start));
            f.reporter.milestone(milestone::BIRTH);
            phases::render(f, start)?;
            f.reporter.milestone(milestone::FILES);
            Event::Rendered
        }
        Action::SettleEtcd => {
            phases::settle_etcd()?;
            Event::EtcdSettled
        }
        Action::OpenGate(_) => {
            versions::kubelet_fits(f)?;
            prepare::before_the_kubelet(f)?;
            guest::can_join_again(f)?;
            f.memory.opened.set(Some(crate::clock::system()));
            f.host.start_kubelet(kubelet_arguments(f))?;
            f.reporter.milestone(milestone::KUBELET);
            watch::contacts(f);
            Event::GateOpened
        }
        Action::CloseGate => {
            f.host.stop_kubelet();
            f.reporter.ready(false);
            f.memory.node_wait.replace(None);
            Event::GateClosed
        }
        Action::StartAfresh(why) => return start_afresh(f, *why),
        Action::AwaitApi => {
            let event = match f.config.role.value {
                Role::Etcd => external::await_etcd(f),
                _ => nodes::await_api(f)?,
            };
            if event == Event::ApiReady {
                // From now on this node's own API server is asked.
                f.memory.way.set(None);
            }
            event
        }
        Action::ReadClusterRecord => match f.config.role.value {
            Role::ControlPlane | Role::Etcd => Event::ClusterRecordRead(records::read_cluster_record(f)?),
            _ => guest::read_cluster_record(f),
        },
        Action::WriteClusterRecord(record) => records::write_cluster_record(f, record)?,
        Action::HoldLease => match lease::hold(f)? {
            lease::Holder::Own => Event::LeaseHeld,
            lease::Holder::Other(holder) => Event::LeaseElsewhere(holder),
        },
        Action::RunSteps(all) => {
            // Held since the machine was told so; somebody may have taken it since.
            if let lease::Holder::Other(holder) = lease::hold(f)? {
                return Ok(Event::LeaseElsewhere(holder));
            }
            lease::renewed(f, || steps::run(f, all))?;
            Event::StepsDone(all.clone())
        }
        Action::RunNodeSteps => {
            steps::own(f)?;
            Event::NodeStepsDone
        }
        Action::RemoveSuperAdmin => {
            files::remove(phases::SUPER_ADMIN)?;
            Event::SuperAdminRemoved
        }
        Action::AwaitNode => {
            let event = nodes::await_ready(f, f.memory.opened.get());
            if event == Event::NodeReady {
                guest::keep_certificate(f)?;
            }
            event
        }
        Action::RenderKubelet => {
            versions::kubelet_fits(f)?;
            guest::render_kubelet(f)?;
            Event::Rendered
        }
        Action::AskExternalEtcd => external::birth(f)?,
        Action::Steady | Action::Wait(_) | Action::Refuse(_) => Event::Tick,
    })
}

/// The kubelet's; a node whose seed names no address of it goes by the one that leads to the endpoint.
fn kubelet_arguments(f: &Formation<'_>) -> Vec<String> {
    if f.config.node_ip().is_some() {
        return kubeadm::kubelet_arguments(&f.config);
    }
    let mut config = f.config.clone();
    config.node.node_ip = guest::own_address(f);
    kubeadm::kubelet_arguments(&config)
}

/// The record is on the disk: this node knows its own incarnation.
pub fn remember(f: &Formation<'_>, record: &RecordFile<Record>) {
    if let RecordFile::Good(record) = record {
        *f.memory.incarnation.borrow_mut() = Some(record.incarnation().clone());
    }
}

/// The node record is on the disk: a worker's door leads into its cluster alone.
pub fn remember_node(f: &Formation<'_>, node: &RecordFile<NodeRecord>) {
    if let (RecordFile::Good(node), Some(door)) = (node, &*f.memory.door.borrow())
        && let Some(birth) = node.birth()
    {
        door.belongs_to(birth.clone());
    }
}

/// One round: peers, and what answers behind the endpoint, all at once.
fn ask(f: &Formation<'_>) -> Event {
    let voters = voters(f);
    let (desk, mut others) = (&f.desk, others(f));
    let is_new =
        |v: &&Listed| f.config.name.value.as_str() != v.name && !others.iter().any(|o| o.name == v.name);
    let unlisted: Vec<Listed> = voters.iter().filter(is_new).cloned().collect();
    others.extend(unlisted);
    std::thread::scope(|scope| {
        let peers = std::thread::Builder::new().spawn_scoped(scope, || desk.ask_all(&others));
        let endpoint = outside::ask(f);
        // Without a thread nobody has answered: the next round asks again.
        let answers = peers.ok().and_then(|asked| asked.join().ok()).unwrap_or_default();
        Event::PeersAnswered { answers, endpoint, voters }
    })
}

/// Who votes in this node's etcd, once that was started.
fn voters(f: &Formation<'_>) -> Vec<Listed> {
    let own = f.config.address.filter(|_| f.memory.opened.get().is_some());
    own.map(|own| voters::known(own, f.desk.cluster().as_ref())).unwrap_or_default()
}

/// The rest of the list of the birth.
pub fn others(f: &Formation<'_>) -> Vec<Listed> {
    let list = f.config.birth_list().iter().filter(|n| n.name != f.config.name.value);
    list.map(|n| Listed { name: n.name.to_string(), address: n.address }).collect()
}

fn begins(start: &EtcdStart) -> String {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    match start {
        EtcdStart::Born(birth) => {
            let names: Vec<_> = birth.participants().iter().map(|p| p.name.as_str()).collect();
            format!("birth {} of {} begins", short(&birth.id().0), names.join(", "))
        }
        EtcdStart::Joins { birth, members } => {
            format!("joins birth {} as one of {} members", short(&birth.0), members.len())
        }
        EtcdStart::External(birth) => format!("joins the cluster of etcd {}", short(&birth.0)),
    }
}

/// Gives up what was started and boots again; returns when the node goes down, or when etcd has received something after
/// all.
fn start_afresh(f: &Formation<'_>, why: GivingUp) -> Result<Event, Fault> {
    let folder = Path::new(paths::ETCD);
    f.host.stop_kubelet();
    f.host.stop_pods();
    if let Some(address) = f.config.address.map(|a| SocketAddr::new(a, CLIENT_PORT))
        && TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    {
        return Err(files::failed(folder, &std::io::Error::other("etcd does not end")));
    }
    if why == GivingUp::Worthless && records::etcd_data(folder) == EtcdData::Present {
        f.host.start_kubelet(kubelet_arguments(f))?;
        return Ok(Event::ApiNotYet(EtcdData::Present));
    }
    f.reporter.line(match why {
        GivingUp::Worthless => "what this node started is worth nothing: it becomes blank and boots again",
        GivingUp::Removed => "etcd has removed this node's member: it becomes blank and boots again",
    });
    records::clear()?;
    f.host.reboot();
    while f.pause(Duration::from_secs(60)) {}
    Ok(Event::Tick)
}
