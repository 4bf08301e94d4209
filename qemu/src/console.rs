//! Lines out of a byte stream that may hold anything.

use std::io::{ErrorKind, Read};

/// Cuts bytes into lines: at `\n`, or where a line becomes longer than `longest` bytes.
pub(crate) struct Lines {
    longest: usize,
    line: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(longest: usize) -> Self {
        Self { longest: longest.max(1), line: Vec::new() }
    }

    /// Takes more bytes; `emit` gets every line that they end, without `\r` and `\n`.
    pub(crate) fn take(&mut self, bytes: &[u8], emit: &mut impl FnMut(&[u8])) {
        for byte in bytes {
            match byte {
                b'\n' => self.flush(emit),
                b'\r' => {}
                byte => {
                    self.line.push(*byte);
                    if self.line.len() >= self.longest {
                        self.flush(emit);
                    }
                }
            }
        }
    }

    /// The last line, if it has no end.
    pub(crate) fn finish(mut self, emit: &mut impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.flush(emit);
        }
    }

    fn flush(&mut self, emit: &mut impl FnMut(&[u8])) {
        emit(&self.line);
        self.line.clear();
    }
}

/// Reads to the end, line by line.
pub(crate) fn each_line(mut from: impl Read, longest: usize, mut emit: impl FnMut(&[u8])) {
    let mut lines = Lines::new(longest);
    let mut buf = vec![0; 16 << 10];
    loop {
        match from.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => lines.take(buf.get(..n).unwrap_or(&[]), &mut emit),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.finish(&mut emit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_end_at_newlines_and_at_the_limit() {
        let mut got = Vec::new();
        each_line(&b"a\r\n\nlonger than ten\nend"[..], 10, |l| {
            got.push(String::from_utf8_lossy(l).into_owned())
        });
        assert_eq!(got, ["a", "", "longer tha", "n ten", "end"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_wherever_the_stream_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
            let cut = cut.min(bytes.len());
            let mut lines = Lines::new(1000);
            let mut out = Vec::new();
            let mut emit = |l: &[u8]| { out.extend_from_slice(l); out.push(b'\n'); };
            lines.take(&bytes[..cut], &mut emit);
            lines.take(&bytes[cut..], &mut emit);
            lines.finish(&mut emit);
            let mut expected: Vec<u8> = bytes.iter().copied().filter(|b| *b != b'\r').collect();
            if expected.last().is_some_and(|b| *b != b'\n') { expected.push(b'\n'); }
            prop_assert_eq!(out, expected);
        }
    }
}
