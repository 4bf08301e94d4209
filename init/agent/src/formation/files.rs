//! Files that survive a power cut: written beside, synced, renamed, folder synced.

use nodeimg_contract::fault::{Code, Fault};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a folder and what is above it; the last one gets this mode.
pub fn folder(path: impl AsRef<Path>, mode: u32) -> Result<(), Fault> {
    let path = path.as_ref();
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|e| failed(path, &e))
}

/// Writes a whole file or nothing, synced. The name of the unfinished file starts with a dot: kubelet and containerd
/// pass over such names.
pub fn write(path: impl AsRef<Path>, content: &[u8], mode: u32) -> Result<(), Fault> {
    let path = path.as_ref();
    write_io(path, content, mode).map_err(|e| failed(path, &e))
}

/// As [`write`], if the file does not hold this with this mode already.
pub fn keep(path: impl AsRef<Path>, content: &[u8], mode: u32) -> Result<(), Fault> {
    let path = path.as_ref();
    let is_so = fs::symlink_metadata(path)
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o7777 == mode)
        && read(path, content.len() as u64 + 1)?.is_some_and(|there| there == content);
    if is_so { Ok(()) } else { write(path, content, mode) }
}

fn write_io(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().and_then(|n| n.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = parent.join(format!(".{name}.new"));
    // What a power cut left may have another mode; a mode is given at creation alone.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(parent)?.sync_all()
}

/// Reads a file of at most `limit` bytes; `None`: there is none.
pub fn read(path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    let path = path.as_ref();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(path, &e)),
    };
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content).map_err(|e| failed(path, &e))?;
    Ok(Some(content))
}

/// Reads a text file that must be there.
pub fn text(path: impl AsRef<Path>, limit: u64) -> Result<String, Fault> {
    let path = path.as_ref();
    let content = read(path, limit)?.ok_or_else(|| failed(path, &io::ErrorKind::NotFound.into()))?;
    String::from_utf8(content).map_err(|_| failed(path, &io::ErrorKind::InvalidData.into()))
}

/// Removes a file; it is well if there is none.
pub fn remove(path: impl AsRef<Path>) -> Result<(), Fault> {
    let path = path.as_ref();
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(path, &e)),
        _ => Ok(()),
    }
}

/// Removes everything in a folder, and not the folder (it may be a mount).
pub fn empty(path: impl AsRef<Path>) -> Result<(), Fault> {
    let path = path.as_ref();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(path, &e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| failed(path, &e))?;
        let (inner, kind) = (entry.path(), entry.file_type().map_err(|e| failed(path, &e))?);
        let gone = if kind.is_dir() { fs::remove_dir_all(&inner) } else { fs::remove_file(&inner) };
        gone.map_err(|e| failed(&inner, &e))?;
    }
    Ok(())
}

/// Everything that was written to the file system of this folder is on its disk.
pub fn sync_file_system(path: impl AsRef<Path>) -> Result<(), Fault> {
    let path = path.as_ref();
    let folder = File::open(path).map_err(|e| failed(path, &e))?;
    nix::unistd::syncfs(&folder).map_err(|e| failed(path, &e.into()))
}

/// The fault of a file that cannot be read or written.
pub fn failed(path: &Path, e: &io::Error) -> Fault {
    Fault {
        code: Code::DiskFailed,
        object: path.display().to_string(),
        cause: e.to_string(),
        help: "look at the state disk; nodeinit tries again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_and_has_its_mode() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        fs::write(dir.path().join(".a.new"), "torn").expect("what a power cut left");
        write(&path, b"secret", 0o600).expect("written");
        write(&path, b"other", 0o600).expect("written");
        assert_eq!(read(&path, 100).expect("read"), Some(b"other".to_vec()));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("folder").count(), 1);
    }

    #[test]
    fn a_folder_is_emptied_and_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        folder(dir.path().join("x/y"), 0o700).expect("made");
        fs::write(dir.path().join("f"), "1").expect("file");
        empty(dir.path()).expect("emptied");
        assert_eq!(fs::read_dir(dir.path()).expect("folder").count(), 0);
        assert_eq!(read(dir.path().join("none"), 1).expect("absent is not failed"), None);
    }
}
