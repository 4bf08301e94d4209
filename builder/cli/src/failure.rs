//! One error for everything that ends a command, and its rendering.

use std::error::Error;
use std::io;

/// What ended a command.
#[derive(Debug)]
pub struct Failure {
    source: Box<dyn Error + Send + Sync>,
    /// Next step, when the error itself does not say one.
    help: Option<String>,
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(e: E) -> Self {
        Self { source: Box::new(e), help: None }
    }
}

/// A failure that is only a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(String);

/// A sentence that names the object, for causes that do not.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
struct Because {
    sentence: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A sentence, and what to do next.
    pub fn new(sentence: impl Into<String>, help: impl Into<String>) -> Self {
        Self { source: Box::new(Sentence(sentence.into())), help: Some(help.into()) }
    }
    /// A sentence that names the object, its cause, and what to do next.
    pub fn because(
        sentence: impl Into<String>,
        cause: impl Error + Send + Sync + 'static,
        help: impl Into<String>,
    ) -> Self {
        Self::from(Because { sentence: sentence.into(), source: Box::new(cause) }).help(help)
    }
    /// Adds the next step.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    /// `error: …`, each cause on a line of its own, `help: …` last.
    pub fn render(&self) -> String {
        let mut helps = Vec::new();
        let mut text = String::new();
        let mut next: Option<&dyn Error> = Some(self.source.as_ref());
        let mut said = String::new();
        while let Some(error) = next {
            let whole = error.to_string();
            let (message, help) = match whole.split_once("\nhelp: ") {
                Some((m, h)) => (m.to_owned(), Some(h.to_owned())),
                None => (whole, None),
            };
            helps.extend(help);
            // A source that only repeats what its parent said teaches nothing.
            if text.is_empty() {
                if message.starts_with("error") {
                    text.push_str(&message);
                } else {
                    text.push_str(&format!("error: {message}"));
                }
            } else if !said.contains(&message) {
                text.push_str(&format!("\n  cause: {message}"));
            }
            said = message;
            let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
            let full = matches!(io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            if full && !helps.iter().any(|help| help.contains("disk")) {
                helps.push("the disk is full: make room, or give another cache with --cache DIR; the next run goes on".into());
            }
            next = error.source();
        }
        helps.extend(self.help.clone());
        for help in helps {
            text.push_str(&format!("\nhelp: {help}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_wherever_it_shows() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let said = Failure::because("cannot write \"x\"", full(), "look at \"x\"").render();
        assert!(said.starts_with("error: cannot write \"x\"\n  cause: "), "{said}");
        assert!(
            said.contains("\nhelp: the disk is full: make room") && said.ends_with("\nhelp: look at \"x\""),
            "{said}"
        );
        let said = Failure::from(full()).help("is the disk full?").render();
        assert!(said.contains("the next run goes on"), "{said}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read \"x\"\nhelp: make it readable")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_come_below_and_help_last() {
        let f = Failure::from(Outer(std::io::Error::other("no such file")));
        assert_eq!(f.render(), "error: cannot read \"x\"\n  cause: no such file\nhelp: make it readable");
    }
}
