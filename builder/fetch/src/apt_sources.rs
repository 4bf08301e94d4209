//! This machine's apt sources, as text: which archives apt fetches from.
//!
//! Takes the text of `*.sources` (deb822) and `*.list` (one line a source) files. Gives the enabled binary sources with
//! an HTTP address. Comments are not looked into. Format: sources.list(5). Lenient: what cannot be read is passed over,
//! since it is apt's file and not ours.

use deb822_fast::borrowed::iter_paragraphs_borrowed;

/// More text than any of these files has, bytes.
pub const LONGEST: usize = 1 << 20;
/// More sources than any machine has.
const MOST: usize = 256;

/// One archive and one suite of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// `http://…` or `https://…`, without a slash at the end.
    pub uri: String,
    /// Suite; the folder below `dists`.
    pub suite: String,
}

/// The sources of a deb822 file (`*.sources`).
pub fn parse_deb822(text: &str) -> Vec<AptSource> {
    let mut found = Vec::new();
    if text.len() > LONGEST {
        return found;
    }
    for paragraph in iter_paragraphs_borrowed(text).map_while(Result::ok) {
        let words = |name: &str| -> Vec<String> {
            let lines = paragraph.iter().find(|field| field.name().eq_ignore_ascii_case(name));
            let text = lines.map(|field| field.join()).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        };
        let enabled =
            !words("Enabled").iter().any(|w| ["no", "false", "0"].contains(&w.to_lowercase().as_str()));
        if !enabled || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in words("URIs") {
            for suite in words("Suites") {
                add(&mut found, &uri, &suite);
            }
        }
    }
    found
}

/// The sources of a one-line file (`sources.list`, `*.list`).
pub fn parse_one_line(text: &str) -> Vec<AptSource> {
    let mut found = Vec::new();
    if text.len() > LONGEST {
        return found;
    }
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '['])) else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => match options.split_once(']') {
                Some((_, rest)) => rest,
                None => continue,
            },
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            add(&mut found, uri, suite);
        }
    }
    found
}

/// Keeps what can be a suite of an archive that is reached by HTTP; `suite/` is a flat repository.
fn add(found: &mut Vec<AptSource>, uri: &str, suite: &str) {
    let http = uri.starts_with("http://") || uri.starts_with("https://");
    let sound = suite.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/'));
    if !http || !sound || suite.is_empty() || suite.ends_with('/') || found.len() == MOST {
        return;
    }
    let source = AptSource { uri: uri.trim_end_matches('/').to_owned(), suite: suite.to_owned() };
    if !found.contains(&source) {
        found.push(source);
    }
}

/// The name under which apt keeps a source's `InRelease` in its lists folder (apt's `URItoFileName`).
pub fn list_name(source: &AptSource) -> String {
    let url = format!("{}/dists/{}/InRelease", source.uri, source.suite);
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let mut name = String::with_capacity(host.len());
    for c in host.chars() {
        match c {
            '/' => name.push('_'),
            '_' => name.push_str("%5f"),
            c => name.push(c),
        }
    }
    name
}

/// `Origin` and `Label` of a Release text, not checked: it only tells whom to ask.
pub fn origin_and_label(text: &str) -> Option<(String, String)> {
    let head: Vec<&str> = text.lines().take(40).collect();
    let value = |name: &str| {
        head.iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    Some((value("Origin")?, value("Label").unwrap_or_default()))
}
