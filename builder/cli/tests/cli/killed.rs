//! A run that is killed: the next one goes on where it was.

use crate::locks::{deb, package};
use crate::loopback::{Reply, Request, Server};
use crate::project::Project;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn a_download_goes_on_where_a_killed_run_stopped() {
    const CAME: usize = 5;
    let project = Project::new();
    project.lock(vec![package("a")]);
    let args = |server: &Server| {
        let mirror = format!("{}/debian", server.url);
        ["--quiet", "lock", "--check", "--mirror", &mirror, "profiles/p.toml"].map(str::to_owned)
    };
    let words = |args: &[String]| project.nodeimg(&args.iter().map(String::as_str).collect::<Vec<_>>());

    // The connection breaks after some bytes; the second request, for the rest, is never answered.
    let (asked, again) = mpsc::channel();
    let (end, over) = mpsc::channel::<()>();
    let over = Mutex::new(over);
    let stalled = Server::start(move |request, before| {
        if before == 0 {
            return Reply::range(&deb("a"), request.from).cut(CAME);
        }
        let _ = asked.send(request.clone());
        let _ = over.lock().expect("not poisoned").recv();
        Reply::status(404)
    });
    let stalled_args = args(&stalled);
    let mut command = project.command(&stalled_args.each_ref().map(String::as_str));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nodeimg starts");
    let asked_again: Request = again.recv_timeout(Duration::from_secs(60)).expect("a second request");
    child.kill().expect("killed");
    child.wait().expect("gone");
    drop(end);
    assert_eq!(asked_again.from, Some(CAME));

    let good = Server::start(|request, _| Reply::range(&deb("a"), request.from));
    let said = words(&args(&good));
    assert!(said.starts_with("exit code: 0\n"), "{said}");
    assert_eq!(good.seen().iter().map(|r| r.from).collect::<Vec<_>>(), [Some(CAME)]);
}
