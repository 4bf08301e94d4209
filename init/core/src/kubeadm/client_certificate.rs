//! The kubelet's own client certificate: until when it is good.

use x509_parser::pem::parse_x509_pem;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// The end of the first certificate of a PEM file (kubelet-client-current.pem has the key behind it). `None`: there is none
/// that can be read.
pub fn client_certificate_end(pem: &str) -> Option<jiff::Timestamp> {
    let at = pem.find(BEGIN)?;
    let (_, block) = parse_x509_pem(pem.get(at..)?.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    jiff::Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_stands_in_the_certificate() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut wanted = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        wanted.not_before = rcgen::date_time_ymd(2020, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2021, 2, 3);
        let pem = wanted.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem();
        let end = client_certificate_end(&pem).expect("an end");
        assert_eq!(end.to_string(), "2021-02-03T00:00:00Z");
        assert_eq!(client_certificate_end(&key.serialize_pem()), None);
        assert_eq!(client_certificate_end(pem.get(..100).expect("text")), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = client_certificate_end(&text);
            let _ = client_certificate_end(&format!("{BEGIN}{text}-----END CERTIFICATE-----"));
        }
    }
}
