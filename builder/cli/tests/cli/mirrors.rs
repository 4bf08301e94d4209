//! Mirrors that are none, and mirrors that serve what Debian did not sign. Which mirror apt's configuration names, and
//! that there is none, is tested in the room `fetch`: the program always looks at this machine's own.

use crate::loopback::{Reply, Server};
use crate::project::{Project, assert_said};

/// Signed by Debian's keys.
const SIGNED: &[u8] = include_bytes!("../../../fetch/tests/fetch/fixtures/trixie-security.InRelease");

#[test]
fn a_mirror_is_a_url() {
    let project = Project::new();
    let lock = ["lock", "profiles/p.toml"];
    let with_flag = |url| project.nodeimg(&["lock", "--mirror", url, "profiles/p.toml"]);
    assert_said("mirror_no_url", &with_flag("ftp://mirror.example/debian"));
    assert_said("mirror_only_a_host", &with_flag("mirror.example"));
    let environment = [("NODEIMG_MIRROR", "mirror.example/debian")];
    assert_said("mirror_no_url_environment", &project.nodeimg_with(&lock, &environment));
}

/// What `nodeimg lock` says to a mirror that serves these bytes as every InRelease.
fn served(release: Vec<u8>) -> String {
    let project = Project::new();
    let server = Server::start(move |request, _| match request.path.ends_with("/InRelease") {
        true => Reply::whole(&release),
        false => Reply::status(404),
    });
    let mirror = format!("{}/debian", server.url);
    let said = project.nodeimg(&["--quiet", "lock", "--mirror", &mirror, "profiles/p.toml"]);
    assert!(!project.has("profiles/p.lock"), "nothing of it is used");
    said
}

#[test]
fn what_debian_did_not_sign_is_not_used() {
    assert_said("mirror_unsigned", &served(b"Origin: Debian\nLabel: Debian\nCodename: trixie\n".to_vec()));
    let text = String::from_utf8(SIGNED.to_vec()).expect("text");
    let changed = text.replacen("Label: Debian-Security", "Label: Debian", 1);
    assert_ne!(changed, text);
    assert_said("mirror_bad_signature", &served(changed.into_bytes()));
}

#[test]
fn a_mirror_without_the_suite_is_told() {
    let project = Project::new();
    let server = Server::start(|_, _| Reply::status(404));
    let mirror = format!("{}/debian", server.url);
    let args = ["--quiet", "lock", "--mirror", &mirror, "profiles/p.toml"];
    assert_said("mirror_without_the_suite", &project.nodeimg(&args));
}

#[test]
fn a_mirror_that_does_not_answer_is_told() {
    let project = Project::new();
    // Bound and let go: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mirror = format!("http://127.0.0.1:{port}/debian");
    let args = ["--quiet", "lock", "--mirror", &mirror, "profiles/p.toml"];
    assert_said("mirror_does_not_answer", &project.nodeimg(&args));
}
