//! Which Kubernetes versions may stand side by side (Kubernetes' version skew policy).

use nodeimg_contract::image::Role;

/// Why this image's version does not fit the cluster's; `None`: it does. API servers of one cluster are at most one minor
/// version apart; a kubelet is never newer than the API server, and at most three minor versions older.
pub fn skew(cluster: &str, image: &str, role: Role) -> Option<String> {
    let not =
        |why: &str| Some(format!("the cluster runs Kubernetes {cluster}, this image has {image}: {why}"));
    let (Some(theirs), Some(own)) = (minor(cluster), minor(image)) else {
        return not("one of them is no version");
    };
    if theirs.0 != own.0 {
        return not("another major version");
    }
    let (theirs, own) = (theirs.1, own.1);
    match role {
        Role::ControlPlane if theirs.abs_diff(own) > 1 => {
            not("API servers of one cluster are at most one minor version apart")
        }
        Role::Worker | Role::Lb if own > theirs => not("a kubelet may not be newer than the API server"),
        Role::Worker | Role::Lb if theirs - own > 3 => {
            not("a kubelet may be at most three minor versions older than the API server")
        }
        _ => None,
    }
}

/// Which versions two images have, if they must not be born together: the nodes of one birth have one minor version.
pub fn other_minor(theirs: &str, own: &str) -> Option<String> {
    let one = minor(theirs).is_some() && minor(theirs) == minor(own);
    (!one).then(|| format!("{theirs}, this node {own}"))
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_kubernetes() {
        assert_eq!(skew("v1.36.3", "1.36.0", Role::ControlPlane), None);
        assert_eq!(skew("v1.36.3", "1.37.1", Role::ControlPlane), None);
        assert!(skew("v1.36.3", "1.38.0", Role::ControlPlane).is_some());
        assert_eq!(skew("v1.36.3", "1.33.9", Role::Worker), None);
        assert!(skew("v1.36.3", "1.37.0", Role::Worker).is_some());
        assert!(skew("v1.36.3", "1.32.0", Role::Worker).is_some());
        assert!(skew("", "1.32.0", Role::Worker).is_some());
        assert_eq!(other_minor("1.36.3", "1.36.0"), None);
        assert_eq!(other_minor("1.34.1", "1.36.0").as_deref(), Some("1.34.1, this node 1.36.0"));
        assert!(other_minor("", "").is_some(), "no version is like no other");
    }
}
