//! CAs, keys and the administrator's certificate, with kubeadm's names.
//!
//! Form: kubeadm's `certs` phase (subjects, key usages, ten years for a CA, one for a client). Keys are ECDSA P-256,
//! PKCS #8. Everything is valid from an hour before, for machines whose clock is behind.

use super::ClusterError;
use jiff::Timestamp;
use nodeimg_contract::seed::{KeyPair as SeedKeyPair, Pki as SeedPki};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::time::Duration;

const BACKDATED: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const CA_DAYS: u32 = 3_650;
const CLIENT_DAYS: u32 = 365;

struct Ca {
    params: CertificateParams,
    pem: String,
    key: KeyPair,
}

/// A cluster's CAs and the key of its service accounts.
pub struct Pki {
    root: Ca,
    etcd: Ca,
    front_proxy: Ca,
    service_account: KeyPair,
}

/// A client certificate and its key, PEM.
pub struct Client {
    /// Certificate.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

/// Makes them anew.
pub fn make(now: Timestamp) -> Result<Pki, ClusterError> {
    Ok(Pki {
        root: ca("kubernetes", now)?,
        etcd: ca("etcd-ca", now)?,
        front_proxy: ca("front-proxy-ca", now)?,
        service_account: key("service-account")?,
    })
}

impl Pki {
    /// The CA of the API server and its clients, PEM.
    pub fn root_certificate(&self) -> &str {
        &self.root.pem
    }

    /// As it stands in a control plane's seed.
    pub fn for_seed(&self) -> SeedPki {
        let pair = |ca: &Ca| Some(SeedKeyPair { certificate: ca.pem.clone(), key: ca.key.serialize_pem() });
        SeedPki {
            ca: pair(&self.root),
            front_proxy_ca: pair(&self.front_proxy),
            etcd_ca: pair(&self.etcd),
            service_account: Some(SeedKeyPair {
                certificate: self.service_account.public_key_pem(),
                key: self.service_account.serialize_pem(),
            }),
        }
    }

    /// Path below kubeadm's certificates folder, PEM, and whether it is a secret.
    pub fn files(&self) -> Vec<(&'static str, String, bool)> {
        let mut files = Vec::new();
        for (crt, key, ca) in [
            ("ca.crt", "ca.key", &self.root),
            ("etcd/ca.crt", "etcd/ca.key", &self.etcd),
            ("front-proxy-ca.crt", "front-proxy-ca.key", &self.front_proxy),
        ] {
            files.push((crt, ca.pem.clone(), false));
            files.push((key, ca.key.serialize_pem(), true));
        }
        files.push(("sa.pub", self.service_account.public_key_pem(), false));
        files.push(("sa.key", self.service_account.serialize_pem(), true));
        files
    }

    /// The administrator, by kubeadm's own group for one.
    pub fn admin(&self, now: Timestamp) -> Result<Client, ClusterError> {
        const NAME: &str = "kubernetes-admin";
        let key = key(NAME)?;
        let mut params = params(NAME, now, CLIENT_DAYS)?;
        params.distinguished_name.push(DnType::OrganizationName, "kubeadm:cluster-admins");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_params(&self.root.params, &self.root.key);
        let certificate = params.signed_by(&key, &issuer).map_err(|error| failed(NAME, &error))?;
        Ok(Client { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn ca(name: &str, now: Timestamp) -> Result<Ca, ClusterError> {
    let key = key(name)?;
    let mut params = params(name, now, CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    let dns = name.try_into().map_err(|error| failed(name, &error))?;
    params.subject_alt_names = vec![SanType::DnsName(dns)];
    let pem = params.self_signed(&key).map_err(|error| failed(name, &error))?.pem();
    Ok(Ca { params, pem, key })
}

fn key(subject: &str) -> Result<KeyPair, ClusterError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|error| failed(subject, &error))
}

fn params(name: &str, now: Timestamp, days: u32) -> Result<CertificateParams, ClusterError> {
    let since_1970 = u64::try_from(now.as_second()).map_err(|_| ClusterError::Certificate {
        subject: name.to_owned(),
        cause: "this machine's clock is before 1970".into(),
    })?;
    let at = |seconds: Duration| rcgen::date_time_ymd(1970, 1, 1) + seconds;
    let begin = Duration::from_secs(since_1970).saturating_sub(BACKDATED);
    let mut params = CertificateParams::default();
    params.not_before = at(begin);
    params.not_after = at(begin + DAY * days);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn failed(subject: &str, error: &rcgen::Error) -> ClusterError {
    ClusterError::Certificate { subject: subject.to_owned(), cause: error.to_string() }
}
