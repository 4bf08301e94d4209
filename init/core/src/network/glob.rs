//! Name patterns as netplan has them: `*`, `?`, `[…]`.

/// Shell-like match. Iterative with one point of return, so that no pattern takes more than |pattern| × |name| steps.
pub(super) fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        let fits = match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => bracket(pattern.get(p..).unwrap_or_default(), c),
            Some(&literal) if literal == c => Some(1),
            _ => None,
        };
        match (fits, back) {
            (Some(used), _) => {
                p += used;
                n += 1;
            }
            (None, Some((after_star, from))) => {
                p = after_star;
                n = from + 1;
                back = Some((after_star, n));
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

/// `[abc]`, `[a-z]`, `[!a]`: how many pattern bytes were used if `c` fits.
fn bracket(pattern: &[u8], c: u8) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
    let inner = pattern.get(1..end)?;
    let (negated, inner) = match inner.split_first() {
        Some((b'!', rest)) => (true, rest),
        _ => (false, inner),
    };
    let mut hit = false;
    let mut rest = inner;
    loop {
        match rest {
            [low, b'-', high, after @ ..] => {
                hit |= (*low..=*high).contains(&c);
                rest = after;
            }
            [one, after @ ..] => {
                hit |= *one == c;
                rest = after;
            }
            [] => break,
        }
    }
    (hit != negated).then_some(end + 1)
}
