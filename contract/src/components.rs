//! Arguments of a control plane's components (kubeadm's `extraArgs`), and names in the API server's certificate: what a seed
//! may say. Takes names and values, gives why one is refused; knows no seed and no file.

use crate::names::dns_name;
use std::net::IpAddr;

/// Most arguments of one component.
pub const MAX_ARGUMENTS: usize = 64;
/// Most names in the API server's certificate beside its own.
pub const MAX_SANS: usize = 64;
/// What to do about a text that is no argument's name.
pub const ARGUMENT_HELP: &str = "write the argument as the program's help does, without dashes";
const MAX_VALUE_BYTES: usize = 4096;

/// A component that kubeadm runs as a static pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// `apiServer`.
    ApiServer,
    /// `controllerManager`.
    ControllerManager,
    /// `scheduler`.
    Scheduler,
    /// `etcd.local`.
    Etcd,
}

impl Component {
    /// What kubeadm or nodeinit decides: the birth and its lists, where a component listens for the others, its identity, and
    /// what keeps an acknowledged write. (An argument of a seed replaces kubeadm's own of that name.)
    fn own(self) -> &'static [&'static str] {
        match self {
            Component::ApiServer => &[
                "advertise-address",
                "client-ca-file",
                "etcd-cafile",
                "etcd-certfile",
                "etcd-keyfile",
                "etcd-servers",
                "kubelet-client-certificate",
                "kubelet-client-key",
                "secure-port",
                "service-account-key-file",
                "service-account-signing-key-file",
                "service-cluster-ip-range",
                "tls-cert-file",
                "tls-private-key-file",
            ],
            Component::ControllerManager => &[
                "allocate-node-cidrs",
                "authentication-kubeconfig",
                "authorization-kubeconfig",
                "cluster-cidr",
                "cluster-signing-cert-file",
                "cluster-signing-key-file",
                "kubeconfig",
                "leader-elect",
                "root-ca-file",
                "service-account-private-key-file",
                "service-cluster-ip-range",
                "use-service-account-credentials",
            ],
            Component::Scheduler => {
                &["authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig", "leader-elect"]
            }
            Component::Etcd => &[
                "advertise-client-urls",
                "cert-file",
                "client-cert-auth",
                // etcd that has one ignores every other argument.
                "config-file",
                "data-dir",
                "discovery",
                "discovery-srv",
                "force-new-cluster",
                "initial-advertise-peer-urls",
                "initial-cluster",
                "initial-cluster-state",
                "initial-cluster-token",
                "key-file",
                "listen-client-urls",
                "listen-peer-urls",
                "name",
                "peer-cert-file",
                "peer-client-cert-auth",
                "peer-key-file",
                "peer-trusted-ca-file",
                "strict-reconfig-check",
                "trusted-ca-file",
                "unsafe-no-fsync",
                "wal-dir",
            ],
        }
    }
}

/// Why an argument cannot be given, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadArgument {
    /// Why.
    pub cause: &'static str,
    /// The next step.
    pub help: &'static str,
}

/// Whether a component may be given this argument; else why not.
pub fn argument(component: Component, name: &str, value: &str) -> Result<(), BadArgument> {
    argument_name(name).map_err(|cause| BadArgument { cause, help: ARGUMENT_HELP })?;
    if component.own().contains(&name) {
        return Err(BadArgument { cause: "it is decided by nodeimg", help: "leave it out" });
    }
    if value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
        let cause = "its value has control characters or more than 4096 bytes";
        return Err(BadArgument { cause, help: "correct the value" });
    }
    Ok(())
}

/// Whether a text is an argument's name, without dashes; else why not.
pub fn argument_name(name: &str) -> Result<(), &'static str> {
    let good = name.len() <= 100
        && name.bytes().next().is_some_and(|c| c.is_ascii_lowercase())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.');
    if good {
        Ok(())
    } else {
        Err("an argument's name has lower-case letters, digits, \"-\" and \".\" only, and no leading dashes")
    }
}

/// Whether a text can stand in a certificate: a DNS name, `*.` and a DNS name, or an IP address; else why not.
pub fn subject_alt_name(text: &str) -> Result<(), &'static str> {
    let good = text.parse::<IpAddr>().is_ok()
        || dns_name(text.strip_prefix("*.").unwrap_or(text)).is_ok()
        || text == "localhost";
    if good { Ok(()) } else { Err("it is neither a DNS name nor an IP address") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_components_own_or_has_a_good_name() {
        assert_eq!(argument(Component::Etcd, "heartbeat-interval", "500"), Ok(()));
        assert!(argument(Component::Etcd, "initial-cluster", "x").is_err(), "the birth's");
        assert_eq!(argument(Component::ApiServer, "initial-cluster", "x"), Ok(()), "another component's");
        assert!(argument(Component::Etcd, "config-file", "/x").is_err(), "etcd would ignore the birth's");
        assert!(argument(Component::Scheduler, "--v", "4").is_err());
        assert!(argument(Component::Scheduler, "v", "4\n- --kubeconfig=/x").is_err(), "a line of its own");
    }

    #[test]
    fn certificates_hold_names_and_addresses() {
        for good in ["api.example.net", "*.example.net", "192.0.2.1", "2001:db8::1", "localhost"] {
            assert_eq!(subject_alt_name(good), Ok(()), "{good}");
        }
        for bad in ["", "*", "1.2.3", "a_b", "https://api.example.net"] {
            assert!(subject_alt_name(bad).is_err(), "{bad}");
        }
    }
}
