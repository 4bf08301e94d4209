//! Both ends on loopback, with certificates made here.

mod asking;
mod serving;

use super::*;
use crate::report::Reporter;
use nodeimg_contract::birth::Incarnation;
use nodeimg_contract::image::Role;
use nodeimg_contract::peer::{organisation, server_name};
use nodeimg_contract::seed::{KeyPair as SeedPair, PeerIdentity};
use nodeimg_init_core::formation::Standing;
use nodeimg_init_core::node_config::NodeName;
use nodeimg_init_core::peer::Hello;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A peer CA.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, nodeimg_contract::peer::ca_name("lab"));
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self { params, key, pem }
    }

    fn identity(&self, node: &str, role: Role) -> PeerIdentity {
        self.signed(node, &organisation(role), |_| ())
    }

    fn signed(&self, node: &str, org: &str, change: impl FnOnce(&mut CertificateParams)) -> PeerIdentity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![server_name(node)]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, node);
        params.distinguished_name.push(DnType::OrganizationName, org);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
        PeerIdentity { ca: self.pem.clone(), identity: SeedPair { certificate, key: key.serialize_pem() } }
    }

    fn client(&self, node: &str) -> Client {
        Client::new(&self.identity(node, Role::ControlPlane), &name(node)).expect("an identity")
    }
}

fn name(text: &str) -> NodeName {
    text.parse().expect("a node name")
}

fn hello(node: &str, role: Role) -> Hello {
    Hello {
        name: name(node),
        address: "127.0.0.1".parse().expect("address"),
        role,
        cluster: "lab".into(),
        standing: Standing::Blank { incarnation: Incarnation("a".repeat(32)), promised: None },
        seed: BTreeMap::new(),
        waits_for: Some("cp3".into()),
        control_planes: Vec::new(),
        kubernetes: "1.36.3".into(),
        nodeinit: "0.1.0".into(),
        last_contact: Vec::new(),
    }
}

/// A server on a free port of loopback, and the folder of its reporter.
struct Running {
    server: Server,
    _folder: tempfile::TempDir,
}

fn start(identity: &PeerIdentity, node: &str, says: Hello) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let reporter = Reporter::quiet(folder.path().into());
    let answer: Answer = Arc::new(move |_: &Question| says.clone());
    let bind = "127.0.0.1:0".parse().expect("an address");
    let server = Server::start(identity, &name(node), answer, bind, &reporter).expect("started");
    Running { server, _folder: folder }
}
