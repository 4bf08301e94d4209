//! A Debian version: its text, and Debian's order (Policy 5.6.12).

use std::cmp::Ordering;

/// A version as an index writes it. Ordered by Debian's rules; `1.0` and `1.0-0` are equal.
#[derive(Debug, Clone)]
pub struct Version {
    text: Box<str>,
}

impl Version {
    /// At most this many bytes.
    const LONGEST: usize = 256;

    /// Accepts what Policy 5.6.12 allows; none otherwise. Cheap: the parts are taken apart only when compared.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
        let sound = !text.is_empty() && text.len() <= Self::LONGEST && text.bytes().all(allowed);
        let epoch = match text.split_once(':') {
            Some((epoch, rest)) => epoch.parse::<u32>().is_ok() && !rest.is_empty(),
            None => true,
        };
        (sound && epoch).then(|| Self { text: text.into() })
    }
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.text == other.text {
            return Ordering::Equal;
        }
        match (self.text.parse::<debversion::Version>(), other.text.parse::<debversion::Version>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            // What debversion refuses although `parse` took it has an order too, if no meaning.
            _ => self.text.cmp(&other.text),
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_is_debians() {
        let rising =
            ["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1+deb13u1", "1.0-2", "1.0.1-1", "1.9", "1.10", "2:0.1-1"];
        for pair in rising.windows(2) {
            let [a, b] = pair else { continue };
            assert!(Version::parse(a) < Version::parse(b), "{a} < {b}");
        }
        assert_eq!(Version::parse("1.0"), Version::parse("0:1.0-0"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", "1 0", "x:1", ":1", "1:", "1_0", "1.0/2", "99999999999:1", "é"] {
            assert!(Version::parse(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not_and_compares(a in "\\PC{0,20}", b in "[0-9a-z.+:~-]{0,20}", c in "[0-9.~-]{1,8}") {
            let list = [a, b, c].map(|t| Version::parse(&t));
            for x in list.iter().flatten() {
                for y in list.iter().flatten() {
                    prop_assert_eq!(x.cmp(y), y.cmp(x).reverse());
                }
            }
        }
    }
}
