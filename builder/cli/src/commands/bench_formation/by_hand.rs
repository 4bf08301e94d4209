//! What a person does without nodeimg on machines that have everything installed: `kubeadm init` on the first, then
//! `kubeadm join --control-plane` on the second, then on the third.
//!
//! The certificates go by `--upload-certs`, and a bridge stands for the pod network, so that no add-on is waited for: both make
//! the script quicker than most are.

use crate::failure::Failure;
use nodeimg_lab::{Lab, Machine};
use std::time::Duration;

/// Pulled images are named so; kubeadm's own default is a registry that a lab cannot reach.
const REPOSITORY: &str = "nodeimg.invalid/k8s";
const SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// Programs on kubeadm's path make it look for systemd; the kubelet is started by the script.
const NO_PROGRAMS: &str = "/run/no-programs";
/// The throw-away cluster's; it ends with the lab.
const TOKEN: &str = "abcdef.0123456789abcdef";
const CERTIFICATE_KEY: &str = "4f5e0c6b3a29181716151413121110090807060504030201f0e0d0c0b0a09080";

/// Runs the script; returns when all are Ready.
pub fn form(lab: &Lab, names: &[&str], endpoint: &str, limit: Duration) -> Result<(), Failure> {
    let Some((first, rest)) = names.split_first() else { return Ok(()) };
    for (number, name) in (1u8..).zip(names) {
        sh(lab, name, &prepare(number, endpoint), limit)?;
    }
    let version = sh(lab, first, "/usr/bin/kubeadm version -o short", limit)?;
    let config = init_configuration(first, super::address(1), endpoint, version.trim());
    sh(lab, first, &kubeadm("init --upload-certs", &config), limit)?;
    for (number, name) in (2u8..).zip(rest) {
        let config = join_configuration(name, super::address(number), endpoint);
        sh(lab, name, &kubeadm("join", &config), limit)?;
    }
    let ready = r#"{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
    let arguments = ["get", "nodes", "-o", &format!("jsonpath={ready}")];
    lab.until("Ready of all", limit, || {
        let nodes = lab.kubectl(first, &arguments).unwrap_or_default();
        nodes.lines().filter(|l| *l == "True").count() == names.len()
    })?;
    Ok(())
}

fn sh(lab: &Lab, node: &str, script: &str, limit: Duration) -> Result<String, Failure> {
    let answer = lab.node(node).exec(&["/bin/sh", "-ec", script], limit)?;
    if answer.code == Some(0) {
        return Ok(answer.stdout);
    }
    let said = format!("{}{}", answer.stdout, answer.stderr);
    Err(Failure::new(
        format!("kubeadm by hand, {node}: {}", said.trim()),
        "the script's own fault, or the lab's",
    ))
}

/// Name of the endpoint, pod network, and a kubelet that starts as soon as kubeadm has written its configuration, as a
/// unit of the init system would.
fn prepare(number: u8, endpoint: &str) -> String {
    let address = super::address(1);
    format!(
        r#"mkdir -p {NO_PROGRAMS} /etc/cni/net.d /var/lib/kubelet /etc/kubernetes
echo '{address} {endpoint}' >> /etc/hosts
cat > /etc/cni/net.d/10-bench.conflist <<'END'
{{"cniVersion":"1.0.0","name":"bench","plugins":[{{"type":"bridge","bridge":"cni0","isGateway":true,
"ipam":{{"type":"host-local","ranges":[[{{"subnet":"10.244.{number}.0/24"}}]]}}}}]}}
END
setsid /bin/sh -c 'until [ -s /var/lib/kubelet/config.yaml ]; do sleep 0.1; done
. /var/lib/kubelet/kubeadm-flags.env
exec /usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
  --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS' \
  < /dev/null > /var/log/kubelet-by-hand.log 2>&1 &"#
    )
}

fn kubeadm(command: &str, config: &str) -> String {
    format!(
        "cat > /run/kubeadm-by-hand.yaml <<'END'\n{config}END\n\
         PATH={NO_PROGRAMS} /usr/bin/kubeadm {command} --config /run/kubeadm-by-hand.yaml --ignore-preflight-errors=all 2>&1"
    )
}

fn init_configuration(node: &str, address: std::net::IpAddr, endpoint: &str, version: &str) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
imageRepository: {REPOSITORY}
controlPlaneEndpoint: {endpoint}:6443
encryptionAlgorithm: ECDSA-P256
networking: {{podSubnet: 10.244.0.0/16}}
etcd: {{local: {{dataDir: /var/lib/etcd-by-hand}}}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {address}}}
nodeRegistration: {{name: {node}, criSocket: {SOCKET}}}
bootstrapTokens: [{{token: {TOKEN}}}]
certificateKey: {CERTIFICATE_KEY}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
"
    )
}

fn join_configuration(node: &str, address: std::net::IpAddr, endpoint: &str) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken: {{token: {TOKEN}, apiServerEndpoint: '{endpoint}:6443', unsafeSkipCAVerification: true}}
controlPlane:
  localAPIEndpoint: {{advertiseAddress: {address}}}
  certificateKey: {CERTIFICATE_KEY}
nodeRegistration: {{name: {node}, criSocket: {SOCKET}}}
"
    )
}
