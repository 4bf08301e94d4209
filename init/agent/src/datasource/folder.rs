//! The documents of a seed in a folder.

use nodeimg_init_core::seed::{Documents, MAX_BYTES};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads the documents that are there. A folder that is not there has none.
pub fn read(folder: &Path) -> Result<Documents, String> {
    Ok(Documents {
        meta_data: document(folder, "meta-data")?,
        user_data: document(folder, "user-data")?,
        vendor_data: document(folder, "vendor-data")?,
        network_config: document(folder, "network-config")?,
    })
}

/// FAT's short names are upper case when a tool wrote no long ones; ISO 9660 without Rock Ridge too.
fn document(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    for name in [name.to_owned(), name.to_ascii_uppercase()] {
        let path = folder.join(&name);
        // No links out of a foreign file system, and no waiting for a pipe's other end.
        let opened =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(format!("{name}: {error}")),
        };
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(format!("{name} is not a plain file"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() > MAX_BYTES {
            return Err(format!("{name} has more than {MAX_BYTES} bytes"));
        }
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// A small file of the kernel's, as text.
pub fn read_text(path: &Path, limit: u64) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
