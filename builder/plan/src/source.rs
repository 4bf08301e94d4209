//! A text that a person wrote, and messages that point into it.
//!
//! Takes a file's name and text. Gives messages that show the line, underline the place and say what to do. Reads no
//! file.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// A file's name (as the person gave it) and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    name: String,
    text: String,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, one sentence without a full stop.
    pub title: String,
    /// Bytes of the text that it is about.
    pub span: Range<usize>,
    /// Words beside the underlined place; may be empty.
    pub label: String,
    /// What to do, one line each.
    pub help: Vec<String>,
}

impl Problem {
    /// A problem at `span` with no label.
    pub fn at(span: Range<usize>, title: impl Into<String>) -> Self {
        Self { title: title.into(), span, label: String::new(), help: Vec::new() }
    }
    /// With words beside the underlined place.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }
    /// With a next step.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
    /// With a next step, when there is one.
    pub fn maybe_help(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }
}

impl SourceText {
    /// Keeps both.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Line and column of a byte, both from 1, columns in characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..self.boundary(offset)).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
    /// The problem with its line shown; plain text, no colours, no newline at the end.
    pub fn render(&self, problem: &Problem) -> String {
        let start = self.boundary(problem.span.start);
        let end = self.boundary(problem.span.end.max(start));
        let mut mark = AnnotationKind::Primary.span(start..end);
        if !problem.label.is_empty() {
            mark = mark.label(problem.label.as_str());
        }
        let snippet = Snippet::source(self.text.as_str()).path(self.name.as_str()).annotation(mark);
        let mut groups = vec![Level::ERROR.primary_title(problem.title.as_str()).element(snippet)];
        groups
            .extend(problem.help.iter().map(|h| Group::with_title(Level::HELP.secondary_title(h.as_str()))));
        Renderer::plain().render(&groups).to_string()
    }
    /// `offset`, moved back to where a character begins.
    fn boundary(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_place_and_the_help_are_shown() {
        let source = SourceText::new("p.toml", "a = 1\nrole = \"wörker\"\n");
        let problem =
            Problem::at(13..22, "unknown role").label("not a role").help("did you mean \"worker\"?");
        let text = source.render(&problem);
        for part in ["error: unknown role", "p.toml:2:8", "^", "not a role", "help: did you mean"] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_renders(text in "\\PC{0,80}\n?\\PC{0,20}", start in 0usize..200, end in 0usize..200) {
            let source = SourceText::new("x", text);
            prop_assert!(source.render(&Problem::at(start..end, "t")).contains("error: t"));
            let (line, column) = source.line_column(start);
            prop_assert!(line >= 1 && column >= 1);
        }
    }
}
