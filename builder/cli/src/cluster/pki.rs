//! A cluster's authorities, and what each node gets of them: kubeadm's names and files, and the peer CA of nodeinits.
//!
//! Form: kubeadm's `certs` phase (subjects, key usages, ten years for a CA, one for a client). The peer CA has its one
//! purpose ([`nodeimg_contract::peer`]): its key stays in the cluster's folder, no node ever holds it.

use super::authority::{Authority, Leaf, Purpose};
use super::spec::Checked;
use super::{ClusterError, keys};
use jiff::Timestamp;
use nodeimg_contract::image::Role;
use nodeimg_contract::peer;
use nodeimg_contract::seed::{
    ExternalEtcd, KeyAlgorithm, KeyPair as SeedKeyPair, PeerIdentity, Pki as SeedPki,
};
use rcgen::KeyPair;
use std::path::{Path, PathBuf};

/// A year: what kubeadm gives an administrator.
pub const ADMIN_LIFETIME: jiff::SignedDuration = jiff::SignedDuration::from_hours(365 * 24);

/// kubeadm's.
const ADMIN_DAYS: u32 = 365;
/// Nobody renews these on a node: they hold as long as the CAs.
const NODE_DAYS: u32 = 3_650;
const LARGEST_FILE: u64 = 1 << 20;

/// Files of an authority below kubeadm's certificates folder, and its common name.
const ROOT: (&str, &str) = ("ca", "kubernetes");
const ETCD: (&str, &str) = ("etcd/ca", "etcd-ca");
const FRONT_PROXY: (&str, &str) = ("front-proxy-ca", "front-proxy-ca");
const PEER: &str = "peer-ca";

/// A cluster's CAs and the key of its service accounts.
pub struct Pki {
    root: Authority,
    etcd: Authority,
    front_proxy: Authority,
    peer: Authority,
    service_account: KeyPair,
    algorithm: KeyAlgorithm,
}

impl Pki {
    /// Takes what lies in `brought` by kubeadm's names, and makes the rest anew.
    pub fn make(
        cluster: &str,
        algorithm: KeyAlgorithm,
        brought: Option<&Path>,
        now: Timestamp,
    ) -> Result<Self, ClusterError> {
        let authority = |(file, name): (&str, &str)| match brought.map(|dir| bring(dir, file, now)) {
            Some(found) => match found? {
                Some(authority) => Ok(authority),
                None => Authority::make(name, algorithm, now),
            },
            None => Authority::make(name, algorithm, now),
        };
        let service_account = match brought.map(bring_service_account) {
            Some(found) => found?,
            None => None,
        };
        if let Some(dir) = brought
            && service_account.is_none()
            && [ROOT, ETCD, FRONT_PROXY].iter().all(|(file, _)| !dir.join(format!("{file}.crt")).exists())
        {
            return Err(ClusterError::Brought {
                path: dir.to_owned(),
                cause: "it has none of ca.crt, etcd/ca.crt, front-proxy-ca.crt and sa.key".into(),
                help: "give a folder with kubeadm's file names: ca.crt and ca.key for a CA of your own",
            });
        }
        Ok(Self {
            root: authority(ROOT)?,
            etcd: authority(ETCD)?,
            front_proxy: authority(FRONT_PROXY)?,
            // P-256 whatever the others are: nodeinits alone read it.
            peer: Authority::make(&peer::ca_name(cluster), KeyAlgorithm::EcdsaP256, now)?,
            service_account: match service_account {
                Some(key) => key,
                None => keys::generate(algorithm, "service-account")?,
            },
            algorithm,
        })
    }

    /// Reads what [`Pki::files`] wrote.
    pub fn open(folder: &Path, algorithm: KeyAlgorithm, now: Timestamp) -> Result<Self, ClusterError> {
        let missing = |file: &str| ClusterError::Brought {
            path: folder.join(file),
            cause: "it is missing".into(),
            help: "restore the cluster's folder from a backup: without its keys no node can be added",
        };
        let authority = |file: &str| bring(folder, file, now)?.ok_or_else(|| missing(&format!("{file}.crt")));
        Ok(Self {
            root: authority(ROOT.0)?,
            etcd: authority(ETCD.0)?,
            front_proxy: authority(FRONT_PROXY.0)?,
            peer: authority(PEER)?,
            service_account: bring_service_account(folder)?.ok_or_else(|| missing("sa.key"))?,
            algorithm,
        })
    }

    /// The CA of the API server and its clients, with its chain; PEM.
    pub fn root_certificate(&self) -> &str {
        self.root.chain()
    }

    /// What a node of this role holds; `external`: etcd does not run beside the API servers.
    pub fn for_seed(&self, role: Role, external: bool) -> Option<SeedPki> {
        match role {
            Role::ControlPlane => Some(SeedPki {
                ca: Some(self.root.for_seed()),
                front_proxy_ca: Some(self.front_proxy.for_seed()),
                etcd_ca: (!external).then(|| self.etcd.for_seed()),
                service_account: Some(SeedKeyPair {
                    certificate: self.service_account.public_key_pem(),
                    key: self.service_account.serialize_pem(),
                }),
            }),
            Role::Etcd => Some(SeedPki { etcd_ca: Some(self.etcd.for_seed()), ..SeedPki::default() }),
            Role::Worker | Role::Lb => None,
        }
    }

    /// A node's identity towards other nodeinits.
    pub fn peer_identity(
        &self,
        node: &str,
        role: Role,
        now: Timestamp,
    ) -> Result<PeerIdentity, ClusterError> {
        let purpose = Purpose {
            name: node,
            organisation: &peer::organisation(role),
            dns: vec![peer::server_name(node)],
            server: true,
            days: NODE_DAYS,
            algorithm: KeyAlgorithm::EcdsaP256,
        };
        let identity = self.peer.issue(&purpose, now)?.for_seed();
        Ok(PeerIdentity { ca: self.peer.chain().to_owned(), identity })
    }

    /// The API server's way to an etcd on other nodes (kubeadm's name for the client).
    pub fn external_etcd(
        &self,
        endpoints: Vec<String>,
        now: Timestamp,
    ) -> Result<ExternalEtcd, ClusterError> {
        let purpose = Purpose {
            name: "kube-apiserver-etcd-client",
            organisation: "",
            dns: Vec::new(),
            server: false,
            days: NODE_DAYS,
            algorithm: self.algorithm,
        };
        let client = self.etcd.issue(&purpose, now)?.for_seed();
        Ok(ExternalEtcd { endpoints, ca: self.etcd.chain().to_owned(), client })
    }

    /// The administrator, by kubeadm's own group for one; until `ends`, in whole days, a year at most.
    pub fn admin(&self, now: Timestamp, ends: Timestamp) -> Result<Leaf, ClusterError> {
        let days = (ends.as_second() - now.as_second() + 3_600).unsigned_abs().div_ceil(86_400);
        let purpose = Purpose {
            name: "kubernetes-admin",
            organisation: "kubeadm:cluster-admins",
            dns: Vec::new(),
            server: false,
            days: u32::try_from(days).unwrap_or(ADMIN_DAYS).min(ADMIN_DAYS),
            algorithm: self.algorithm,
        };
        self.root.issue(&purpose, now)
    }

    /// Path below kubeadm's certificates folder, PEM.
    pub fn files(&self) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        for (file, ca) in [
            (ROOT.0, &self.root),
            (ETCD.0, &self.etcd),
            (FRONT_PROXY.0, &self.front_proxy),
            (PEER, &self.peer),
        ] {
            files.push((format!("{file}.crt").into(), ca.chain().to_owned()));
            files.push((format!("{file}.key").into(), ca.key().to_owned()));
        }
        files.push(("sa.pub".into(), self.service_account.public_key_pem()));
        files.push(("sa.key".into(), self.service_account.serialize_pem()));
        files
    }

    /// The CAs must be valid for as long as the permit and the tokens; a word of warning if they end within a year, for
    /// nothing that they sign lasts longer.
    pub fn outlives(&self, now: Timestamp, checked: &Checked) -> Result<Option<String>, ClusterError> {
        const YEAR: i64 = 365 * 86_400;
        let all = [
            (ROOT.0, &self.root),
            (ETCD.0, &self.etcd),
            (FRONT_PROXY.0, &self.front_proxy),
            (PEER, &self.peer),
        ];
        let Some((file, ends)) =
            all.map(|(file, ca)| (file, ca.ends())).into_iter().min_by_key(|(_, ends)| *ends)
        else {
            return Ok(None);
        };
        let needed = checked.permit_ends.unwrap_or(now).max(checked.tokens_end);
        let day = Timestamp::from_second(ends).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d").to_string();
        if ends < needed.as_second() {
            return Err(ClusterError::Brought {
                path: format!("{file}.crt").into(),
                cause: format!("it ends on {day}, before the permit or the tokens do"),
                help: "bring a CA that is valid for as long as the cluster, or give a shorter --permit-ttl and --token-ttl",
            });
        }
        let soon = ends - now.as_second() < YEAR;
        Ok(soon.then(|| format!("{file}.crt ends on {day}, and every certificate of the cluster with it")))
    }
}

/// `FILE.crt` and `FILE.key` of a folder; none if neither is there.
fn bring(folder: &Path, file: &str, now: Timestamp) -> Result<Option<Authority>, ClusterError> {
    let (crt, key) = (folder.join(format!("{file}.crt")), folder.join(format!("{file}.key")));
    match (crt.exists(), key.exists()) {
        (false, false) => Ok(None),
        (true, true) => Authority::bring(&crt, &read(&crt)?, &read(&key)?, now).map(Some),
        (there, _) => Err(ClusterError::Brought {
            path: if there { key } else { crt },
            cause: "it is missing, and its other half is there".into(),
            help: "bring certificate and key: control planes sign with the cluster's CAs",
        }),
    }
}

fn bring_service_account(folder: &Path) -> Result<Option<KeyPair>, ClusterError> {
    let path = folder.join("sa.key");
    if !path.exists() {
        return Ok(None);
    }
    keys::parse(&read(&path)?).map(Some).map_err(|bad| ClusterError::Brought {
        path,
        cause: bad.cause.into(),
        help: bad.help,
    })
}

fn read(path: &Path) -> Result<String, ClusterError> {
    let bad = |cause: String| ClusterError::Brought {
        path: path.to_owned(),
        cause,
        help: "give a PEM file of at most 1 MiB that you may read",
    };
    let size = path.metadata().map_err(|e| bad(e.to_string()))?.len();
    if size > LARGEST_FILE {
        return Err(bad(format!("it has {size} bytes")));
    }
    std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))
}
