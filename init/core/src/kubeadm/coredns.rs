//! CoreDNS' Corefile for a node that knows no DNS server.

/// Leaves the plugin `forward` (one line, or a block in braces) out of a Corefile. CoreDNS does not start with a
/// `forward . /etc/resolv.conf` whose file names no server. Anything else stays as it is, byte by byte.
pub fn without_forward(corefile: &str) -> String {
    let mut kept = String::with_capacity(corefile.len());
    let mut depth = 0usize;
    for line in corefile.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        let (opens, closes) = (code.matches('{').count(), code.matches('}').count());
        if depth > 0 {
            depth = (depth + opens).saturating_sub(closes);
        } else if code.split_whitespace().next() == Some("forward") {
            depth = opens.saturating_sub(closes);
        } else {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::without_forward;

    #[test]
    fn a_forward_block_goes_and_the_rest_stays() {
        let corefile = ".:53 {\n    errors\n    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n    cache 30 {\n       disable success cluster.local\n    }\n    reload\n}\n";
        assert_eq!(
            without_forward(corefile),
            ".:53 {\n    errors\n    cache 30 {\n       disable success cluster.local\n    }\n    reload\n}\n"
        );
        assert_eq!(without_forward(".:53 {\n  forward . 192.0.2.1\n  loop\n}"), ".:53 {\n  loop\n}");
        let none = ".:53 {\n  # forward . x {\n  loop\n}\n";
        assert_eq!(without_forward(none), none);
    }
}
