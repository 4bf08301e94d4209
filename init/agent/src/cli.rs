//! `nodeinit` as a command on a running node.
//!
//! Takes arguments, reads what PID 1 writes below `/run/nodeimg` and `/var/log/nodeimg`, prints it for people. Changes
//! nothing but by a signal to PID 1, and by the ways out of a cluster ([`formation`]), with consent. Exit codes: 0 done, 1 the world, 2 usage.

use crate::formation;
use clap::{Parser, Subcommand};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::paths;
use nodeimg_contract::status::NodeStatus;
use nodeimg_init_core::formation::Record;
use nodeimg_init_core::node_config::NodeConfig;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of a log that are shown.
const LOG_TAIL: u64 = 64 << 10;

/// PID 1 of a nodeimg node; run by hand it asks the one that runs.
#[derive(Parser)]
#[command(name = "nodeinit", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the node is doing.
    Status {
        /// As JSON, whole.
        #[arg(long)]
        json: bool,
    },
    /// What the node is to be, with a source for every field.
    Explain,
    /// The last lines of a service (containerd, kubelet, sshd, udevd) or of nodeinit itself.
    Logs {
        /// Which.
        #[arg(default_value = "nodeinit")]
        service: String,
    },
    /// This node leaves its cluster: drained, removed from etcd and from the cluster's record; its state is cleared at the
    /// next boot. With its seed it joins anew. Refused while etcd cannot spare it.
    Reset {
        /// Consent: what this node holds of the cluster is gone afterwards.
        #[arg(long)]
        yes: bool,
        /// Switch it off instead of booting it again.
        #[arg(long)]
        poweroff: bool,
        /// Also where etcd does not let this node go: for a cluster that is given up.
        #[arg(long)]
        force: bool,
    },
    /// The majority of etcd's disks is gone for good: go on alone with what this node has (a snapshot is kept).
    Recover {
        /// Consent: what only the lost members had acknowledged is gone afterwards.
        #[arg(long)]
        yes: bool,
        /// Give up what etcd's log holds beyond its database; for a log that is damaged.
        #[arg(long)]
        without_log: bool,
        /// A control plane or etcd node that does not answer and whose disk is gone for good (name or address); once for each.
        #[arg(long, value_name = "NODE")]
        lost: Vec<String>,
    },
    /// Remove a dead control plane, from a healthy one: its etcd member, its line in the cluster's record, its Node.
    RemoveMember {
        /// Its node name; or address or id, as etcd's member list has them.
        #[arg(value_name = "NODE")]
        name: String,
        /// Even if it answers.
        #[arg(long)]
        alive: bool,
    },
    /// Orderly shutdown, then start again.
    Reboot,
    /// Orderly shutdown, then off.
    Poweroff,
}

#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("\"{path}\" cannot be read: {source}\nhelp: is this a nodeimg node, and are you root?", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("\"{path}\" is not what nodeinit writes: {cause}\nhelp: is the running nodeinit of another version?", path = path.display())]
    Content { path: PathBuf, cause: String },
    #[error("there is no log of \"{name}\"\nhelp: there are logs of {known}")]
    NoLog { name: String, known: String },
    #[error("PID 1 cannot be signalled: {0}\nhelp: are you root?")]
    Signal(nix::Error),
    #[error("{cause}\nhelp: {help}")]
    Refused { cause: String, help: String },
    #[error("\"{0}\" cannot be undone\nhelp: say it with --yes")]
    NoConsent(&'static str),
    #[error("writing failed: {0}")]
    Write(#[from] io::Error),
}

/// Parses the arguments and does what they say.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Status { json } => status(json),
        Command::Explain => explain(),
        Command::Logs { service } => logs(&service),
        Command::Reset { yes: false, .. } => Err(CliError::NoConsent("nodeinit reset")),
        Command::Reset { poweroff, force, .. } => {
            let next = if poweroff { Signal::SIGTERM } else { Signal::SIGINT };
            told(formation::reset(force)).and_then(|()| signal(next))
        }
        Command::Recover { yes: false, .. } => Err(CliError::NoConsent("nodeinit recover")),
        Command::Recover { without_log, lost, .. } => {
            told(formation::recover(!without_log, &lost)).and_then(|()| signal(Signal::SIGINT))
        }
        Command::RemoveMember { name, alive } => told(formation::remove_member(&name, alive)),
        Command::Reboot => signal(Signal::SIGINT),
        Command::Poweroff => signal(Signal::SIGTERM),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("nodeinit: {e}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::Read { path: path.into(), source })
}

fn status(json: bool) -> Result<(), CliError> {
    let bytes = read(paths::STATUS)?;
    let mut out = io::stdout().lock();
    if json {
        return Ok(out.write_all(&bytes)?);
    }
    let status: NodeStatus = serde_json::from_slice(&bytes)
        .map_err(|e| CliError::Content { path: paths::STATUS.into(), cause: e.to_string() })?;
    out.write_all(render(&status).as_bytes())?;
    if let Some(line) = std::fs::read(paths::RECORD).ok().and_then(|b| membership(&b)) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What the node's record says of its cluster, in one line.
fn membership(record: &[u8]) -> Option<String> {
    let record = Record::from_bytes(record).ok()?;
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let how = match (record.joined(), record.started(), record.joining(), record.promised()) {
        (Some(_), ..) => "member",
        (None, Some(_), ..) => "started",
        (None, None, Some(_), _) => "joining",
        (None, None, None, Some(_)) => "promised",
        (None, None, None, None) => "blank",
    };
    let birth = record.cluster().or_else(|| record.promised().map(|b| b.id()));
    let birth = birth.map_or_else(|| "none yet".to_owned(), |b| short(&b.0));
    Some(format!("birth    {birth} ({how}), etcd file system {}", short(&record.incarnation().0)))
}

/// The status as a person reads it.
fn render(status: &NodeStatus) -> String {
    let mut text = format!(
        "node     {}\nphase    {}\nready    {}\n",
        status.node.as_deref().unwrap_or("(not named yet)"),
        status.phase,
        match status.ready {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known yet",
        }
    );
    if let Some(w) = &status.waiting {
        let since = status.uptime_ms.saturating_sub(w.since_ms) / 1000;
        text.push_str(&format!("waiting  for {} since {since} s\n", w.what));
    }
    if let Some(f) = &status.fault {
        text.push_str(&format!(
            "fault    {} {}\n         object: {}\n         cause:  {}\n         help:   {}\n",
            f.code,
            f.code.title(),
            f.object,
            f.cause,
            f.help
        ));
    }
    for warning in &status.warnings {
        text.push_str(&format!("warning  {warning}\n"));
    }
    for m in &status.milestones {
        text.push_str(&format!("{:>7}.{:03} s  {}\n", m.at_ms / 1000, m.at_ms % 1000, m.name));
    }
    text
}

fn explain() -> Result<(), CliError> {
    const PATH: &str = "/run/nodeimg/node-config.json";
    let config = NodeConfig::from_cache(&read(PATH)?)
        .map_err(|e| CliError::Content { path: PATH.into(), cause: e.to_string() })?;
    let mut out = io::stdout().lock();
    let lines = config.explain();
    let width = lines.iter().map(|l| l.field.len()).max().unwrap_or(0);
    for l in lines {
        writeln!(out, "{:width$}  {}  ({})", l.field, l.value, l.source)?;
    }
    Ok(())
}

fn logs(service: &str) -> Result<(), CliError> {
    let folders = ["/var/log/nodeimg", "/run/nodeimg/log", paths::RUN];
    let known: Vec<(String, PathBuf)> = folders
        .iter()
        .filter_map(|f| std::fs::read_dir(f).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|e| {
            let name = e.file_name().to_string_lossy().strip_suffix(".log")?.to_owned();
            Some((name, e.path()))
        })
        .collect();
    let Some((_, path)) = known.iter().find(|(name, _)| name == service) else {
        let known = known.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        return Err(CliError::NoLog { name: service.to_owned(), known });
    };
    let bytes = tail(path).map_err(|source| CliError::Read { path: path.clone(), source })?;
    Ok(io::stdout().lock().write_all(&bytes)?)
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Prints what was done, a line each.
fn told(done: Result<Vec<String>, Fault>) -> Result<(), CliError> {
    let lines = done.map_err(|f| CliError::Refused { cause: f.cause, help: f.help })?;
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

fn signal(signal: Signal) -> Result<(), CliError> {
    kill(Pid::from_raw(1), signal).map_err(CliError::Signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodeimg_contract::fault::Code;
    use nodeimg_contract::status::{Milestone, Phase};

    #[test]
    fn arguments_are_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_blank_record_is_told() {
        let record = format!(r#"{{"schema":1,"incarnation":"{}"}}"#, "ab".repeat(16));
        assert_eq!(
            membership(record.as_bytes()).as_deref(),
            Some("birth    none yet (blank), etcd file system abababababab")
        );
        assert_eq!(membership(b"{}"), None);
    }

    #[test]
    fn a_status_shows_fault_and_timeline() {
        let text = render(&NodeStatus {
            schema: 1,
            sequence: 1,
            uptime_ms: 5000,
            node: Some("cp1".into()),
            phase: Phase::Storage,
            waiting: None,
            fault: Some(Fault {
                code: Code::DiskForeign,
                object: "vdb".into(),
                cause: "it holds data".into(),
                help: "consent".into(),
            }),
            warnings: vec!["a word".into()],
            milestones: vec![Milestone { name: "init".into(), at_ms: 1250 }],
            ready: None,
        });
        for part in ["cp1", "storage", "NI-DISK-002", "help:   consent", "a word", "1.250 s  init"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
