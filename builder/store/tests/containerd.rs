//! A real containerd on a baked store: builder's and init's halves together, and the node's own configuration.
//!
//! Needs root (mounts), the payload's containerd and, to run containers, the locked crun; without them the test says so
//! and is passed over.

mod support;

// The two halves of the contract meet here alone; a crate that holds both would be a door between builder and init.
#[allow(dead_code)]
#[path = "../../../init/agent/src/store.rs"]
mod place;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodeimg_contract::paths::STORE;
use nodeimg_contract::store::SNAPSHOTTER;
use nodeimg_payload::Image;
use nodeimg_test_programs::{crun, payload, skipped};
use support::cri::{CriImage, list_images};
use support::{PRINTED, materialise, two_images};

const EPOCH: u64 = 1_700_000_000;
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../overlays/common/etc/containerd/config.toml");
/// What containerd warns of for reasons of the machine or of this test, and not of the store or the configuration.
const EXPECTED: [&str; 4] = [
    "failed to change OOM score",
    "failed check for fsverity support",
    "failed to load cni during init",
    "failed to adjust",
];

/// containerd with root and state of its own, below `folder`.
struct Containerd {
    programs: PathBuf,
    socket: PathBuf,
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Containerd {
    fn start(program: &Path, folder: &Path) -> Self {
        let programs = program.parent().unwrap().to_owned();
        let (config, socket) = (folder.join("config.toml"), folder.join("containerd.sock"));
        fs::write(&config, configuration(folder, &socket)).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut containerd = Self { programs, socket, child, log };
        containerd.wait_for("containerd successfully booted");
        containerd
    }

    /// Reads the log up to this text; nothing in it may be a complaint.
    fn wait_for(&mut self, text: &str) {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => {
                    let complaint = line.contains("level=warning") || line.contains("level=error");
                    assert!(!complaint || EXPECTED.iter().any(|text| line.contains(text)), "{line}");
                    seen.push(line);
                    if seen.last().is_some_and(|line| line.contains(text)) {
                        return;
                    }
                }
                Err(_) => panic!("containerd's log has no \"{text}\":\n{}", seen.join("\n")),
            }
        }
    }

    fn ctr(&self, words: &[&str]) -> String {
        let mut command = Command::new(self.programs.join("ctr"));
        command.arg("--address").arg(&self.socket).args(["--namespace", "k8s.io"]).args(words);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "ctr {words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn images(&self) -> Vec<String> {
        self.ctr(&["images", "ls", "-q"]).lines().map(str::to_owned).collect()
    }

    fn run(&self, crun: &str, image: &str, container: &str) -> String {
        let state = self.socket.with_file_name("crun");
        let crun = ["--runc-binary", crun, "--runc-root", state.to_str().unwrap()];
        self.ctr(&[&["run", "--rm"][..], &crun, &["--snapshotter", "overlayfs", image, container]].concat())
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().is_ok());
        let complaints = self.log.iter().filter(|line| line.contains("failed to remove directory"));
        assert_eq!(complaints.collect::<Vec<_>>(), [""; 0]);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // When an assertion failed: nothing of this test may outlive it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The node's configuration, with the paths and the sockets of this test.
fn configuration(folder: &Path, socket: &Path) -> String {
    let text = fs::read_to_string(CONFIG).unwrap();
    let (root, state) = (folder.join("root"), folder.join("state"));
    let text = text.replace("/var/lib/containerd", root.to_str().unwrap());
    let text = text.replace("/run/containerd", state.to_str().unwrap());
    let socket = socket.display();
    format!(
        "{text}\n[plugins.'io.containerd.server.v1.grpc']\n  address = '{socket}'\n\
         [plugins.'io.containerd.server.v1.ttrpc']\n  address = '{socket}.ttrpc'\n"
    )
}

/// Runs one boot's worth of test in a mount namespace of its own, so that no mount outlives it.
fn boot(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            // crun refuses machines that mount both hierarchies; here is none but the first, or the second alone.
            let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn expected(image: &Image) -> CriImage {
    let size = image.manifest.len() + image.config.len();
    CriImage {
        id: image.config_digest.clone(),
        tags: vec![image.name.clone()],
        size: size as u64 + image.layer_size,
        pinned: true,
    }
}

#[test]
fn containerd_lists_and_runs_baked_images() {
    const NAME: &str = "containerd_lists_and_runs_baked_images";
    if !nix::unistd::geteuid().is_root() {
        return skipped(NAME, "needs root, for mounts");
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let names = ["containerd", "containerd-shim-runc-v2", "ctr"];
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    let Some(()) = payload(NAME, &names, &programs) else { return };
    let program = programs.join("containerd");
    let crun = crun(NAME, &programs).map(|script| script.to_str().unwrap().to_owned());
    let images = two_images(folder);
    let [one, two] = [&images[0], &images[1]];
    let seal = |name: &str, epoch| {
        let (tree, _) = nodeimg_store::bake(&images, epoch).unwrap();
        materialise(&tree, &folder.join(name));
        folder.join(name).join(STORE.trim_start_matches('/'))
    };
    let (store, root) = (seal("sealed", EPOCH), folder.join("root"));
    let layer = |number| root.join(SNAPSHOTTER).join(format!("snapshots/{number}/fs/etc/name"));

    boot(|| {
        assert!(place::place(&store, &root).unwrap().seeded);
        let containerd = Containerd::start(&program, folder);
        let listed = containerd.images();
        for image in &images {
            assert!(listed.contains(&image.name) && listed.contains(&image.config_digest), "{listed:?}");
        }
        assert_eq!(list_images(&containerd.socket), [expected(one), expected(two)]);
        let snapshots = containerd.ctr(&["snapshots", "ls"]);
        let committed = snapshots.lines().filter(|line| line.contains("Committed")).count();
        assert_eq!(committed, 2, "{snapshots}");
        containerd.ctr(&["snapshots", "prepare", "on-top", &two.diff_id]);
        containerd.ctr(&["snapshots", "rm", "on-top"]);
        if let Some(crun) = &crun {
            assert_eq!(containerd.run(crun, &one.name, "first"), PRINTED);
        }

        // Both records of one image go; what they named is baked, and stays without a complaint.
        containerd.ctr(&["images", "rm", "--sync", &one.name, &one.config_digest]);
        assert!(!containerd.images().contains(&one.name));
        assert!(containerd.ctr(&["snapshots", "ls"]).contains(&one.diff_id));
        assert!(containerd.ctr(&["content", "ls", "-q"]).contains(&one.manifest_digest));
        assert_eq!(fs::read(layer(1)).unwrap(), b"one");
        if let Some(crun) = &crun {
            assert_eq!(containerd.run(crun, &two.name, "second"), PRINTED);
        }
        containerd.stop();
    });

    boot(|| {
        assert!(!place::place(&store, &root).unwrap().seeded);
        let containerd = Containerd::start(&program, folder);
        assert_eq!(list_images(&containerd.socket), [expected(two)]);
        containerd.stop();
    });

    let renewed = seal("sealed-anew", EPOCH + 1);
    boot(|| {
        assert!(place::place(&renewed, &root).unwrap().seeded);
        let containerd = Containerd::start(&program, folder);
        assert_eq!(list_images(&containerd.socket), [expected(one), expected(two)]);
        if let Some(crun) = &crun {
            assert_eq!(containerd.run(crun, &one.name, "third"), PRINTED);
        }
        containerd.stop();
    });
}
