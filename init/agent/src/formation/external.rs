//! etcd on nodes of its own: what an etcd node waits for, and what a control plane of such an etcd asks.

use super::etcd::Etcd;
use super::{Formation, phases, records};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_contract::status::milestone;
use nodeimg_init_core::etcd_gateway as gateway;
use nodeimg_init_core::formation::{Event, ExternalCluster};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(300);

fn fault(object: String, cause: String) -> Fault {
    Fault {
        code: Code::ApiNotReady,
        object,
        cause,
        help: "look at the consoles of the etcd nodes and at /var/log/pods (etcd)".into(),
    }
}

/// A member that does not do what it is asked.
pub fn fault_at(address: IpAddr, cause: String) -> Fault {
    fault(gateway::client_url(address), cause)
}

/// Whether the own etcd serves: it knows a leader and has nothing to complain of.
fn own_etcd(f: &Formation<'_>) -> Result<(), String> {
    let address = f.config.address.ok_or("this node has no address")?;
    let status = Etcd::connect()?.status(address)?;
    match status.errors.first() {
        Some(error) => Err(error.clone()),
        None if status.leader == 0 => Err("it knows no leader".into()),
        None => Ok(()),
    }
}

/// An etcd node's wait for its etcd, a while of it.
pub fn await_etcd(f: &Formation<'_>) -> Event {
    let mut kept = f.memory.api_wait.borrow_mut();
    let object = f.config.address.map(gateway::client_url).unwrap_or_default();
    let first =
        || f.reporter.waiting("etcd of this node", DEADLINE, fault(object, "it does not answer yet".into()));
    let wait = kept.get_or_insert_with(first);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match own_etcd(f) {
            Ok(()) => {
                *kept = None;
                f.reporter.ready(true);
                f.reporter.milestone(milestone::READY);
                return Event::ApiReady;
            }
            Err(why) => wait.cause(why),
        }
        if !f.pause(PAUSE) {
            break;
        }
    }
    f.reporter.ready(false);
    Event::ApiNotYet(records::etcd_data(Path::new(paths::ETCD)))
}

/// A steady etcd node's look at itself.
pub fn look(f: &Formation<'_>) {
    match own_etcd(f) {
        Ok(()) => {
            f.memory.missed.set(0);
            f.reporter.clear_fault(Code::ApiNotReady);
            f.reporter.ready(true);
        }
        Err(why) => {
            f.memory.missed.set(f.memory.missed.get().saturating_add(1));
            if f.memory.missed.get() >= 3 && !f.stopping() {
                let object = f.config.address.map(gateway::client_url).unwrap_or_default();
                f.reporter.fault(fault(object, why));
                f.reporter.ready(false);
            }
        }
    }
}

/// Which cluster the external etcd is; until it says so, that is waited for.
pub fn birth(f: &Formation<'_>) -> Result<Event, Fault> {
    phases::authorities(f)?;
    let endpoints = f.config.external_etcd.as_ref().map(|e| e.endpoints.clone()).unwrap_or_default();
    let object = endpoints.join(", ");
    let etcd = Etcd::external().map_err(|why| fault(object.clone(), why))?;
    let wait = f.reporter.waiting(
        format!("etcd at {object}"),
        DEADLINE,
        fault(object.clone(), "no member answers yet".into()),
    );
    loop {
        let mut said = Vec::new();
        for endpoint in &endpoints {
            match etcd.status_at(endpoint) {
                Ok(status) if status.leader != 0 => match etcd.record_at(endpoint) {
                    // etcd's own id lasts until a recovery, and its nodes write a record as soon as it serves.
                    Ok(None) if !f.config.etcd_nodes.is_empty() => {
                        said.push(format!("{endpoint}: no record of its birth is there yet"));
                    }
                    Ok(record) => {
                        let named = gateway::birth_of(status.cluster);
                        return Ok(Event::ExternalEtcd(ExternalCluster::of(named, record.as_ref())));
                    }
                    Err(why) => said.push(format!("{endpoint}: {why}")),
                },
                Ok(_) => said.push(format!("{endpoint} knows no leader")),
                Err(why) => said.push(format!("{endpoint}: {why}")),
            }
        }
        wait.cause(said.join("; "));
        if !f.pause(PAUSE) {
            return Err(fault(object, said.join("; ")));
        }
    }
}
