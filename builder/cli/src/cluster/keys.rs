//! Keys: made anew, or read from PEM as kubeadm and openssl write it. Nothing here is ever shown.

use super::ClusterError;
use nodeimg_contract::seed::KeyAlgorithm;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;

/// A new key.
pub fn generate(algorithm: KeyAlgorithm, subject: &str) -> Result<KeyPair, ClusterError> {
    let failed = |cause: String| ClusterError::Certificate { subject: subject.to_owned(), cause };
    let curve = |curve| KeyPair::generate_for(curve).map_err(|e| failed(e.to_string()));
    match algorithm {
        KeyAlgorithm::EcdsaP256 => curve(&PKCS_ECDSA_P256_SHA256),
        KeyAlgorithm::EcdsaP384 => curve(&PKCS_ECDSA_P384_SHA384),
        // rcgen's ring signs with RSA keys and makes none.
        KeyAlgorithm::Rsa2048 => rsa_key(2048).map_err(failed),
        KeyAlgorithm::Rsa3072 => rsa_key(3072).map_err(failed),
        KeyAlgorithm::Rsa4096 => rsa_key(4096).map_err(failed),
    }
}

fn rsa_key(bits: usize) -> Result<KeyPair, String> {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).map_err(|e| e.to_string())?;
    from_rsa(&key)
}

fn from_rsa(key: &rsa::RsaPrivateKey) -> Result<KeyPair, String> {
    let der = key.to_pkcs8_der().map_err(|e| e.to_string())?;
    KeyPair::from_pkcs8_der_and_sign_algo(&der.as_bytes().into(), &PKCS_RSA_SHA256).map_err(|e| e.to_string())
}

/// Why a key cannot be used, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey {
    /// Why.
    pub cause: &'static str,
    /// What to do.
    pub help: &'static str,
}

/// A key that was brought along: PKCS #8, PKCS #1 (`RSA PRIVATE KEY`, kubeadm's default) or SEC 1 (`EC PRIVATE KEY`).
pub fn parse(pem: &str) -> Result<KeyPair, BadKey> {
    const UNREADABLE: BadKey = BadKey {
        cause: "it is no unencrypted private key in PEM",
        help: "give the key, unencrypted, in a file of mode 0600",
    };
    const OTHER: BadKey = BadKey {
        cause: "it is a key of a kind or size that is not supported",
        help: "use ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits: make a new key, and a certificate of the CA for it",
    };
    let blocks = || x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    let block = blocks().find(|b| b.label.ends_with("PRIVATE KEY")).ok_or(UNREADABLE)?;
    match block.label.as_str() {
        "PRIVATE KEY" => pkcs8(&block.contents).ok_or(OTHER),
        "RSA PRIVATE KEY" => {
            let key = rsa::RsaPrivateKey::from_pkcs1_der(&block.contents).map_err(|_| UNREADABLE)?;
            from_rsa(&key).map_err(|_| OTHER)
        }
        "EC PRIVATE KEY" => {
            [OID_P256, OID_P384].iter().find_map(|curve| pkcs8(&wrapped(curve, &block.contents))).ok_or(OTHER)
        }
        _ => Err(UNREADABLE),
    }
}

fn pkcs8(der: &[u8]) -> Option<KeyPair> {
    [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256]
        .into_iter()
        .find_map(|algorithm| KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), algorithm).ok())
}

/// RFC 5480: prime256v1 and secp384r1, DER.
const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// RFC 5958 around RFC 5915: SEQUENCE { 0, SEQUENCE { id-ecPublicKey, curve }, OCTET STRING { ECPrivateKey } }.
fn wrapped(curve: &[u8], sec1: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[OID_EC_PUBLIC_KEY, curve]);
    der(0x30, &[&[0x02, 0x01, 0x00], &algorithm, &der(0x04, &[sec1])])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match length {
        0..=127 => bytes.push(length as u8),
        128..=255 => bytes.extend([0x81, length as u8]),
        _ => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend(parts.iter().flat_map(|part| part.iter().copied()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_made_and_read_back() {
        for algorithm in KeyAlgorithm::ALL.into_iter().filter(|a| *a != KeyAlgorithm::Rsa4096) {
            let key = generate(algorithm, "test").expect("a key");
            let read = parse(&key.serialize_pem()).expect("the same key");
            assert_eq!(read.public_key_pem(), key.public_key_pem(), "{algorithm}");
        }
    }

    /// `openssl ecparam -genkey -name prime256v1 | openssl ec`, made for this test.
    #[test]
    fn openssls_form_of_a_curve_is_read() {
        let pem = include_str!("tests/ec-sec1.pem");
        let key = parse(pem).expect("a key");
        assert_eq!(key.public_key_pem(), include_str!("tests/ec-sec1.pub"));
    }

    #[test]
    fn kubeadms_form_of_rsa_is_read() {
        use rsa::pkcs1::EncodeRsaPrivateKey;
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("a key");
        let pem = key.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF).expect("PEM");
        assert!(parse(&pem).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,300}") {
            let _ = parse(&text);
            let _ = parse(&format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n"));
        }
    }
}
