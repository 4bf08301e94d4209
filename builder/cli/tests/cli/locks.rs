//! Locks: required, checked, stale.

use crate::loopback::{Reply, Server};
use crate::project::{Project, assert_said};
use nodeimg_plan::debian::lock_inputs;
use nodeimg_plan::lock::{Archive, Lock, LockedPackage, Set};
use nodeimg_plan::profile::Profile;
use sha2::{Digest, Sha256};

/// A package as a lock has it; its file is [`deb`].
pub fn package(name: &str) -> LockedPackage {
    LockedPackage {
        name: name.into(),
        version: "1.0-1".into(),
        archive: Archive::Debian,
        path: format!("pool/main/{name}.deb"),
        size: deb(name).len() as u64,
        sha256: hex::encode(Sha256::digest(deb(name))),
        sets: vec![Set::Image],
    }
}

/// The bytes of a package.
pub fn deb(name: &str) -> Vec<u8> {
    format!("the package {name}").into_bytes()
}

/// Serves these packages, no others.
fn mirror(names: &'static [&str]) -> Server {
    Server::start(move |request, _| {
        let name = names.iter().find(|name| request.path == format!("/debian/pool/main/{name}.deb"));
        name.map_or_else(|| Reply::status(404), |name| Reply::whole(&deb(name)))
    })
}

#[test]
fn locked_refuses_to_make_or_to_change_a_lock() {
    let project = Project::new();
    assert_said("locked_missing", &project.nodeimg(&["build", "--locked", "profiles/p.toml"]));
    assert_said("lock_check_missing", &project.nodeimg(&["lock", "--check", "profiles/p.toml"]));
    let mut lock = project.lock(Vec::new());
    lock.inputs = "0".repeat(64);
    let text = lock.render();
    project.write("profiles/p.lock", &text);
    assert_said("locked_does_not_fit", &project.nodeimg(&["build", "--locked", "profiles/p.toml"]));
    assert_said("lock_check_does_not_fit", &project.nodeimg(&["lock", "--check", "profiles/p.toml"]));
    assert_eq!(std::fs::read_to_string(project.path().join("profiles/p.lock")).expect("lock"), text);
}

#[test]
fn a_lock_elsewhere_is_the_one_that_counts() {
    let project = Project::new();
    project.lock(Vec::new());
    let args = ["build", "--locked", "--lock-file", "elsewhere.lock", "profiles/p.toml"];
    assert_said("locked_elsewhere_missing", &project.nodeimg(&args));
}

#[test]
fn a_damaged_lock_is_not_used() {
    let project = Project::new();
    let build = ["build", "profiles/p.toml"];
    project.write("profiles/p.lock", "schema = 1\ninputs = \n");
    assert_said("lock_no_toml", &project.nodeimg(&build));
    let mut lock = project.lock(vec![package("a")]);
    lock.packages[0].path = "../../etc/passwd".into();
    project.write("profiles/p.lock", lock.render());
    assert_said("lock_path_leaves_the_pool", &project.nodeimg(&build));
    lock.schema = 2;
    project.write("profiles/p.lock", lock.render());
    assert_said("lock_other_schema", &project.nodeimg(&build));
}

#[test]
fn check_fetches_every_file_and_says_what_is_stale() {
    let project = Project::new();
    let lock = project.lock(vec![package("a"), package("b"), package("c")]);
    let check = |server: &Server| {
        let mirror = format!("{}/debian", server.url);
        project.nodeimg(&["--quiet", "lock", "--check", "--mirror", &mirror, "profiles/p.toml"])
    };
    assert_said("lock_check_stale", &check(&mirror(&["b"])));
    assert_said("lock_check_good", &check(&mirror(&["a", "b", "c"])));
    let silent = mirror(&[]);
    assert_said("lock_check_good", &check(&silent));
    assert!(silent.seen().is_empty(), "what is in the cache is not asked for");
    let kept = std::fs::read_to_string(project.path().join("profiles/p.lock")).expect("lock");
    assert_eq!(kept, lock.render(), "--check writes no lock");
}

#[test]
fn a_package_with_other_bytes_is_refused() {
    let project = Project::new();
    project.lock(vec![package("a")]);
    let server = Server::start(|_, _| Reply::whole(&vec![b'x'; deb("a").len()]));
    let mirror = format!("{}/debian", server.url);
    let args = ["--quiet", "lock", "--check", "--mirror", &mirror, "profiles/p.toml"];
    assert_said("package_other_bytes", &project.nodeimg(&args));
}

#[test]
fn the_lock_that_we_ship_fits_its_profile() {
    let profile = Profile::parse(include_str!("../../../../profiles/cplane.toml"), "profiles/cplane.toml");
    let lock =
        Lock::parse(include_str!("../../../../profiles/cplane.lock"), "profiles/cplane.lock").expect("lock");
    let (go, modules) = nodeimg_payload::Data::embedded().expect("payload").locked();
    let inputs = lock_inputs(&profile.expect("profile"), &modules, Some(&go));
    assert_eq!(lock.inputs, inputs, "run: nodeimg lock profiles/cplane.toml");
}
