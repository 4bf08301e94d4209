//! Names of the peer protocol that stand in certificates and firewalls: `nodeimg cluster new` writes them, nodeinit
//! checks them.
//!
//! A peer certificate is signed by the cluster's peer CA and has the node's name as common name, the word of its role
//! ([`organisation`]) as organisation, [`server_name`] as DNS name, and both uses (server and client authentication).

use crate::image::Role;

/// TCP port on which nodeinit of a control plane or etcd node answers other nodeinits.
pub const PORT: u16 = 10700;

/// Common name of the peer CA of a cluster.
pub fn ca_name(cluster: &str) -> String {
    format!("nodeimg-peer-ca {cluster}")
}

/// The organisation (O) of a peer certificate: what says the role.
pub fn organisation(role: Role) -> String {
    format!("nodeimg:{role}")
}

/// The role that an organisation says.
pub fn role_of(organisation: &str) -> Option<Role> {
    [Role::ControlPlane, Role::Worker, Role::Lb, Role::Etcd]
        .into_iter()
        .find(|r| self::organisation(*r) == organisation)
}

/// The DNS name in a peer certificate: what a client expects of the node that it calls. Never resolved.
pub fn server_name(node: &str) -> String {
    format!("{node}.peer.nodeimg.invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_go_there_and_back() {
        for role in [Role::ControlPlane, Role::Worker, Role::Lb, Role::Etcd] {
            assert_eq!(role_of(&organisation(role)), Some(role));
        }
        assert_eq!(role_of("system:masters"), None);
    }
}
