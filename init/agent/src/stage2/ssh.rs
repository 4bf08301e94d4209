//! sshd, for the public keys of the seed: how an operator reaches a node whose cluster does not answer.
//!
//! Takes the seed's `ssh_authorized_keys` (lines of authorized_keys, sshd(8)) and OpenSSH from the image. Gives a supervised
//! sshd that lets root in by these keys and by nothing else. May write below `/run/nodeimg/ssh` and, for the host key,
//! `/var/lib/nodeimg/ssh` on the state partition. Without keys, or without sshd in the image, nothing is started. What goes
//! wrong here is said and stops nothing else.

use super::{Node, log_path};
use crate::formation::files;
use crate::process::ServiceSpec;
use nodeimg_contract::fault::Fault;
use nodeimg_contract::paths;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SSHD: &str = "/usr/sbin/sshd";
const KEYGEN: &str = "/usr/bin/ssh-keygen";
/// Where sshd's unprivileged half lives; it refuses to start without.
const EMPTY: &str = "/run/sshd";
const HOST_KEY: &str = "ssh_host_ed25519_key";
const KEYGEN_TIME: Duration = Duration::from_secs(30);

/// Starts it.
pub fn start(node: &Node, keys: &[String]) {
    if keys.is_empty() {
        return;
    }
    if !Path::new(SSHD).exists() {
        return node.reporter.warn(
            "the seed has ssh_authorized_keys, and this image has no sshd: add openssh-server to its profile",
        );
    }
    match prepare(node, keys) {
        Ok(configuration) => {
            let service = node.processes.supervise(ServiceSpec {
                name: "sshd",
                command: Box::new(move || {
                    let mut command = Command::new(SSHD);
                    command.args(["-D", "-e", "-f"]).arg(&configuration);
                    command
                }),
                log: log_path("sshd"),
                oom_score_adj: Some(-999),
            });
            node.shutdown.sshd(service);
            node.reporter.line("sshd: root may log in with the seed's keys");
        }
        Err(fault) => node.reporter.warn(format!("nobody can log in by ssh: {fault}")),
    }
}

/// Writes what sshd reads; gives its configuration.
fn prepare(node: &Node, keys: &[String]) -> Result<PathBuf, Fault> {
    let run = Path::new(paths::RUN).join("ssh");
    let kept = Path::new(paths::STATE).join("ssh");
    files::folder(EMPTY, 0o755)?;
    files::folder(&run, 0o700)?;
    files::folder(&kept, 0o700)?;
    let host_key = kept.join(HOST_KEY);
    if !host_key.exists() {
        make_host_key(node, &kept, &host_key)?;
    }
    let authorized = run.join("authorized_keys");
    files::write(&authorized, authorized_keys(keys).as_bytes(), 0o600)?;
    let configuration = run.join("sshd_config");
    files::write(&configuration, sshd_config(&host_key, &authorized).as_bytes(), 0o600)?;
    Ok(configuration)
}

/// A key is whole or absent: a power cut while it is made leaves only the file beside it.
fn make_host_key(node: &Node, kept: &Path, host_key: &Path) -> Result<(), Fault> {
    let beside = kept.join(".new");
    let failed = |e: &std::io::Error| files::failed(host_key, e);
    for left in [beside.clone(), kept.join(".new.pub")] {
        match std::fs::remove_file(&left) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&e)),
            _ => {}
        }
    }
    let mut command = Command::new(KEYGEN);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "nodeimg", "-f"]).arg(&beside);
    node.processes.check(command, KEYGEN_TIME).map_err(|e| failed(&std::io::Error::other(e.to_string())))?;
    let key = files::text(&beside, 16 << 10)?;
    files::write(host_key, key.as_bytes(), 0o600)?;
    std::fs::remove_file(&beside)
        .and_then(|()| std::fs::remove_file(kept.join(".new.pub")))
        .map_err(|e| failed(&e))
}

/// A line each; whatever is more than one line is no key.
fn authorized_keys(keys: &[String]) -> String {
    let is_line = |key: &&str| !key.is_empty() && !key.contains(char::is_control);
    keys.iter().map(|key| key.trim()).filter(is_line).map(|key| format!("{key}\n")).collect()
}

/// Keys alone, root alone; PAM has no part in it.
fn sshd_config(host_key: &Path, authorized: &Path) -> String {
    format!(
        "HostKey {}\nAuthorizedKeysFile {}\nAllowUsers root\nPermitRootLogin prohibit-password\nAuthenticationMethods publickey\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nX11Forwarding no\nPermitUserEnvironment no\n\
         PrintMotd no\nPidFile none\nSubsystem sftp internal-sftp\n",
        host_key.display(),
        authorized.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_line_is_no_key() {
        let keys = [" ssh-ed25519 AAAA a ", "", "ssh-ed25519 BBBB\ncommand=\"x\" ssh-rsa C", "ssh-rsa D d"];
        let text = authorized_keys(&keys.map(str::to_owned));
        assert_eq!(text, "ssh-ed25519 AAAA a\nssh-rsa D d\n");
    }

    /// OpenSSH's own reading of it, where there is one.
    #[test]
    fn sshd_takes_the_configuration() {
        let sshd = Path::new(SSHD);
        if !sshd.exists() {
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let key = dir.path().join("key");
        let made = Command::new(KEYGEN).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen runs").success());
        let config = dir.path().join("sshd_config");
        std::fs::write(&config, sshd_config(&key, &dir.path().join("authorized_keys"))).expect("written");
        let said = Command::new(sshd).arg("-T").arg("-f").arg(&config).output().expect("it runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        for line in
            ["passwordauthentication no", "permitrootlogin without-password", "usepam no", "allowusers root"]
        {
            assert!(said.lines().any(|l| l == line), "{line}: {said}");
        }
    }
}
