//! Pod, service and node networks: sizes, families, overlaps (NI-NET-005).

use super::Problem;
use ipnet::IpNet;
use nodeimg_contract::fault::Code;
use nodeimg_contract::networks::{pod_lengths, service_lengths};
use std::net::IpAddr;

pub use nodeimg_contract::networks::{DEFAULT_POD, DEFAULT_SERVICE};

/// Parses `ADDRESS/LENGTH`; the address must be the network's own.
pub fn subnet(text: &str) -> Result<IpNet, String> {
    if text.contains(',') {
        return Err("two address families at once are not supported yet".into());
    }
    let net: IpNet = text.parse().map_err(|_| "not a network in the form ADDRESS/LENGTH".to_owned())?;
    if net.trunc() != net {
        return Err(format!("{net} is an address inside {}", net.trunc()));
    }
    Ok(net)
}

/// Everything that must not overlap.
pub struct Networks<'a> {
    /// `podSubnet`.
    pub pod: IpNet,
    /// `serviceSubnet`.
    pub service: IpNet,
    /// Addresses of the control planes.
    pub nodes: &'a [IpAddr],
    /// Addresses of the endpoint.
    pub endpoint: &'a [IpAddr],
    /// Networks of this node's links.
    pub links: &'a [IpNet],
}

impl Networks<'_> {
    /// Everything that is wrong.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.sizes(&mut problems);
        if overlap(self.pod, self.service) {
            problems.push(overlapping("podSubnet", self.pod, &format!("serviceSubnet {}", self.service)));
        }
        for (key, net) in [("podSubnet", self.pod), ("serviceSubnet", self.service)] {
            for address in self.nodes.iter().filter(|a| net.contains(*a)) {
                problems.push(overlapping(key, net, &format!("the control plane's address {address}")));
            }
            for address in self.endpoint.iter().filter(|a| net.contains(*a) && !self.nodes.contains(a)) {
                problems.push(overlapping(key, net, &format!("the endpoint's address {address}")));
            }
            for link in self.links.iter().filter(|l| overlap(net, **l)) {
                // A link that holds a control plane's address was named already.
                if !self.nodes.iter().any(|a| net.contains(a) && link.contains(a)) {
                    problems.push(overlapping(key, net, &format!("this node's network {}", link.trunc())));
                }
            }
        }
        problems
    }

    fn sizes(&self, problems: &mut Vec<Problem>) {
        let wanted = pod_lengths(self.pod.addr().is_ipv4());
        if !wanted.contains(&self.pod.prefix_len()) {
            let cause = format!("{} cannot be divided among nodes", self.pod);
            let help = format!("use a length from /{} to /{}", wanted.start(), wanted.end());
            problems.push(Problem::invalid("nodeimg.kubernetes.podSubnet", cause, help));
        }
        let wanted = service_lengths(self.service.addr().is_ipv4());
        if !wanted.contains(&self.service.prefix_len()) {
            let cause = format!("{} has too few or too many addresses", self.service);
            let help = format!("use a length from /{} to /{}", wanted.start(), wanted.end());
            problems.push(Problem::invalid("nodeimg.kubernetes.serviceSubnet", cause, help));
        }
        let all = [self.pod.addr(), self.service.addr()];
        if self.nodes.iter().any(|n| all.iter().any(|a| a.is_ipv4() != n.is_ipv4())) {
            problems.push(Problem::invalid(
                "nodeimg.kubernetes",
                "podSubnet, serviceSubnet and the control planes' addresses are not of one address family",
                "use IPv4 for all or IPv6 for all",
            ));
        }
    }
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

fn overlapping(key: &str, net: IpNet, other: &str) -> Problem {
    Problem::invalid(
        format!("nodeimg.kubernetes.{key}"),
        format!("{net} overlaps {other}"),
        "choose another network; a pod could not tell the two apart",
    )
    .with_code(Code::NetOverlap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(pod: &str, service: &str, node: &str, link: &str) -> Vec<Code> {
        let nodes: Vec<IpAddr> = vec![node.parse().expect("address")];
        let links: Vec<IpNet> = vec![link.parse().expect("network")];
        let n = Networks {
            pod: subnet(pod).expect("network"),
            service: subnet(service).expect("network"),
            nodes: &nodes,
            endpoint: &nodes,
            links: &links,
        };
        n.problems().into_iter().map(|p| p.code).collect()
    }

    #[test]
    fn networks_that_meet_are_told() {
        assert!(codes(DEFAULT_POD, DEFAULT_SERVICE, "192.0.2.11", "192.0.2.11/24").is_empty());
        assert_eq!(codes("10.96.0.0/16", DEFAULT_SERVICE, "192.0.2.11", "192.0.2.11/24"), [Code::NetOverlap]);
        assert_eq!(codes(DEFAULT_POD, DEFAULT_SERVICE, "10.244.1.1", "10.244.1.1/24"), [Code::NetOverlap]);
        assert_eq!(codes(DEFAULT_POD, DEFAULT_SERVICE, "192.0.2.11", "10.0.0.1/8"), [Code::NetOverlap; 2]);
        assert_eq!(
            codes("10.244.0.0/25", DEFAULT_SERVICE, "192.0.2.11", "192.0.2.11/24"),
            [Code::SeedInvalid]
        );
        assert_eq!(codes(DEFAULT_POD, "10.0.0.0/30", "192.0.2.11", "192.0.2.11/24"), [Code::SeedInvalid]);
        assert_eq!(codes("fd00::/56", "10.96.0.0/16", "192.0.2.11", "192.0.2.11/24"), [Code::SeedInvalid]);
    }

    #[test]
    fn a_subnet_is_written_by_its_own_address() {
        assert!(subnet("10.244.1.0/16").is_err());
        assert!(subnet("10.244.0.0/16,fd00::/56").is_err());
        assert!(subnet("10.244.0.0/33").is_err());
    }
}
