//! Runs `nodeimg run` as a user does, and waits for what it says.
//!
//! Every wait has a deadline; when it passes, the console is printed. Ends only the process that it started.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// The checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("builder/cli lies two folders deep")
}

/// A lock of the profile: the committed one, or the copy that CI renewed because a mirror dropped files.
fn lock_args(profile: &str) -> Vec<std::ffi::OsString> {
    match std::env::var_os("NODEIMG_TEST_LOCKS").map(|d| PathBuf::from(d).join(format!("{profile}.lock"))) {
        Some(file) if file.is_file() => vec!["--lock-file".into(), file.into()],
        _ => vec!["--locked".into()],
    }
}

/// `nodeimg COMMAND profiles/PROFILE.toml` with the lock that the tests use and this folder for artifacts.
pub fn nodeimg(command: &str, profile: &str, out: &Path) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_nodeimg"));
    c.arg(command)
        .arg(checkout().join(format!("profiles/{profile}.toml")))
        .args(lock_args(profile))
        .arg("--out")
        .arg(out)
        .current_dir(checkout());
    c
}

/// Where the tests' images are built.
pub fn dist() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dist")
}

/// Builds the control plane's image once, and gives its folder.
pub fn build() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = nodeimg("build", "cplane", &dist()).output().expect("nodeimg starts");
        assert!(
            output.status.success(),
            "nodeimg build failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    dist().join("cplane")
}

/// Held by the one machine that may run.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

/// A `nodeimg run` under way.
pub struct Machine {
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
    seen: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// Starts it; both its outputs are read line by line.
    pub fn start(mut command: Command) -> Self {
        let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nodeimg starts");
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        listen(out, said.clone(), true);
        listen(err, said.clone(), false);
        Self { child, said, seen: 0, _turn: turn }
    }

    /// The next line that contains `text`, after the one that the last call found.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) -> String {
        let end = Instant::now() + deadline;
        let (lock, change) = &*self.said;
        let mut said = lock.lock().expect("lock");
        loop {
            if let Some(at) = said.lines[self.seen..].iter().position(|l| l.contains(text)) {
                self.seen += at + 1;
                return said.lines[self.seen - 1].clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || said.ended {
                let why = if said.ended { "it ended" } else { "the deadline passed" };
                panic!("waiting for \"{text}\": {why}\n--- console\n{}", said.lines.join("\n"));
            }
            said = change.wait_timeout(said, left).expect("lock").0;
        }
    }

    /// All lines so far.
    pub fn console(&self) -> String {
        self.said.0.lock().expect("lock").lines.join("\n")
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let status =
            Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    /// A power cut: a second Ctrl-C at once.
    pub fn power_cut(mut self) {
        self.interrupt();
        self.wait_for("Ctrl-C", Duration::from_secs(20));
        self.interrupt();
        self.exit(Duration::from_secs(30));
    }

    /// Waits for its end and gives the exit code.
    pub fn exit(&mut self, deadline: Duration) -> i32 {
        let end = Instant::now() + deadline;
        let (lock, change) = &*self.said;
        let mut said = lock.lock().expect("lock");
        while !said.ended {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end\n--- console\n{}", said.lines.join("\n"));
            said = change.wait_timeout(said, left).expect("lock").0;
        }
        drop(said);
        self.child.wait().expect("wait").code().unwrap_or(-1)
    }

    /// The kubectl of the line that `nodeimg run` prints at Ready.
    pub fn kubectl(&mut self, deadline: Duration) -> Kubectl {
        let line = self.wait_for("--kubeconfig", deadline);
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|w| *w == "--kubeconfig").expect("the word waited for");
        Kubectl { program: words[at - 1].into(), kubeconfig: words[at + 1].into() }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // nodeimg ends its machine when it is asked to; only then is it killed itself.
            self.interrupt();
            self.interrupt();
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::park_timeout(Duration::from_millis(100));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn listen(from: impl std::io::Read + Send + 'static, said: Arc<(Mutex<Said>, Condvar)>, is_last: bool) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            said.0.lock().expect("lock").lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            said.1.notify_all();
        }
        if is_last {
            said.0.lock().expect("lock").ended = true;
            said.1.notify_all();
        }
    });
}

/// The payload's kubectl with the kubeconfig of one machine.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Runs it; never fails by itself.
    pub fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .output()
            .expect("kubectl")
    }

    /// Its output; fails the test when kubectl does.
    pub fn get(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    /// Asks until `good` says yes. kubectl has no event for "all of these"; the question is asked once a second.
    pub fn until(
        &self,
        what: &str,
        deadline: Duration,
        args: &[&str],
        good: impl Fn(&str) -> bool,
    ) -> String {
        let end = Instant::now() + deadline;
        loop {
            let out = self.run(args);
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            if out.status.success() && good(&text) {
                return text;
            }
            if Instant::now() > end {
                let all = self.run(&["get", "nodes,pods,events", "-A", "-o", "wide"]);
                panic!(
                    "{what}: not within {} s\n{text}\n{}\n{}",
                    deadline.as_secs(),
                    String::from_utf8_lossy(&out.stderr),
                    String::from_utf8_lossy(&all.stdout)
                );
            }
            std::thread::park_timeout(Duration::from_secs(1));
        }
    }
}
