//! Workers: they join by token, pin the cluster's birth, and keep their pods.

use crate::claims::{READY, fault, good, one_cluster, waits_for};
use crate::support::{Seeds, lab_of_roles, tell};
use nodeimg_contract::fault::Code;
use nodeimg_lab::{Lab, Machine};
use std::collections::BTreeSet;
use std::time::Duration;

const CP: (&str, &str) = ("cp1", "10.77.0.11");
const W: &str = "w1=10.77.0.31";

fn one_and_a_worker(more: &[&str]) -> (Seeds, Lab) {
    let seeds = Seeds::with("lab", &[CP], &[&["--worker", W], more].concat());
    let lab = lab_of_roles(&seeds, &["cp1"], &[("w1", "worker")]);
    (seeds, lab)
}

fn labels(lab: &Lab, node: &str) -> String {
    good(lab.kubectl("cp1", &["get", "node", node, "-o", "jsonpath={.metadata.labels}"]))
}

pub fn joins_by_token() {
    let (_seeds, lab) = one_and_a_worker(&[]);
    // The worker first: it waits for the endpoint by name.
    good(lab.power_on(&["w1", "cp1"]));
    good(lab.until_ready(&["cp1", "w1"], READY));
    tell(&lab, "w1", "a worker, powered on with its control plane");
    good(lab.until("w1's role label", READY, || {
        labels(&lab, "w1").contains(r#""node-role.kubernetes.io/worker":"""#)
    }));
    assert!(!labels(&lab, "cp1").contains("node-role.kubernetes.io/worker"), "a control plane is no worker");
    // Its secret of the join is gone; what it has is a kubelet's own certificate.
    let bootstrap =
        good(lab.node("w1").read_state_file("/var/lib/nodeimg/etc/kubernetes/bootstrap-kubelet.conf"));
    assert!(bootstrap.is_none(), "the token stays on the disk");

    good(lab.node("w1").power_cut());
    good(lab.node("w1").power_on());
    good(lab.until_ready(&["w1"], READY));
    tell(&lab, "w1", "after a cut");
    one_cluster(&lab, &["cp1"]);
}

fn no_token_on_disk(lab: &Lab) {
    const FILE: &str = "/var/lib/nodeimg/etc/kubernetes/bootstrap-kubelet.conf";
    let gone = || good(lab.node("w1").read_state_file(FILE)).is_none();
    good(lab.until("the token to be gone from the disk", READY, gone));
}

/// Every container that runs on a node, by ID and process.
fn containers(lab: &Lab, node: &str) -> BTreeSet<String> {
    let list = ["ctr", "-n", "k8s.io", "tasks", "ls"];
    let answer = good(lab.node(node).exec(&list, Duration::from_secs(30)));
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    answer.stdout.lines().filter(|l| l.contains("RUNNING")).map(str::to_owned).collect()
}

pub fn sees_another_birth() {
    let seeds = Seeds::with("lab", &[CP], &["--worker", W]);
    // A second machine with the first one's seed and a blank disk: while the first is off, it is a wiped control plane.
    seeds.add("spare", "worker", "10.77.0.32");
    let lab = lab_of_roles(&seeds, &["cp1", "spare"], &[("w1", "worker")]);
    lab.node("spare").set_seed(Some(seeds.of("cp1")));
    good(lab.power_on(&["cp1", "w1"]));
    good(lab.until_ready(&["cp1", "w1"], READY));
    let before = containers(&lab, "w1");
    assert!(before.len() >= 4, "kube-proxy and flannel, and their sandboxes: {before:?}");

    good(lab.node("cp1").power_cut());
    good(lab.node("spare").power_on());
    good(
        lab.until("w1 to say that another cluster answers", READY, || {
            fault(&lab, "w1", Code::AnotherCluster)
        }),
    );
    good(lab.until_ready(&["spare"], READY));
    // Longer than any pause of a kubelet between two tries.
    std::thread::sleep(Duration::from_secs(45));
    assert_eq!(containers(&lab, "w1"), before, "w1 keeps its containers");
    assert!(fault(&lab, "w1", Code::AnotherCluster), "it still says so");
    let nodes = good(lab.kubectl("spare", &["get", "nodes", "-o", "name"]));
    assert_eq!(nodes.trim(), "node/cp1", "w1 is no node of the other cluster");

    // The old birth comes back: w1 goes on by itself.
    good(lab.node("spare").power_cut());
    good(lab.node("cp1").power_on());
    good(lab.until("w1 to go on", READY, || {
        lab.node("w1").status().is_some_and(|s| s.fault.is_none() && s.ready == Some(true))
    }));
    good(lab.until_ready(&["cp1", "w1"], READY));
    assert_eq!(containers(&lab, "w1"), before, "the same containers");
    one_cluster(&lab, &["cp1"]);
}

/// The token in a node's seed.
fn token(seeds: &Seeds, node: &str) -> String {
    let text = std::fs::read_to_string(seeds.of(node).join("user-data")).expect("user-data");
    let is_token = |w: &&str| w.len() == 23 && w.as_bytes().get(6) == Some(&b'.');
    text.split(|c: char| c.is_whitespace() || c == '"' || c == '\'')
        .find(is_token)
        .expect("a token")
        .to_owned()
}

fn shell(lab: &Lab, node: &str, script: &str) {
    let answer = good(lab.node(node).exec(&["sh", "-ec", script], Duration::from_secs(60)));
    assert_eq!(answer.code, Some(0), "{}{}", answer.stdout, answer.stderr);
}

/// A certificate of a kubelet that is over, with its key.
fn ended_certificate() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut wanted = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    wanted.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "system:node:w1");
    (wanted.not_before, wanted.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    wanted.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem()
}

pub fn secrets_are_over() {
    let begun = std::time::Instant::now();
    let (seeds, lab) = one_and_a_worker(&["--token-ttl", "1m"]);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    std::thread::sleep(Duration::from_secs(65).saturating_sub(begun.elapsed()));
    good(lab.node("w1").power_on());
    good(lab.until("w1 to say that its token is over", READY, || fault(&lab, "w1", Code::JoinSecretExpired)));
    let said = lab.node("w1").status().and_then(|s| s.fault).expect("a fault");
    assert!(said.cause.contains("ended at") && said.help.contains("nodeimg cluster seed"), "{said:?}");
    assert!(!lab.node("w1").console().contains(&token(&seeds, "w1")), "a token on the console");
    // An administrator lets it live on: no reboot is needed.
    let create =
        format!("kubeadm --kubeconfig=/etc/kubernetes/admin.conf token create {}", token(&seeds, "w1"));
    shell(&lab, "cp1", &create);
    good(lab.until_ready(&["w1"], READY));

    // Its certificate runs out while it is off, and its seed is made anew.
    let current = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    shell(&lab, "w1", &format!("cat > {current} <<E\n{}E\nsync", ended_certificate()));
    good(lab.node("w1").power_cut());
    let secret = seeds.renew("w1");
    good(lab.node("w1").power_on());
    good(lab.until("w1 to ask by its new token", READY, || waits_for(&lab, "w1", "bootstrap token")));
    apply(&lab, &secret);
    good(lab.until_ready(&["w1"], READY));
    no_token_on_disk(&lab);
    one_cluster(&lab, &["cp1"]);
}

/// A token that leaked is deleted: no control plane puts it back, not after a boot either. A new one lets the worker in.
pub fn a_deleted_token() {
    const PUT: &str = nodeimg_contract::bootstrap::PUT;
    /// A control plane looks at the tokens once a minute.
    const ROUND: Duration = Duration::from_secs(75);
    let (seeds, lab) = one_and_a_worker(&[]);
    good(lab.node("cp1").power_on());
    good(lab.until_ready(&["cp1"], READY));
    let leaked = token(&seeds, "w1");
    let id = leaked.split_once('.').expect("a token").0.to_owned();
    let secret = nodeimg_contract::bootstrap::secret_name(&id);
    let noted = || lab.kubectl("cp1", &["get", "configmap", PUT, "-n", "kube-system", "-o", "json"]);
    good(lab.until("the token to be noted", READY, || noted().is_ok_and(|map| map.contains(&id))));
    good(lab.kubectl("cp1", &["delete", "secret", &secret, "-n", "kube-system"]));
    let is_gone = || {
        let get = lab.kubectl("cp1", &["get", "secret", &secret, "-n", "kube-system"]);
        get.is_err_and(|e| e.to_string().contains("NotFound"))
    };
    std::thread::sleep(ROUND);
    assert!(is_gone(), "it was put back");
    good(lab.node("cp1").power_cut());
    good(lab.power_on(&["cp1", "w1"]));
    good(lab.until_ready(&["cp1"], READY));
    good(lab.until("w1 to be kept out", READY, || waits_for(&lab, "w1", "bootstrap token")));
    std::thread::sleep(ROUND);
    assert!(is_gone() && waits_for(&lab, "w1", "bootstrap token"), "it was put back after a boot");

    let new = seeds.renew("w1");
    good(lab.node("w1").power_cut());
    lab.node("w1").set_seed(Some(seeds.of("w1")));
    good(lab.node("w1").power_on());
    apply(&lab, &new);
    good(lab.until_ready(&["w1"], READY));
    assert!(!noted().is_ok_and(|map| map.contains(&leaked)), "the note names no secret");
    one_cluster(&lab, &["cp1"]);
}

/// As an administrator does it who was given the document.
fn apply(lab: &Lab, document: &str) {
    shell(
        lab,
        "cp1",
        &format!("kubectl --kubeconfig=/etc/kubernetes/admin.conf apply -f - <<E\n{document}\nE"),
    );
}
