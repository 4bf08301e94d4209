//! The end that answers.
//!
//! One thread accepts, one a connection answers; at most [`MAX_CONNECTIONS`] at once, [`MAX_PER_ADDRESS`] of them from
//! one address, none longer than [`super::WHOLE`]: who holds connections open holds up nobody else.

use super::complaints::Complaints;
use super::deadline::Deadlined;
use super::http::{self, HttpError, Request, Status};
use super::identity::{self, BadIdentity};
use super::{LINGER, MAX_HEAD, WHOLE};
use crate::report::Reporter;
use nodeimg_contract::seed::PeerIdentity;
use nodeimg_init_core::node_config::NodeName;
use nodeimg_init_core::peer::{Asker, Hello, PATH_ROOT, PROTOCOL, Rejection, STANDING, Subject, printable};
use rustls::{ServerConfig, ServerConnection};
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// Connections at once from one address.
const MAX_PER_ADDRESS: usize = 8;
/// Bytes of a connection's thread.
const STACK: usize = 512 << 10;
/// Pause after a failed accept (no file descriptors, no memory).
const BREATH: Duration = Duration::from_millis(100);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Question {
    /// By its certificate.
    pub caller: Subject,
    /// Where from.
    pub from: IpAddr,
    /// What it says of itself, if it belongs to a cluster.
    pub asker: Option<Asker>,
}

/// What this node says now, to whom.
pub type Answer = Arc<dyn Fn(&Question) -> Hello + Send + Sync>;

/// Answers other nodeinits until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The seed's peer identity is of no use.
    #[error(transparent)]
    Identity(#[from] BadIdentity),
    /// The port cannot be had.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

struct Shared {
    name: NodeName,
    config: Mutex<Arc<ServerConfig>>,
    answer: Answer,
    places: Mutex<HashMap<IpAddr, usize>>,
    stopping: AtomicBool,
    complaints: Complaints,
}

impl Server {
    /// Listens at `bind`. `answer` is called for every question, in the thread of its connection.
    pub fn start(
        identity: &PeerIdentity,
        name: &NodeName,
        answer: Answer,
        bind: SocketAddr,
        reporter: &Reporter,
    ) -> Result<Self, StartError> {
        let config = identity::server(identity, name)?;
        let failed = |source| StartError::Listen { address: bind, source };
        let listener = Arc::new(TcpListener::bind(bind).map_err(failed)?);
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            name: name.clone(),
            config: Mutex::new(config),
            answer,
            places: Mutex::new(HashMap::new()),
            stopping: AtomicBool::new(false),
            complaints: Complaints::new(reporter.clone()),
        });
        let accepting = {
            let (shared, listener) = (shared.clone(), listener.clone());
            let accept = move || accept(&shared, &listener);
            std::thread::Builder::new().name("peers".into()).spawn(accept).map_err(failed)?
        };
        Ok(Self { shared, listener, address, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A seed was read again: connections from now on use this identity. A bad one changes nothing.
    pub fn replace(&self, identity: &PeerIdentity) -> Result<(), BadIdentity> {
        let config = identity::server(identity, &self.shared.name)?;
        *locked(&self.shared.config) = config;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Linux wakes an accept() with EINVAL when its socket is shut down.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's place; free again when dropped.
struct Place {
    shared: Arc<Shared>,
    from: IpAddr,
}

impl Place {
    fn take(shared: &Arc<Shared>, from: IpAddr) -> Option<Self> {
        let mut places = locked(&shared.places);
        let (all, own) = (places.values().sum::<usize>(), places.get(&from).copied().unwrap_or(0));
        if all >= MAX_CONNECTIONS || own >= MAX_PER_ADDRESS {
            return None;
        }
        places.insert(from, own + 1);
        Some(Self { shared: shared.clone(), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = locked(&self.shared.places);
        match places.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(places.remove(&self.from)),
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while !shared.stopping.load(Ordering::SeqCst) {
        let (stream, from) = match listener.accept() {
            Ok((stream, from)) => (stream, from.ip().to_canonical()),
            Err(_) if shared.stopping.load(Ordering::SeqCst) => return,
            Err(e) => {
                if !matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
                    shared.complaints.say(&format!("cannot accept a connection: {e}"));
                    std::thread::sleep(BREATH);
                }
                continue;
            }
        };
        let Some(place) = Place::take(shared, from) else {
            shared.complaints.say(&format!("{from} has too many connections open; one was closed"));
            continue;
        };
        let until = Instant::now() + WHOLE;
        let serve = move || serve(&place.shared, Deadlined::new(stream, until), place.from);
        let spawned = std::thread::Builder::new().name("peer".into()).stack_size(STACK).spawn(serve);
        if let Err(e) = spawned {
            shared.complaints.say(&format!("cannot start a thread for {from}: {e}"));
        }
    }
}

/// One connection, one request.
fn serve(shared: &Shared, mut stream: Deadlined, from: IpAddr) {
    let config = locked(&shared.config).clone();
    if let Err(e) = exchange(shared, config, &mut stream, from) {
        // A connection that ends without a word is a port check, not worth a line.
        if e.kind() != io::ErrorKind::UnexpectedEof {
            shared.complaints.say(&format!("refused {from}: {}", printable(&e.to_string(), 200)));
        }
    }
    stream.hang_up(LINGER, 4 * MAX_HEAD as u64);
}

fn exchange(
    shared: &Shared,
    config: Arc<ServerConfig>,
    stream: &mut Deadlined,
    from: IpAddr,
) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(stream)?;
    }
    let certificate = tls.peer_certificates().and_then(<[_]>::first);
    let caller = Subject::of(certificate.map(AsRef::as_ref).unwrap_or_default());
    let mut tls = rustls::Stream::new(&mut tls, stream);
    let request = http::read_request(&mut tls);
    let (status, body) = match caller {
        Ok(caller) => reply(shared, request, caller, from)?,
        Err(e) => {
            shared.complaints.say(&format!("refused {from}: its certificate is of the peer CA, but {e}"));
            rejection(Status::Forbidden, &format!("your certificate: {e}"))
        }
    };
    tls.write_all(&http::answer(status, &body))?;
    tls.conn.send_close_notify();
    tls.flush()
}

/// What to say to a request of a peer.
fn reply(
    shared: &Shared,
    request: Result<Request, HttpError>,
    caller: Subject,
    from: IpAddr,
) -> io::Result<(Status, Vec<u8>)> {
    let request = match request {
        Ok(request) => request,
        Err(HttpError::Io(e)) => return Err(e),
        Err(HttpError::HeadTooLong) => {
            return Ok(rejection(Status::HeadTooLarge, &HttpError::HeadTooLong.to_string()));
        }
        Err(e) => return Ok(rejection(Status::BadRequest, &e.to_string())),
    };
    if request.path != STANDING {
        let why = match version(&request.path) {
            Some(theirs) if theirs != PROTOCOL => {
                format!("this node speaks version {PROTOCOL} of the peer protocol, you version {theirs}")
            }
            _ => "there is nothing".to_owned(),
        };
        return Ok(rejection(Status::NotFound, &why));
    }
    if request.method != "GET" {
        return Ok(rejection(Status::MethodNotAllowed, "only GET is answered here"));
    }
    let question = Question { caller, from, asker: request.asker };
    match (shared.answer)(&question).to_bytes() {
        Ok(body) => Ok((Status::Ok, body)),
        Err(e) => {
            shared.complaints.say(&format!("this node's own answer cannot be sent: {e}"));
            Ok(rejection(Status::InternalError, &e.to_string()))
        }
    }
}

/// The version in a path of any version.
fn version(path: &str) -> Option<u32> {
    path.strip_prefix(PATH_ROOT)?.split('/').next()?.parse().ok()
}

fn rejection(status: Status, why: &str) -> (Status, Vec<u8>) {
    (status, Rejection::new(why).to_bytes().unwrap_or_default())
}
