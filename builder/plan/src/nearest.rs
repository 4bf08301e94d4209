//! The names that somebody may have meant: takes a name and the names there are, gives the nearest, best first.

/// At most this many names are suggested.
const MOST: usize = 3;

/// The names of `known` that look like `name`, best first, at most three.
///
/// Near means: few letters differ for the name's length (Jaro-Winkler of at least 0.8).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        // Names of a very different length are never near; leaving them out keeps 70,000 names quick.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 2 + name.len() / 2)
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, candidate)| *candidate);
    scored.into_iter().take(MOST).map(|(_, candidate)| candidate).collect()
}

/// `did you mean "a", "b" or "c"?`; none when nothing is near.
pub fn question(names: &[impl AsRef<str>]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    let (last, rest) = quoted.split_last()?;
    Some(match rest {
        [] => format!("did you mean {last}?"),
        rest => format!("did you mean {} or {last}?", rest.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_found_and_a_stranger_is_not() {
        let known = ["nftables", "iptables", "conntrack", "socat"];
        assert_eq!(nearest("nftabels", known).first(), Some(&"nftables"));
        assert!(nearest("zzzzzz", known).is_empty());
        assert!(nearest("", known).is_empty());
    }

    #[test]
    fn question_reads_like_a_sentence() {
        assert_eq!(question(&[] as &[&str]), None);
        assert_eq!(question(&["a"]).as_deref(), Some("did you mean \"a\"?"));
        assert_eq!(question(&["a", "b", "c"]).as_deref(), Some("did you mean \"a\", \"b\" or \"c\"?"));
    }
}
