//! Runs a Go command to its end and reads what it says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::PayloadError;

/// At most this much of Go's words stands in an error.
const LINES: usize = 30;

/// What a command said.
pub struct Output {
    /// Whether it ended with 0.
    pub success: bool,
    /// As text.
    pub stdout: String,
    /// As text.
    pub stderr: String,
}

/// Runs it, keeping both streams.
pub fn captured(command: &mut Command) -> Result<Output, PayloadError> {
    let output = command.output().map_err(|source| not_started(command, source))?;
    Ok(Output {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs it, handing each line of its standard error to `line` as it comes, and keeping it.
pub fn followed(command: &mut Command, mut line: impl FnMut(&str)) -> Result<Output, PayloadError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| not_started(command, source))?;
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stdout.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut stderr = String::new();
    for read in BufReader::new(child.stderr.take().expect("stderr is piped")).split(b'\n') {
        let Ok(read) = read else { break };
        let read = String::from_utf8_lossy(&read);
        line(&read);
        stderr.push_str(&read);
        stderr.push('\n');
    }
    let status = child.wait().map_err(|source| not_started(command, source))?;
    Ok(Output { success: status.success(), stdout: reader.join().unwrap_or_default(), stderr })
}

/// The error that Go's words mean: a checksum that does not match, else what `other` makes of the last lines.
pub fn go_failure(words: &str, other: impl FnOnce(String) -> PayloadError) -> PayloadError {
    checksum(words).unwrap_or_else(|| {
        let said: Vec<&str> = words.lines().filter(|line| !line.starts_with("go: downloading")).collect();
        let said: Vec<&str> = said.into_iter().skip_while(|line| line.trim().is_empty()).collect();
        other(said[said.len().saturating_sub(LINES)..].join("\n").trim_end().to_owned())
    })
}

/// `verifying MODULE@VERSION: checksum mismatch`, then `downloaded: h1:…` and `go.sum: h1:…` (or a database's name).
fn checksum(words: &str) -> Option<PayloadError> {
    let mut lines = words.lines().skip_while(|line| !line.contains("checksum mismatch"));
    let head = lines.next()?;
    let module = head.split("verifying ").last()?.split(": checksum").next()?.to_owned();
    let mut sums = lines.filter_map(|line| line.trim().split_once(':')).map(|(who, sum)| (who, sum.trim()));
    let (_, got) = sums.find(|(who, _)| *who == "downloaded")?;
    let (authority, expected) = sums.find(|(_, sum)| sum.starts_with("h1:"))?;
    let owned = |text: &str| text.to_owned();
    Some(PayloadError::Checksum {
        module,
        authority: owned(authority),
        expected: owned(expected),
        got: owned(got),
    })
}

fn not_started(command: &Command, source: std::io::Error) -> PayloadError {
    PayloadError::Spawn { program: command.get_program().into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MISMATCH: &str = "go: downloading example.net/m v1.0.0\nverifying example.net/m@v1.0.0: checksum mismatch\n\tdownloaded: h1:AAAA=\n\tgo.sum:     h1:BBBB=\n\nSECURITY ERROR\nThis download does NOT match an earlier download recorded in go.sum.\n";

    fn other(reason: String) -> PayloadError {
        PayloadError::Fetch { what: "x".to_owned(), reason }
    }

    #[test]
    fn a_mismatch_names_module_expected_and_got() {
        let text = go_failure(MISMATCH, other).to_string();
        let start = "Go module \"example.net/m@v1.0.0\" is not what go.sum says: expected \"h1:BBBB=\", got \"h1:AAAA=\"";
        assert!(text.starts_with(start), "{text}");
        let nested =
            MISMATCH.replace("\nverifying", "\ngo: k8s.io/x@v1 requires\n\texample.net/m@v1.0.0: verifying");
        assert!(go_failure(&nested, other).to_string().starts_with(start));
    }

    proptest! {
        #[test]
        fn any_words_are_an_answer(words in "(checksum mismatch|verifying |downloaded: |h1:|go.sum: |\n|:|.){0,20}") {
            let _ = go_failure(&words, other).to_string();
        }
    }

    #[test]
    fn other_words_are_kept_without_the_noise() {
        let text = go_failure("go: downloading a v1\ndial tcp: no route\n", other).to_string();
        assert!(text.starts_with("cannot fetch x: dial tcp: no route\nhelp:"), "{text}");
    }

    #[test]
    fn lines_are_told_while_a_command_runs() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo a >&2; echo b; echo c >&2; exit 3"]);
        let output = followed(&mut command, |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["a", "c"]);
        assert_eq!((output.success, output.stdout.as_str()), (false, "b\n"));
    }
}
