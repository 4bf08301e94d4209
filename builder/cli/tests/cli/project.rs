//! A project folder of a test's own, and `nodeimg` run in it.

use nodeimg_payload::Data;
use nodeimg_plan::debian::lock_inputs;
use nodeimg_plan::lock::{Lock, LockedPackage, SCHEMA};
use nodeimg_plan::profile::Profile;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A profile with nothing wrong in it.
pub const PROFILE: &str = r#"schema = 1
role = "control-plane"

[os]
suite = "trixie"
packages = ["nftables", "udev"]

[kubernetes]
version = "1.36.3"
origin = "source"

[output]
formats = ["uki", "files"]
"#;

/// A folder with `profiles/p.toml`.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// With [`PROFILE`].
    pub fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().expect("temp folder") };
        fs::create_dir(project.path().join("profiles")).expect("folder");
        project.write("profiles/p.toml", PROFILE);
        project
    }

    /// With [`PROFILE`] in which `from` stands as `to`.
    pub fn with(from: &str, to: &str) -> Self {
        let text = PROFILE.replacen(from, to, 1);
        assert_ne!(text, PROFILE, "{from:?} is not in the profile");
        let project = Self::new();
        project.write("profiles/p.toml", &text);
        project
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).expect("file");
    }

    /// A lock that fits the profile and holds these packages.
    pub fn lock(&self, packages: Vec<LockedPackage>) -> Lock {
        let text = fs::read_to_string(self.path().join("profiles/p.toml")).expect("profile");
        let profile = Profile::parse(&text, "profiles/p.toml").expect("profile");
        let (go, modules) = Data::embedded().expect("payload").locked();
        let inputs = lock_inputs(&profile, &modules, Some(&go));
        let lock = Lock {
            schema: SCHEMA,
            inputs,
            source_date_epoch: 1_795_000_000,
            suite: "trixie".into(),
            go: Some(go),
            modules,
            packages,
        };
        self.write("profiles/p.lock", lock.render());
        lock
    }

    /// `nodeimg ARGS` here, with nothing in the environment but PATH and HOME.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).current_dir(self.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.path().join("home"));
        command
    }

    /// Runs `nodeimg ARGS` here. Gives exit code, standard output and standard error.
    pub fn nodeimg(&self, args: &[&str]) -> String {
        self.nodeimg_with(args, &[])
    }

    /// The same with these variables in the environment.
    pub fn nodeimg_with(&self, args: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.command(args).envs(environment.iter().copied()).output().expect("nodeimg starts");
        let said = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let text = format!(
            "exit code: {}\n----- stdout -----\n{}----- stderr -----\n{}",
            output.status.code().map_or("none".into(), |code| code.to_string()),
            said(&output.stdout),
            said(&output.stderr)
        );
        text.replace(&self.path().display().to_string(), "[PROJECT]")
    }

    /// Whether something of that name is here.
    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_nodeimg").into()
}

/// Compares with the snapshot `name`; what differs from run to run has a word of its own.
pub fn assert_said(name: &str, said: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]");
    settings.add_filter(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[UUID]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[TIME]");
    settings.add_filter(r"\bin \d+\.\d s\b", "in [SECONDS]");
    settings.add_filter(r"nodeimg \d+\.\d+\.\d+", "nodeimg [VERSION]");
    settings.bind(|| insta::assert_snapshot!(name, said));
}
