//! What a node without an API server of its own does: it finds the cluster behind the endpoint, and gets what its kubelet
//! needs to join.
//!
//! The endpoint's addresses are tried one after another; "refused" (nothing has formed yet) and "no answer" (look at the
//! network) are told apart. Who answers must have the seed's CA. Until the kubelet has its own certificate, the seed's
//! bootstrap token speaks for it.

use super::api::Api;
use super::https::{Https, Identity};
use super::{Formation, files, phases, records};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::Role;
use nodeimg_init_core::formation::Event;
use nodeimg_init_core::kubeadm;
use nodeimg_init_core::node_config::NodeConfig;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// The kubelet's client certificate and key, one file, renewed by the kubelet.
const KUBELET_CERTIFICATE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
const CONNECT: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(15);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_BYTES: u64 = 1 << 20;
const PATCHES: &str = "/run/nodeimg/kubeadm/patches";

/// Why the cluster does not let this node in, and how long that may be normal.
struct Shut {
    code: Code,
    cause: String,
    help: &'static str,
    patience: Duration,
}

/// Reads the cluster's record; what keeps it from that is waited for by name.
pub fn read_cluster_record(f: &Formation<'_>) -> Event {
    match try_read(f) {
        Ok(event) => {
            f.memory.endpoint_wait.replace(None);
            event
        }
        Err(shut) => {
            wait_for(f, shut);
            f.pause(PAUSE);
            Event::Tick
        }
    }
}

fn try_read(f: &Formation<'_>) -> Result<Event, Shut> {
    let way = way(f)?;
    let answer = way.api.get(&records::path()).map_err(|fault| {
        turn(f);
        not_ours(fault.cause)
    })?;
    if answer.status >= 500 {
        turn(f);
    }
    match answer.status {
        401 => Err(unknown_to_it(f, way.by_token)),
        // Before the cluster has written who may read it, nobody may.
        403 => Ok(Event::ClusterRecordRead(None)),
        _ => match records::parse(&answer) {
            Ok(record) => Ok(Event::ClusterRecordRead(record)),
            Err(fault) => Err(Shut {
                code: fault.code,
                cause: fault.cause,
                help: "look at the consoles of the control planes",
                patience: Duration::from_secs(60),
            }),
        },
    }
}

/// An API server behind the endpoint, as this node may ask it.
pub fn api(f: &Formation<'_>) -> Result<Api, Fault> {
    way(f).map(|way| way.api).map_err(|shut| fault(f, &shut))
}

/// One question behind the endpoint.
pub fn ask(f: &Formation<'_>, path: &str) -> Result<super::https::Answer, String> {
    let way = way(f).map_err(|shut| shut.cause)?;
    let answer = way.api.get(path).map_err(|fault| {
        turn(f);
        fault.cause
    })?;
    if answer.status == 401 {
        let shut = unknown_to_it(f, way.by_token);
        return Err(format!("{}; {}", shut.cause, shut.help));
    }
    Ok(answer)
}

struct Way {
    api: Api,
    by_token: bool,
}

fn way(f: &Formation<'_>) -> Result<Way, Shut> {
    let seed = |cause: &str| Shut {
        code: Code::JoinSecretExpired,
        cause: cause.into(),
        help: "make the node's seed again with \"nodeimg cluster seed DIR NAME\"",
        patience: Duration::ZERO,
    };
    let address = reachable(f)?;
    let (api, by_token) = api_at(&f.config, address, LIMIT).map_err(|cause| seed(&cause))?;
    if by_token && f.memory.opened.get().is_some() {
        // A kubelet that runs finds it when its own certificate is over.
        let _ = can_join_again(f);
    }
    Ok(Way { api, by_token })
}

/// The API server at one of the endpoint's addresses, as this node may ask it: with its kubelet's certificate, or by the
/// seed's token (`true`) while there is none, or none that is still good.
pub fn api_at(config: &NodeConfig, address: SocketAddr, limit: Duration) -> Result<(Api, bool), String> {
    let join = config.join.as_ref().ok_or("the seed has no nodeimg.join")?;
    let own = certificate();
    let (identity, by_token) = match &own {
        Some(pem) => (Identity::Certificate(pem.as_bytes(), pem.as_bytes()), false),
        None => (Identity::Token(&join.token.token), true),
    };
    let https = Https::at(join.ca.as_bytes(), identity, limit, Some(address))?;
    Ok((Api::through(https, format!("https://{}", config.endpoint_text())), by_token))
}

/// The kubelet's own certificate, while it is good.
fn certificate() -> Option<String> {
    let pem = files::text(KUBELET_CERTIFICATE, MAX_BYTES).ok()?;
    (kubeadm::client_certificate_end(&pem)? > crate::clock::system()).then_some(pem)
}

/// Puts right what the kubelet needs to reach the cluster, before it starts and when its certificate is over: a kubelet.conf
/// that a power cut has torn is written again (the kubelet syncs nothing), and one without a good certificate gets its
/// bootstrap file back, to join again by the seed's token.
pub fn can_join_again(f: &Formation<'_>) -> Result<(), Fault> {
    let (Role::Worker, Some(join)) = (f.config.role.value, &f.config.join) else { return Ok(()) };
    let failed = |e: kubeadm::NotRendered| phases::failed("kubelet.conf", e.to_string());
    let has = |file: &str, word: &str| -> Result<bool, Fault> {
        Ok(String::from_utf8_lossy(&files::read(file, MAX_BYTES)?.unwrap_or_default()).contains(word))
    };
    if certificate().is_some() {
        if has(phases::KUBELET_CONF, KUBELET_CERTIFICATE)? {
            return Ok(());
        }
        let text = kubeadm::kubelet_kubeconfig(&f.config, KUBELET_CERTIFICATE).map_err(failed)?;
        return files::write(phases::KUBELET_CONF, text.as_bytes(), 0o600);
    }
    if has(phases::BOOTSTRAP_KUBELET_CONF, &join.token.token)? {
        return Ok(());
    }
    let text = kubeadm::discovery_kubeconfig(&f.config).map_err(failed)?;
    f.reporter.line("the kubelet has no good certificate: it joins again by the seed's token");
    files::write(phases::BOOTSTRAP_KUBELET_CONF, text.as_bytes(), 0o600)
}

/// The API server that was asked takes connections and gives no good answer: the next one is asked first from now on.
pub fn turn(f: &Formation<'_>) {
    f.memory.turned_away.set(f.memory.turned_away.get().wrapping_add(1));
}

/// The first address of the endpoint that takes a connection.
fn reachable(f: &Formation<'_>) -> Result<SocketAddr, Shut> {
    let endpoint = &f.config.endpoint;
    let mut addresses: Vec<IpAddr> = endpoint.addresses.value.clone();
    if addresses.is_empty() {
        addresses = (f.resolve)(endpoint.name.as_str()).map_err(|cause| Shut {
            code: Code::NetEndpointName,
            cause,
            help: "add the name to DNS, or set nodeimg.endpoint.addresses in the seed",
            patience: Duration::from_secs(10),
        })?;
    }
    let mut addresses: Vec<_> =
        addresses.into_iter().map(|address| SocketAddr::new(address, endpoint.port.value)).collect();
    if let Some(door) = &*f.memory.door.borrow() {
        door.leads_to(addresses.clone());
    }
    let turned = f.memory.turned_away.get().checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(turned);
    let mut refused = Vec::new();
    let mut silent = Vec::new();
    for at in addresses {
        let address = at.ip();
        match TcpStream::connect_timeout(&at, CONNECT) {
            Ok(_) => return Ok(at),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => refused.push(address.to_string()),
            Err(_) => silent.push(address.to_string()),
        }
    }
    if refused.is_empty() {
        return Err(Shut {
            code: Code::EndpointTimeout,
            cause: format!(
                "{} does not answer: the network, or a firewall, is in between",
                silent.join(", ")
            ),
            help: "look at the network between this node and the endpoint",
            patience: Duration::from_secs(60),
        });
    }
    Err(Shut {
        code: Code::EndpointRefused,
        cause: format!("{} refuses: nothing has formed there yet", refused.join(", ")),
        help: "look at the consoles of the control planes (and of the balancer)",
        patience: Duration::from_secs(300),
    })
}

fn not_ours(cause: String) -> Shut {
    let said = cause.to_ascii_lowercase();
    if ["expired", "not valid yet", "notvalidyet"].iter().any(|word| said.contains(word)) {
        return Shut {
            code: Code::ApiNotReady,
            cause,
            help: "look at the clocks of this node and of the control planes; if the API server's certificate is over, run \
                   \"kubeadm certs renew all\" there and boot it again",
            patience: Duration::from_secs(10),
        };
    }
    let is_tls = cause.contains("certificate") || cause.contains("UnknownIssuer");
    Shut {
        code: if is_tls { Code::AnotherCluster } else { Code::EndpointTimeout },
        cause,
        help: "look which cluster the endpoint leads to; nothing was written to it",
        patience: Duration::from_secs(if is_tls { 10 } else { 60 }),
    }
}

/// The API server does not know this node's token (or certificate): it may not have it yet, or no more.
fn unknown_to_it(f: &Formation<'_>, by_token: bool) -> Shut {
    let ended = f.config.join.as_ref().map(|j| j.token.expires).filter(|end| *end <= crate::clock::now());
    let (cause, patience) = match (by_token, ended) {
        (false, _) => ("the cluster does not take the kubelet's certificate any more".to_owned(), 60),
        (true, Some(end)) => (format!("the seed's bootstrap token ended at {end}"), 0),
        (true, None) => ("the cluster does not know the seed's bootstrap token (yet)".to_owned(), 120),
    };
    Shut {
        code: Code::JoinSecretExpired,
        cause,
        help: "make a new seed with \"nodeimg cluster seed DIR NAME\", and put its token into the cluster",
        patience: Duration::from_secs(patience),
    }
}

fn fault(f: &Formation<'_>, shut: &Shut) -> Fault {
    Fault {
        code: shut.code,
        object: f.config.endpoint_text(),
        cause: shut.cause.clone(),
        help: shut.help.into(),
    }
}

/// One wait for each code; its deadline runs on over many tries.
fn wait_for(f: &Formation<'_>, shut: Shut) {
    let what = format!("the endpoint {}: {}", f.config.endpoint_text(), shut.cause);
    let mut kept = f.memory.endpoint_wait.borrow_mut();
    match &*kept {
        Some((code, guard)) if *code == shut.code => guard.now_for(what, shut.cause),
        _ => *kept = Some((shut.code, f.reporter.waiting(what, shut.patience, fault(f, &shut)))),
    }
}

/// Has kubeadm write the kubelet's configuration (the cluster's, with this node's own settings over it), the CA and the
/// bootstrap kubeconfig. What an earlier try left goes first: no kubelet has run on it.
pub fn render_kubelet(f: &Formation<'_>) -> Result<(), Fault> {
    const OBJECT: &str = "kubeadm join, kubelet-start";
    phases::clear()?;
    let patch = kubeadm::kubelet_patch(&f.config).map_err(|e| phases::failed(OBJECT, e.to_string()))?;
    if let Some((name, text)) = &patch {
        files::folder(phases::RUN, 0o700)?;
        files::folder(PATCHES, 0o700)?;
        files::write(Path::new(PATCHES).join(name), text.as_bytes(), 0o600)?;
    }
    phases::join(f, OBJECT, kubeadm::kubelet_start_arguments, patch.is_some().then_some(PATCHES))?;
    phases::sync()
}

/// A certificate that the kubelet got is made durable, which the kubelet leaves to chance; then the token goes.
pub fn keep_certificate(f: &Formation<'_>) -> Result<(), Fault> {
    let Some(end) = certificate().as_deref().and_then(kubeadm::client_certificate_end) else { return Ok(()) };
    if f.config.role.value != Role::Worker || f.memory.durable.get() == Some(end) {
        return Ok(());
    }
    phases::sync()?;
    f.memory.durable.set(Some(end));
    files::remove(phases::BOOTSTRAP_KUBELET_CONF)
}

/// The address by which this node reaches the endpoint: the one that it is known by, where the seed names none.
pub fn own_address(f: &Formation<'_>) -> Option<IpAddr> {
    let to = reachable(f).ok()?;
    let any: SocketAddr = if to.is_ipv4() { ([0u8; 4], 0).into() } else { ([0u8; 16], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    // Sends nothing: the kernel chooses the route.
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|at| at.ip())
}
