//! A certificate authority: made anew, or brought along (a root, or an intermediate with its chain).

use super::{ClusterError, keys};
use jiff::Timestamp;
use nodeimg_contract::seed::{KeyAlgorithm, KeyPair as SeedKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use std::path::Path;
use std::time::Duration;
use x509_parser::pem::Pem;

/// For machines whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// kubeadm's: ten years for a CA.
const CA_DAYS: u32 = 3_650;
const LONGEST_CHAIN: usize = 8;

/// A CA with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Own certificate first, then its chain; PEM.
    chain: String,
    key: String,
    /// Seconds since 1970: nothing that it signs is valid for longer.
    ends: i64,
}

/// A certificate and its key, PEM.
pub struct Leaf {
    /// Certificate.
    pub certificate: String,
    /// Private key, PKCS #8.
    pub key: String,
}

impl Leaf {
    /// As it stands in a seed.
    pub fn for_seed(self) -> SeedKeyPair {
        SeedKeyPair { certificate: self.certificate, key: self.key }
    }
}

/// What a certificate is for.
pub struct Purpose<'a> {
    /// Common name.
    pub name: &'a str,
    /// Organisation; empty: none.
    pub organisation: &'a str,
    /// DNS names.
    pub dns: Vec<String>,
    /// Whether it serves too; it is a client's in any case.
    pub server: bool,
    /// Days.
    pub days: u32,
    /// Of its key.
    pub algorithm: KeyAlgorithm,
}

impl Authority {
    /// A self-signed root.
    pub fn make(name: &str, algorithm: KeyAlgorithm, now: Timestamp) -> Result<Self, ClusterError> {
        let key = keys::generate(algorithm, name)?;
        let mut params = params(name, now, CA_DAYS, i64::MAX)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        // kubeadm's own CAs have their name here, too; a name that is none for DNS has no place there.
        if let Ok(dns) = name.try_into()
            && !name.contains(' ')
        {
            params.subject_alt_names = vec![SanType::DnsName(dns)];
        }
        let ends = params.not_after.unix_timestamp();
        let chain = params.self_signed(&key).map_err(|e| failed(name, &e))?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), chain, key: key_pem, ends })
    }

    /// A CA that exists. `path` is for messages: the certificate's file.
    pub fn bring(path: &Path, chain: &str, key: &str, now: Timestamp) -> Result<Self, ClusterError> {
        const CHAIN: &str = "give the CA's own certificate first, then each that signed the one before, as kubeadm's files have them";
        let bad = |cause: &str, help: &'static str| ClusterError::Brought {
            path: path.to_owned(),
            cause: cause.to_owned(),
            help,
        };
        let key = keys::parse(key).map_err(|bad| ClusterError::Brought {
            path: path.with_extension("key"),
            cause: bad.cause.into(),
            help: bad.help,
        })?;
        let blocks: Vec<Pem> =
            Pem::iter_from_buffer(chain.as_bytes()).filter_map(Result::ok).take(LONGEST_CHAIN + 1).collect();
        if blocks.len() > LONGEST_CHAIN || blocks.iter().any(|b| b.label != "CERTIFICATE") {
            return Err(bad("it is not a chain of at most 8 certificates in PEM", CHAIN));
        }
        let parsed: Result<Vec<_>, _> = blocks.iter().map(Pem::parse_x509).collect();
        let parsed = parsed.map_err(|_| bad("a certificate in it is not X.509", CHAIN))?;
        let Some(own) = parsed.first() else {
            return Err(bad("it holds no certificate in PEM", CHAIN));
        };
        if let Some(other) = parsed.iter().find(|c| !c.is_ca()) {
            let cause = format!("\"{}\" is not the certificate of a CA", other.subject());
            return Err(bad(&cause, "give a root, or an intermediate with basicConstraints CA:TRUE"));
        }
        let signs = own.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !signs {
            return Err(bad("its key usage does not allow it to sign certificates", CHAIN));
        }
        if own.public_key().raw != key.subject_public_key_info() {
            return Err(bad("the key beside it belongs to another certificate", CHAIN));
        }
        for pair in parsed.windows(2) {
            let [signed, signer] = pair else { continue };
            let linked = signed.issuer() == signer.subject()
                && signed.verify_signature(Some(signer.public_key())).is_ok();
            if !linked {
                let cause = format!("\"{}\" was not signed by \"{}\"", signed.subject(), signer.subject());
                return Err(bad(&cause, CHAIN));
            }
        }
        let ends = parsed.iter().map(|c| c.validity().not_after.timestamp()).min().unwrap_or_default();
        let begins = parsed.iter().map(|c| c.validity().not_before.timestamp()).max().unwrap_or_default();
        if !(begins..ends).contains(&now.as_second()) {
            return Err(bad("it is not valid today", "bring a CA that is valid for as long as the cluster"));
        }
        let der = blocks.first().map(|b| b.contents.clone()).unwrap_or_default();
        let key_pem = key.serialize_pem();
        let issuer = Issuer::from_ca_cert_der(&der.into(), key)
            .map_err(|_| bad("its subject or extensions are not understood", CHAIN))?;
        let chain = blocks.iter().map(|b| pem_text(&b.contents)).collect();
        Ok(Self { issuer, chain, key: key_pem, ends })
    }

    /// Own certificate first, then its chain; PEM.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Seconds since 1970: end of the certificate, or of an earlier one in its chain.
    pub fn ends(&self) -> i64 {
        self.ends
    }

    /// Private key, PEM, PKCS #8.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Certificates and key as they stand in a seed.
    pub fn for_seed(&self) -> SeedKeyPair {
        SeedKeyPair { certificate: self.chain.clone(), key: self.key.clone() }
    }

    /// Signs a certificate for a new key.
    pub fn issue(&self, purpose: &Purpose<'_>, now: Timestamp) -> Result<Leaf, ClusterError> {
        let name = purpose.name;
        let key = keys::generate(purpose.algorithm, name)?;
        let mut params = params(name, now, purpose.days, self.ends)?;
        if !purpose.organisation.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, purpose.organisation);
        }
        for dns in &purpose.dns {
            let dns = dns.as_str().try_into().map_err(|e| failed(name, &e))?;
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if purpose.server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|e| failed(name, &e))?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params(name: &str, now: Timestamp, days: u32, latest: i64) -> Result<CertificateParams, ClusterError> {
    let since_1970 = u64::try_from(now.as_second()).map_err(|_| ClusterError::Certificate {
        subject: name.to_owned(),
        cause: "this machine's clock is before 1970".into(),
    })?;
    let at = |seconds: Duration| rcgen::date_time_ymd(1970, 1, 1) + seconds;
    let begin = Duration::from_secs(since_1970).saturating_sub(BACKDATED);
    let latest = Duration::from_secs(u64::try_from(latest).unwrap_or_default());
    let mut params = CertificateParams::default();
    params.not_before = at(begin);
    params.not_after = at((begin + DAY * days).min(latest));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn pem_text(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

fn failed(subject: &str, error: &rcgen::Error) -> ClusterError {
    ClusterError::Certificate { subject: subject.to_owned(), cause: error.to_string() }
}
