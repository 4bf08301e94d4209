//! What a person does without nodeimg, as shell scripts for a node that has everything installed: `kubeadm init`, then
//! `kubeadm join --control-plane`.
//!
//! Takes names and addresses, gives text; runs nothing. The certificates go by `--upload-certs`, and a bridge stands for the
//! pod network, so that no add-on is waited for: both make the way by hand quicker than most are. Token and certificate key
//! are the same every time: a cluster that is made so ends with its lab.

use std::net::IpAddr;

/// Images are named so; kubeadm's own default is a registry that a lab cannot reach.
const REPOSITORY: &str = "nodeimg.invalid/k8s";
const SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// Programs on kubeadm's path make it look for systemd; the kubelet is started by the script.
const NO_PROGRAMS: &str = "/run/no-programs";
const TOKEN: &str = "abcdef.0123456789abcdef";
const CERTIFICATE_KEY: &str = "4f5e0c6b3a29181716151413121110090807060504030201f0e0d0c0b0a09080";

/// The pod network of one node: a bridge with a range of its own.
pub fn bridge(number: u8) -> String {
    format!(
        r#"cat > /etc/cni/net.d/10-by-hand.conflist <<'END'
{{"cniVersion":"1.0.0","name":"by-hand","plugins":[{{"type":"bridge","bridge":"cni0","isGateway":true,
"ipam":{{"type":"host-local","ranges":[[{{"subnet":"10.244.{number}.0/24"}}]]}}}}]}}
END
"#
    )
}

/// Name of the endpoint, pod network, and a kubelet that starts as soon as kubeadm has written its configuration, as a
/// unit of the init system would. `first`: where the endpoint's name leads.
pub fn prepare(number: u8, first: IpAddr, endpoint: &str) -> String {
    let bridge = bridge(number);
    format!(
        r#"mkdir -p {NO_PROGRAMS} /etc/cni/net.d /var/lib/kubelet /etc/kubernetes
echo '{first} {endpoint}' >> /etc/hosts
{bridge}setsid /bin/sh -c 'until [ -s /var/lib/kubelet/config.yaml ]; do sleep 0.1; done
. /var/lib/kubelet/kubeadm-flags.env
exec /usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
  --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS' \
  < /dev/null > /var/log/kubelet-by-hand.log 2>&1 &"#
    )
}

/// `kubeadm init` on the first node; `version` as `kubeadm version -o short` says it.
pub fn init(node: &str, address: IpAddr, endpoint: &str, version: &str) -> String {
    kubeadm("init --upload-certs", &init_configuration(node, address, endpoint, version))
}

/// `kubeadm join --control-plane` on another.
pub fn join(node: &str, address: IpAddr, endpoint: &str) -> String {
    kubeadm("join", &join_configuration(node, address, endpoint))
}

fn kubeadm(command: &str, config: &str) -> String {
    format!(
        "cat > /run/kubeadm-by-hand.yaml <<'END'\n{config}END\n\
         PATH={NO_PROGRAMS} /usr/bin/kubeadm {command} --config /run/kubeadm-by-hand.yaml --ignore-preflight-errors=all 2>&1"
    )
}

fn init_configuration(node: &str, address: IpAddr, endpoint: &str, version: &str) -> String {
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

fn join_configuration(node: &str, address: IpAddr, endpoint: &str) -> String {
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
