//! What a power cut leaves of files that the kubelet writes and never syncs.
//!
//! Takes the kubelet's folder of certificates before the kubelet starts. The serving pair that it makes for itself may be
//! there with nothing in it, and then it never starts again ("missing content for serving cert"): such a pair is removed,
//! and the kubelet makes another. Touches `kubelet.crt` and `kubelet.key` alone.

use std::io;
use std::path::Path;

/// The kubelet's certificates.
pub const PKI: &str = "/var/lib/kubelet/pki";
/// The pair that it signs itself.
const PAIR: [&str; 2] = ["kubelet.crt", "kubelet.key"];

/// Removes the pair if one of it is missing or is no PEM to its end. Says whether it did.
pub fn remove_torn_pair(folder: &Path) -> io::Result<bool> {
    let read = PAIR.map(|name| std::fs::read(folder.join(name)));
    if read.iter().all(|file| matches!(file, Err(e) if e.kind() == io::ErrorKind::NotFound)) {
        return Ok(false);
    }
    if read.iter().all(|file| file.as_ref().is_ok_and(|bytes| is_whole(bytes))) {
        return Ok(false);
    }
    for name in PAIR {
        match std::fs::remove_file(folder.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(true)
}

/// RFC 7468: blocks between `-----BEGIN` and `-----END` lines.
fn is_whole(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let last = text.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    text.starts_with(b"-----BEGIN ") && last.starts_with(b"-----END ") && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN X-----\nAAAA\n-----END X-----\n";

    #[test]
    fn a_torn_pair_goes_and_a_whole_one_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        assert!(!remove_torn_pair(dir.path()).expect("nothing there"));
        for torn in ["", "-----BEGIN X-----\nAA", "-----BEGIN X-----\n\0\0\0\n-----END X-----\n"] {
            write("kubelet.crt", torn);
            write("kubelet.key", PEM);
            write("kubelet-client-current.pem", torn);
            assert!(remove_torn_pair(dir.path()).expect("removed"), "{torn:?}");
            assert!(!dir.path().join("kubelet.crt").exists() && !dir.path().join("kubelet.key").exists());
            assert!(dir.path().join("kubelet-client-current.pem").exists(), "not ours");
        }
        write("kubelet.key", PEM);
        assert!(remove_torn_pair(dir.path()).expect("half a pair is torn"));
        write("kubelet.crt", PEM);
        write("kubelet.key", PEM);
        assert!(!remove_torn_pair(dir.path()).expect("whole"));
    }
}
