//! Text of another machine, made fit for a console.

/// The longest free text of a message, in characters.
pub(super) const MAX_CHARS: usize = 500;

/// Text without control characters (they move a terminal's cursor), of at most `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) fn is_printable(text: &str, max: usize) -> bool {
    text.chars().nth(max).is_none() && !text.chars().any(char::is_control)
}
