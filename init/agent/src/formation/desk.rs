//! The desk at which this node answers other nodeinits and asks them.
//!
//! Takes the seed's peer identity, gives a [`Desk`]: a server that says what the synced record says, a client for rounds
//! of questions, and a memory of whom this node heard of and when. A member of a cluster that asks is heard as well: in a
//! round it is asked back, and if it does not answer, what it said counts. A node without a peer identity (alone in its list, a
//! worker) has a desk at which nobody asks.

use crate::peer::{Client, Complaints, PeerError, Question, Server};
use crate::report::Reporter;
use nodeimg_contract::birth::{BirthId, Incarnation};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_contract::peer::PORT;
use nodeimg_init_core::formation::{Answer, ClusterRecord, KUBERNETES, Listed, Standing};
use nodeimg_init_core::kubeadm;
use nodeimg_init_core::node_config::{NodeConfig, NodeName};
use nodeimg_init_core::peer::{self, Asker, Contact, Hello};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Contacts that are kept and said, at most (the protocol's bound).
const MAX_CONTACTS: usize = 64;
/// For so long a member's question counts as an answer. Members ask every second whom they do not know as one of theirs.
const HEARD: Duration = Duration::from_secs(30);

/// Shared by formation, its watch and the server; cheap to clone.
#[derive(Clone)]
pub struct Desk {
    client: Option<Client>,
    said: Arc<Said>,
    /// Answers as long as somebody holds the desk.
    _server: Option<Arc<Server>>,
}

/// What this node says.
struct Said {
    name: NodeName,
    role: Role,
    fields: BTreeMap<&'static str, String>,
    /// Of its image.
    kubernetes: String,
    complaints: Complaints,
    now: Mutex<Now>,
}

struct Now {
    standing: Standing,
    waits_for: Option<String>,
    control_planes: Vec<peer::Listed>,
    contacts: BTreeMap<(String, Incarnation), Instant>,
    askers: BTreeMap<NodeName, Heard>,
}

/// A member of a cluster has asked.
#[derive(Clone)]
struct Heard {
    asker: Asker,
    from: IpAddr,
    at: Instant,
}

impl Desk {
    /// Opens it as soon as the seed is decided: until the record was read it cannot say.
    pub fn open(reporter: &Reporter, config: &NodeConfig, image: &RootManifest) -> Result<Self, Fault> {
        let standing = Standing::CannotSay { reason: "its state disk is not read yet".into() };
        let (waits_for, control_planes, contacts) = (None, Vec::new(), BTreeMap::new());
        let askers = BTreeMap::new();
        let now = Mutex::new(Now { standing, waits_for, control_planes, contacts, askers });
        let fields = config.seed_fields();
        let fixed = hello(config, image, &fields);
        let (name, role) = (config.name.value.clone(), config.role.value);
        let kubernetes = image.kubernetes.clone();
        let complaints = Complaints::new(reporter.clone());
        let said = Arc::new(Said { name, role, fields, kubernetes, complaints, now });
        let Some((identity, fixed)) = config.peer.as_ref().zip(fixed) else {
            return Ok(Self { client: None, said, _server: None });
        };
        let failed = |cause: String| Fault {
            code: Code::PeerUntrusted,
            object: "nodeimg.peer".into(),
            cause,
            help: "make the node's seed again with \"nodeimg cluster seed\"".into(),
        };
        let name = &config.name.value;
        let client = Client::new(identity, name).map_err(|e| failed(e.to_string()))?;
        let any: IpAddr = match config.address {
            Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let answering = said.clone();
        let answer = Arc::new(move |question: &Question| {
            answering.hears(question);
            answering.hello(&fixed)
        });
        let server = Server::start(identity, name, answer, SocketAddr::new(any, PORT), reporter)
            .map_err(|e| failed(e.to_string()))?;
        Ok(Self { client: Some(client), said, _server: Some(Arc::new(server)) })
    }

    /// From now on others hear this; it is of what is synced.
    pub fn says(&self, standing: Standing) {
        self.said.now().standing = standing;
    }

    /// What people hear at another node's console.
    pub fn waits_for(&self, what: Option<String>) {
        self.said.now().waits_for = what;
    }

    /// The cluster's own record was read: its members are the current list, and are watched from now on. Somebody who
    /// was not heard of since is quiet for as long as he is watched.
    pub fn watches(&self, cluster: &ClusterRecord) {
        let mut now = self.said.now();
        let members = cluster.members().iter();
        now.control_planes = members
            .filter_map(|(name, m)| Some(peer::Listed { name: name.parse().ok()?, address: m.address }))
            .collect();
        for (name, member) in cluster.members() {
            now.contacts.entry((name.clone(), member.incarnation.clone())).or_insert_with(Instant::now);
        }
        now.bound();
    }

    /// The cluster's current control planes, as a member of it said or as this node read.
    pub fn control_planes(&self) -> Vec<peer::Listed> {
        self.said.now().control_planes.clone()
    }

    /// Asks one node. What was heard is remembered.
    pub fn ask(&self, name: &NodeName, address: IpAddr) -> Result<Hello, PeerError> {
        let Some(client) = &self.client else {
            return Err(PeerError::Network("this node's seed has no nodeimg.peer".into()));
        };
        let asker = Asker::of(&self.said.now().standing);
        let hello = client.saying(asker).ask(address, name)?;
        let mut now = self.said.now();
        if let Some(incarnation) = hello.standing.incarnation() {
            now.contacts.insert((name.to_string(), incarnation.clone()), Instant::now());
            now.bound();
        }
        if now.control_planes.is_empty() {
            now.control_planes = hello.control_planes.clone();
        }
        drop(now);
        Ok(hello)
    }

    /// The cluster that this node says it belongs to.
    pub fn cluster(&self) -> Option<BirthId> {
        self.said.now().standing.cluster()
    }

    /// Asks one node, and whether it says that it belongs to this node's cluster.
    pub fn is_ours(&self, name: &NodeName, address: IpAddr) -> bool {
        let own = self.cluster();
        let Ok(hello) = self.ask(name, address) else { return false };
        own.is_some() && hello.standing.cluster() == own
    }

    /// Members that have asked of late, with the addresses that they asked from.
    pub fn askers(&self) -> Vec<peer::Listed> {
        let listed = |(name, heard): (NodeName, Heard)| peer::Listed { name, address: heard.from };
        self.said.now().recent().into_iter().map(listed).collect()
    }

    /// One round: all at once, an answer for every name; and for every member that has asked of late.
    pub fn ask_all(&self, others: &[Listed]) -> BTreeMap<String, Answer> {
        let is_listed = |name: &NodeName| others.iter().any(|n| n.name == name.as_str());
        let heard = self.said.now().recent();
        let strangers = heard.iter().filter(|(name, _)| !is_listed(name));
        let back = strangers.map(|(name, heard)| Listed { name: name.to_string(), address: heard.from });
        let mut answers = self.answers_of(&others.iter().cloned().chain(back).collect::<Vec<_>>());
        for (name, heard) in heard {
            match answers.get(name.as_str()) {
                // While it answers, it is not forgotten.
                Some(Answer::Said { standing, .. }) if !is_listed(&name) => {
                    if let Some(asker) = Asker::of(standing) {
                        let again = Heard { asker, at: Instant::now(), ..heard };
                        self.said.now().askers.insert(name, again);
                    }
                }
                Some(Answer::Said { .. }) => {}
                Some(Answer::Untrusted(_)) if is_listed(&name) => {}
                _ => {
                    answers.insert(name.to_string(), Answer::Remembered(heard.asker.standing()));
                }
            }
        }
        answers
    }

    fn answers_of(&self, others: &[Listed]) -> BTreeMap<String, Answer> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = others
                .iter()
                .map(|node| (node, std::thread::Builder::new().spawn_scoped(scope, || self.answer_of(node))))
                .collect();
            asked
                .into_iter()
                .map(|(node, thread)| {
                    let answer = thread.ok().and_then(|t| t.join().ok());
                    let lost = || Answer::Silent("it could not be asked: no thread".into());
                    (node.name.clone(), answer.unwrap_or_else(lost))
                })
                .collect()
        })
    }

    fn answer_of(&self, node: &Listed) -> Answer {
        let Ok(name) = node.name.parse::<NodeName>() else {
            return Answer::Untrusted("its name is no node name".into());
        };
        match self.ask(&name, node.address) {
            Ok(hello) => {
                let mut differs = hello.differs_from(&self.said.fields);
                let versions = kubeadm::other_minor(&hello.kubernetes, &self.said.kubernetes);
                differs.extend(versions.map(|versions| format!("{KUBERNETES}{versions}")));
                Answer::Said { standing: hello.standing, differs }
            }
            Err(e @ (PeerError::Refused | PeerError::Timeout | PeerError::Network(_))) => {
                Answer::Silent(e.to_string())
            }
            Err(e) => Answer::Untrusted(e.to_string()),
        }
    }
}

/// Everything of an answer that does not change during a boot. `None`: a node that nobody asks.
fn hello(
    config: &NodeConfig,
    image: &RootManifest,
    fields: &BTreeMap<&'static str, String>,
) -> Option<Hello> {
    Some(Hello {
        name: config.name.value.clone(),
        address: config.address?,
        role: config.role.value,
        cluster: match &config.permit {
            Some(permit) => permit.cluster.clone(),
            None => config.cluster.value.to_string(),
        },
        standing: Standing::CannotSay { reason: String::new() },
        seed: fields.iter().map(|(field, digest)| ((*field).to_owned(), digest.clone())).collect(),
        waits_for: None,
        control_planes: Vec::new(),
        kubernetes: image.kubernetes.clone(),
        nodeinit: env!("CARGO_PKG_VERSION").into(),
        last_contact: Vec::new(),
    })
}

impl Said {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks. A member of a cluster is remembered; one of another birth is told of.
    fn hears(&self, question: &Question) {
        let (name, role) = (&question.caller.name, question.caller.role);
        let Some(asker) = question.asker.clone().filter(|_| *name != self.name && role == self.role) else {
            return;
        };
        let mut now = self.now();
        let own = now.standing.cluster();
        if asker.holds && own.is_some_and(|own| own != asker.birth) {
            let birth: String = asker.birth.0.chars().take(12).collect();
            let from = question.from;
            self.complaints
                .say(&format!("{name} at {from} belongs to another birth of this cluster, {birth}"));
        }
        now.askers.insert(name.clone(), Heard { asker, from: question.from, at: Instant::now() });
        now.bound();
    }

    fn hello(&self, fixed: &Hello) -> Hello {
        let now = self.now();
        let contact = |((name, incarnation), at): (&(String, Incarnation), &Instant)| {
            let seconds = at.elapsed().as_secs();
            Some(Contact { name: name.parse().ok()?, incarnation: incarnation.clone(), seconds })
        };
        Hello {
            standing: now.standing.clone(),
            waits_for: now.waits_for.clone(),
            control_planes: now.control_planes.clone(),
            last_contact: now.contacts.iter().filter_map(contact).collect(),
            ..fixed.clone()
        }
    }
}

impl Now {
    /// Members that asked a while ago at most.
    fn recent(&mut self) -> BTreeMap<NodeName, Heard> {
        self.askers.retain(|_, heard| heard.at.elapsed() < HEARD);
        self.askers.clone()
    }

    /// The latest contacts stay.
    fn bound(&mut self) {
        while self.askers.len() > MAX_CONTACTS {
            let oldest = self.askers.iter().min_by_key(|(_, heard)| heard.at).map(|(who, _)| who.clone());
            match oldest {
                Some(who) => drop(self.askers.remove(&who)),
                None => break,
            }
        }
        while self.contacts.len() > MAX_CONTACTS {
            let oldest = self.contacts.iter().min_by_key(|(_, at)| **at).map(|(who, _)| who.clone());
            match oldest {
                Some(who) => drop(self.contacts.remove(&who)),
                None => return,
            }
        }
    }
}
