//! What another program said, fit for a console: without what may be a secret.
//!
//! Takes a text that may quote anything (a request, a file, a flag), gives it with "(secret)" in the place of certificate
//! keys (64 hexadecimal digits or more; a digest after `sha256:` stays), bootstrap tokens, PEM blocks (a torn one, too), and
//! long base64 (keys in a kubeconfig, tokens of service accounts). What stands around them stays, and a text without them is
//! as it was. Knows forms, not values: it hides too much rather than too little.

use std::ops::Range;

const IN_ITS_PLACE: &str = "(secret)";
/// Hexadecimal digits of kubeadm's certificate key (AES-256).
const KEY: usize = 64;
/// Base64 of 30 bytes: a key is longer, a word with small and large letters and digits shorter.
const BASE64: usize = 40;
/// `[a-z0-9]{6}.[a-z0-9]{16}` (kubeadm's bootstraptoken/v1).
const TOKEN: (usize, usize) = (6, 16);
const DIGEST: &str = "sha256:";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The text without secrets.
pub fn hidden(text: &str) -> String {
    let mut spans: Vec<Range<usize>> = Vec::new();
    pem(text, &mut spans);
    keys(text, &mut spans);
    tokens(text, &mut spans);
    spans.sort_unstable_by_key(|s| (s.start, s.end));
    let (mut shown, mut at) = (String::new(), 0);
    let mut spans = spans.into_iter().peekable();
    while let Some(Range { start, mut end }) = spans.next() {
        while let Some(more) = spans.next_if(|s| s.start <= end) {
            end = end.max(more.end);
        }
        shown.push_str(text.get(at..start).unwrap_or_default());
        shown.push_str(IN_ITS_PLACE);
        at = end;
    }
    shown.push_str(text.get(at..).unwrap_or_default());
    shown
}

/// Every longest run of such bytes (ASCII).
fn runs(text: &str, is: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.bytes().enumerate().filter(|(_, b)| is(*b)) {
        match all.last_mut() {
            Some(run) if run.end == at => run.end = at + 1,
            _ => all.push(at..at + 1),
        }
    }
    all
}

fn keys(text: &str, spans: &mut Vec<Range<usize>>) {
    let before = |run: &Range<usize>| text.get(..run.start).unwrap_or_default();
    let hex = runs(text, |b| b.is_ascii_hexdigit()).into_iter();
    let is_digest = |r: &Range<usize>| r.len() == KEY && before(r).ends_with(DIGEST);
    let mut digests = Vec::new();
    for run in hex.filter(|r| r.len() >= KEY) {
        if is_digest(&run) { digests.push(run) } else { spans.push(run) }
    }
    let of_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'_' | b'-');
    let mixed = |r: &Range<usize>| {
        let bytes = text.get(r.clone()).unwrap_or_default().as_bytes();
        let any = |is: fn(&u8) -> bool| bytes.iter().any(is);
        any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_digit)
    };
    let long = runs(text, of_base64).into_iter().filter(|r| r.len() >= BASE64 && mixed(r));
    spans.extend(long.filter(|r| !digests.contains(r)));
}

fn tokens(text: &str, spans: &mut Vec<Range<usize>>) {
    let words = runs(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit());
    for (id, secret) in words.iter().zip(words.iter().skip(1)) {
        let between = text.get(id.end..secret.start);
        // The letter of an escape ("\n", "\t") is none of the token.
        let before = text.get(..id.start).unwrap_or_default();
        let escape = usize::from(before.ends_with('\\'));
        let is_id = id.len() == TOKEN.0 || id.len() == TOKEN.0 + escape;
        if between == Some(".") && is_id && secret.len() == TOKEN.1 {
            spans.push(id.start + (id.len() - TOKEN.0)..secret.end);
        }
    }
}

fn pem(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let (begin, end) = (rest.find(BEGIN), rest.find(END));
        let close = |from: usize| {
            let label = from + END.len();
            let dashes = rest.get(label..).and_then(|r| r.find(DASHES));
            dashes.map_or(rest.len(), |d| label + d + DASHES.len())
        };
        let span = match (begin, end) {
            (None, None) => return,
            // Its head was cut off: all that may be of it.
            (None, Some(end)) => torn(rest, end)..close(end),
            (Some(begin), Some(end)) if end < begin => torn(rest, end)..close(end),
            (Some(begin), Some(end)) => begin..close(end),
            (Some(begin), None) => begin..rest.len(),
        };
        let next = at + span.end;
        spans.push(at + span.start..next);
        at = next;
    }
}

/// Where the lines of base64 before an end begin.
fn torn(text: &str, end: usize) -> usize {
    let of_it = |c: char| {
        c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || matches!(c, '+' | '/' | '=' | ';' | '\\')
    };
    let before = text.get(..end).unwrap_or_default();
    before.trim_end_matches(of_it).len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF";
    const TOKEN: &str = "abcdef.0123456789abcdef";
    const B64: &str = "MHcCAQEEIBxTq1Zl8kq3Vw9sQ0n5nV1sY2m8JkQqoWg7yR5uZt0coAoGCCqGSM49";

    #[test]
    fn what_stands_around_a_secret_stays() {
        for (said, shown) in [
            (format!("certificateKey={HEX}"), "certificateKey=(secret)".to_owned()),
            (format!("a\t{HEX}\tb"), "a\t(secret)\tb".into()),
            (format!("\"--certificate-key={HEX}\","), "\"--certificate-key=(secret)\",".into()),
            (format!("token:{TOKEN};"), "token:(secret);".into()),
            (format!(r#"got "x\n{TOKEN}\n""#), r#"got "x\n(secret)\n""#.into()),
            (format!(r"\{TOKEN}"), r"\(secret)".into()),
            (format!("client-key-data: {B64}=="), "client-key-data: (secret)==".into()),
            (
                format!("Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9_x-y.{B64}"),
                "Bearer (secret).(secret)".into(),
            ),
        ] {
            assert_eq!(hidden(&said), shown, "{said}");
        }
    }

    #[test]
    fn pem_goes_whole_and_torn() {
        let block = format!("-----BEGIN EC PRIVATE KEY-----\n{B64}\nq1==\n-----END EC PRIVATE KEY-----");
        assert_eq!(hidden(&format!("key: {block}, then")), "key: (secret), then");
        let torn = format!("failed: {B64}; q1==; -----END EC PRIVATE KEY-----; more");
        assert_eq!(hidden(&torn), "failed:(secret); more");
        assert_eq!(hidden(&format!("x -----BEGIN PRIVATE KEY-----\n{B64}\nq1")), "x (secret)");
        assert_eq!(hidden(&format!("{block}{block}")), IN_ITS_PLACE);
    }

    #[test]
    fn what_kubeadm_says_otherwise_stays() {
        for said in [
            "error execution phase certs/apiserver: /etc/kubernetes/pki/apiserver-kubelet-client.crt exists",
            "Post \"https://10.77.0.11:6443/apis/rbac.authorization.k8s.io/v1/clusterrolebindings?timeout=10s\": EOF",
            "couldn't load image registry.k8s.io/kube-apiserver@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "DeprecatedKubeletServingCertificateRotation is unknown",
            "ünïcode … \u{1F980}",
            "",
        ] {
            assert_eq!(hidden(said), said);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let _ = hidden(&text);
        }

        #[test]
        fn no_key_and_no_token_comes_through(
            before in "[ -~\t\n]{0,20}[=: \t\"',/(]", key in "[0-9a-f]{64}", id in "[a-z0-9]{6}",
            secret in "[a-z0-9]{16}", after in "[=: \t\"',;)/\\\\][ -~]{0,20}",
        ) {
            let said = hidden(&format!("{before}{key}{after}"));
            prop_assert!(!said.contains(&key), "{said}");
            let said = hidden(&format!("{before}{id}.{secret}{after}"));
            prop_assert!(!said.contains(&secret), "{said}");
        }

        #[test]
        fn no_key_in_base64_comes_through(bytes in prop::collection::vec(any::<u8>(), 96..200), split in 30usize..64) {
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let text: String = bytes.iter().map(|b| char::from(digits[usize::from(b % 64)])).collect();
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
            let block = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
            // Whole, without its head, without its end: none of its lines is there any more.
            for said in [block.as_str(), &block[split..], &block[..block.len() - split]] {
                let shown = hidden(said);
                for line in &lines {
                    prop_assert!(line.len() < 8 || !shown.contains(line), "{line} in {shown}");
                }
            }
        }

        #[test]
        fn words_without_digits_stay(text in "([A-Za-z]{1,12}[ .:,\t]){0,12}") {
            prop_assert_eq!(hidden(&text), text);
        }
    }
}
