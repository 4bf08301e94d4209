//! The outer shell of a .deb: an `ar` archive with plain members.
//!
//! Takes a reader, gives headers; the content is the reader's next bytes. Format: deb(5), ar(5) (common format, no
//! long names: dpkg writes none).

use super::DebError;
use std::io::{Read, Take};

/// Bytes of a member's header.
const HEADER: usize = 60;

/// Walks the members of an `ar` archive in order.
pub(super) struct Members<R> {
    inner: Take<R>,
    /// Bytes of the current member and its padding that nobody has read yet are skipped before the next header.
    padding: u64,
}

/// A member's name and size in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
}

impl<R: Read> Members<R> {
    /// Checks the magic bytes.
    pub(super) fn open(mut reader: R) -> Result<Self, DebError> {
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(|_| DebError::Shell("no ar archive"))?;
        if &magic != b"!<arch>\n" {
            return Err(DebError::Shell("no ar archive"));
        }
        Ok(Self { inner: reader.take(0), padding: 0 })
    }

    /// The next member, or none at the end. What was not read of the one before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Member>, DebError> {
        let skip = self.inner.limit() + self.padding;
        self.inner.set_limit(skip);
        let skipped = std::io::copy(&mut self.inner, &mut std::io::sink()).map_err(DebError::Read)?;
        // The padding byte behind the last member may be missing.
        if skipped < skip.saturating_sub(self.padding) {
            return Err(DebError::Shell("ar member cut short"));
        }
        self.padding = 0;
        let mut header = [0; HEADER];
        self.inner.set_limit(HEADER as u64);
        let mut have = 0;
        while have < HEADER {
            match self.inner.read(&mut header[have..]).map_err(DebError::Read)? {
                0 if have == 0 => return Ok(None),
                0 => return Err(DebError::Shell("ar header cut short")),
                n => have += n,
            }
        }
        let (name, size) = parse_header(&header)?;
        self.inner.set_limit(size);
        self.padding = size % 2;
        Ok(Some(Member { name, size }))
    }

    /// The content of the member that `next` gave.
    pub(super) fn content(&mut self) -> &mut impl Read {
        &mut self.inner
    }
}

fn parse_header(header: &[u8; HEADER]) -> Result<(String, u64), DebError> {
    if &header[58..] != b"`\n" {
        return Err(DebError::Shell("ar header without its end mark"));
    }
    let text = |range: &[u8]| {
        std::str::from_utf8(range).map(|t| t.trim_end_matches(' ').to_owned()).unwrap_or_default()
    };
    let size = text(&header[48..58]);
    if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DebError::Shell("ar header with a bad size"));
    }
    let size = size.parse().map_err(|_| DebError::Shell("ar header with a bad size"))?;
    Ok((text(&header[..16]).trim_end_matches('/').to_owned(), size))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes an `ar` archive.
    pub(in crate::deb) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = b"!<arch>\n".to_vec();
        for (name, bytes) in members {
            out.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, bytes.len()).bytes(),
            );
            out.extend(*bytes);
            out.extend(vec![b'\n'; bytes.len() % 2]);
        }
        out
    }

    #[test]
    fn members_come_in_order_and_unread_content_is_skipped() {
        let bytes = archive(&[("debian-binary", b"2.0\n"), ("odd/", b"abc"), ("last", b"x")]);
        let mut members = Members::open(&bytes[..]).expect("archive");
        let mut names = vec![];
        while let Some(m) = members.next().expect("member") {
            names.push((m.name, m.size));
        }
        assert_eq!(names, [("debian-binary".into(), 4), ("odd".into(), 3), ("last".into(), 1)]);
        assert!(Members::open(&b"!<arch>"[..]).is_err());
        let mut cut = Members::open(&bytes[..70]).expect("archive");
        assert!(cut.next().is_ok() && cut.next().is_err());
    }
}
