//! Whether a peer certificate is what [`nodeimg_contract::peer`] says: names, role, issuer. Signatures are the TLS
//! library's business, at every connection.

use nodeimg_contract::image::Role;
use nodeimg_contract::peer;
use nodeimg_contract::seed::PeerIdentity;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{Pem, parse_x509_pem};

/// The node's own certificate, by the name and role that it must have.
pub(super) fn check(identity: &PeerIdentity, name: &str, role: Role) -> Result<(), String> {
    let ca = pem(&identity.ca).ok_or("the peer CA is not readable")?;
    let own = pem(&identity.identity.certificate).ok_or("the certificate is not readable")?;
    let ca = ca.parse_x509().map_err(|_| "the peer CA is not an X.509 certificate")?;
    let own = own.parse_x509().map_err(|_| "not an X.509 certificate")?;
    if !ca.is_ca() {
        return Err("nodeimg.peer.ca is not the certificate of a CA".into());
    }
    if own.issuer() != ca.subject() {
        return Err("another CA than nodeimg.peer.ca made it".into());
    }
    let common = one(own.subject().iter_common_name().map(|a| a.as_str()));
    if common != Some(name) {
        return Err(format!("it was made for \"{}\", this node is \"{name}\"", common.unwrap_or_default()));
    }
    let organisation = one(own.subject().iter_organization().map(|a| a.as_str())).unwrap_or_default();
    if peer::role_of(organisation) != Some(role) {
        return Err(format!("it was made for \"{organisation}\", this node's role is \"{role}\""));
    }
    let wanted = peer::server_name(name);
    if !dns_names(&own).any(|n| n == wanted) {
        return Err(format!("it does not have the DNS name \"{wanted}\""));
    }
    Ok(())
}

fn pem(text: &str) -> Option<Pem> {
    // The parser takes text before the block as a part of it; a seed's PEM may have a comment there.
    let begin = text.find("-----BEGIN")?;
    parse_x509_pem(text.get(begin..)?.as_bytes()).ok().map(|(_, pem)| pem)
}

/// The only one, as text.
fn one<'a, E>(mut values: impl Iterator<Item = Result<&'a str, E>>) -> Option<&'a str> {
    let first = values.next()?.ok()?;
    values.next().is_none().then_some(first)
}

fn dns_names<'a>(certificate: &'a X509Certificate<'a>) -> impl Iterator<Item = &'a str> {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.into_iter().flat_map(|n| &n.value.general_names).filter_map(|n| match n {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    })
}
