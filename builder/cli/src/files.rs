//! Files that appear whole.

use crate::failure::Failure;
use std::path::Path;

/// Writes a file beside its place and renames it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|e| {
        Failure::from(e).help(format!("\"{}\" must be a folder that can be written", dir.display()))
    })?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|e| Failure::from(e.error))?;
    Ok(())
}
