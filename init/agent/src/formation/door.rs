//! A worker's door to the API servers: on loopback, at the endpoint's port, where `/etc/hosts` leads the endpoint's name.
//!
//! A kubelet believes whatever API server answers it: one that knows of no pods has it end them all. So everything on
//! this node that goes by the endpoint's name (kubelet, kube-proxy) comes through here, and each new connection is passed
//! on only when the cluster at that address says that it is the birth which this node has pinned. Nothing is looked into:
//! TLS goes from end to end. A connection that is passed ends with the API server at its other end.
//!
//! What is not known here: whether a balancer leads the question and the connection to two different clusters.

use super::{Formation, guest, records};
use nodeimg_contract::birth::BirthId;
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_init_core::node_config::NodeConfig;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(3);
/// For the questions before a connection is passed on: a kubelet waits ten seconds for its TLS. Every address has its share,
/// so that one that takes connections and says nothing does not keep this node from the others.
const WHOLE: Duration = Duration::from_secs(9);
/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(200);
/// Connections at a time: a kubelet has one, a proxy one, an administrator's tools a few.
const MAX: usize = 128;

/// Held as long as it is open; cheap to clone.
#[derive(Clone, Default)]
pub struct Door(Arc<Inside>);

#[derive(Default)]
struct Inside {
    leads: Mutex<Leads>,
    open: AtomicUsize,
}

/// Where it leads, and into which cluster.
#[derive(Default, Clone)]
struct Leads {
    addresses: Vec<SocketAddr>,
    birth: Option<BirthId>,
}

impl Door {
    /// Listens from now on. Until it is told a cluster and addresses, nobody passes.
    pub fn open(f: &Formation<'_>) -> Result<Self, Fault> {
        let door = Self::default();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, f.config.endpoint.port.value));
        let failed = |e: std::io::Error| Fault {
            code: Code::EndpointRefused,
            object: at.to_string(),
            cause: format!("nodeinit cannot listen there for this node's kubelet: {e}"),
            help: "end the program that has this port on the node".into(),
        };
        let listener = TcpListener::bind(at).map_err(failed)?;
        let (inside, config) = (door.clone(), Arc::new(f.config.clone()));
        std::thread::Builder::new()
            .name("door".into())
            .spawn(move || inside.serve(&listener, &config))
            .map_err(failed)?;
        Ok(door)
    }

    /// The endpoint's addresses, as they were last looked up.
    pub fn leads_to(&self, addresses: Vec<SocketAddr>) {
        self.leads().addresses = addresses;
    }

    /// The cluster that this node belongs to.
    pub fn belongs_to(&self, birth: BirthId) {
        self.leads().birth = Some(birth);
    }

    fn leads(&self) -> MutexGuard<'_, Leads> {
        self.0.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, listener: &TcpListener, config: &Arc<NodeConfig>) {
        loop {
            let Ok((inner, _)) = listener.accept() else {
                std::thread::sleep(PAUSE);
                continue;
            };
            if self.0.open.fetch_add(1, Ordering::Relaxed) >= MAX {
                self.0.open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (door, config) = (self.clone(), config.clone());
            let passes = move || {
                if let Some(outer) = door.way(&config) {
                    pass(&inner, &outer);
                }
                door.0.open.fetch_sub(1, Ordering::Relaxed);
            };
            if std::thread::Builder::new().name("door".into()).spawn(passes).is_err() {
                self.0.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// A connection to the first address that takes one and belongs to this node's cluster.
    fn way(&self, config: &NodeConfig) -> Option<TcpStream> {
        let Leads { addresses, birth } = self.leads().clone();
        let birth = birth?;
        let share = WHOLE / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
        addresses.into_iter().find_map(|at| {
            let outer = TcpStream::connect_timeout(&at, CONNECT).ok()?;
            is_of(config, at, &birth, share).then_some(outer)
        })
    }
}

/// Whether the API server there serves this birth, or one that an operator made of it.
fn is_of(config: &NodeConfig, at: SocketAddr, birth: &BirthId, limit: Duration) -> bool {
    let read =
        guest::api_at(config, at, limit).ok().and_then(|(api, _)| records::read_through(&api).ok()).flatten();
    read.is_some_and(|record| record.birth() == birth || record.goes_on_from(birth))
}

/// Both ways, until one of them ends.
fn pass(inner: &TcpStream, outer: &TcpStream) {
    let end = || {
        let _ = inner.shutdown(Shutdown::Both);
        let _ = outer.shutdown(Shutdown::Both);
    };
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        end();
    };
    let _ = inner.set_nodelay(true).and_then(|()| outer.set_nodelay(true));
    std::thread::scope(|scope| {
        let out = std::thread::Builder::new().name("door".into()).spawn_scoped(scope, || copy(inner, outer));
        match out {
            Ok(_) => copy(outer, inner),
            Err(_) => end(),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_connection_is_passed_both_ways_and_ends_with_either_side() {
        let pair = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            (near, listener.accept().expect("accepted").0)
        };
        let ((mut kubelet, inner), (outer, mut server)) = (pair(), pair());
        let passing = std::thread::spawn(move || pass(&inner, &outer));
        kubelet.write_all(b"list").expect("written");
        let mut four = [0; 4];
        server.read_exact(&mut four).expect("read");
        assert_eq!(&four, b"list");
        server.write_all(b"pods").expect("written");
        kubelet.read_exact(&mut four).expect("read");
        assert_eq!(&four, b"pods");
        drop(server);
        assert_eq!(kubelet.read(&mut four).expect("the end"), 0);
        passing.join().expect("it has ended");
    }

    #[test]
    fn nobody_passes_before_a_cluster_is_known() {
        let door = Door::default();
        door.leads_to(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1))]);
        assert!(door.leads().birth.is_none());
        door.belongs_to(BirthId("a".repeat(64)));
        assert_eq!(door.leads().birth, Some(BirthId("a".repeat(64))));
    }
}
