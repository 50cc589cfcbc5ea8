//! `console` blocks: commands as a reader types them, and what they print.
//!
//! Owns: the notation. A line that begins with `$ ` is a command, the lines up to the next one are
//! its output. In an output `...` stands for anything within the line, alone on a line for any
//! number of lines (none too), and `<word>` for one word. Runs of blanks count as one.

use crate::markdown::Page;

/// A command and what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line of the page, from 1.
    pub line: usize,
    /// What is typed.
    pub command: String,
    /// What is printed.
    pub output: Vec<String>,
}

/// The steps of every `console` block of a page, in order.
pub fn steps(page: &Page) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in page.blocks.iter().filter(|block| block.info == "console") {
        let mut open = false;
        for (line, text) in (block.line + 1..).zip(&block.lines) {
            if let Some(command) = text.strip_prefix("$ ") {
                open = true;
                let command = command.trim().to_owned();
                steps.push(Step { line, command, output: Vec::new() });
            } else if let Some(step) = steps.last_mut().filter(|_| open) {
                step.output.push(text.trim_end().to_owned());
            }
        }
    }
    steps
}

/// Whether `found` has the shape of `expected`.
pub fn has_shape(expected: &[String], found: &str) -> bool {
    let found: Vec<&str> = found.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let expected: Vec<&str> =
        expected.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    lines_match(&expected, &found)
}

fn lines_match(expected: &[&str], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((&"...", rest)) => (0..=found.len()).any(|skip| lines_match(rest, &found[skip..])),
        Some((line, rest)) => match found.split_first() {
            Some((first, others)) => line_matches(line, first) && lines_match(rest, others),
            None => false,
        },
    }
}

/// Whether the line `found` has the shape of `expected`.
pub fn line_matches(expected: &str, found: &str) -> bool {
    let blanks = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    text_matches(&blanks(expected), &blanks(found))
}

fn text_matches(expected: &str, found: &str) -> bool {
    if let Some(rest) = expected.strip_prefix("...") {
        let mut places = found.char_indices().map(|(at, _)| at).chain([found.len()]);
        return places.any(|at| text_matches(rest, &found[at..]));
    }
    if let Some(rest) = placeholder(expected) {
        let word = found.find(' ').unwrap_or(found.len());
        let mut ends = found.char_indices().map(|(at, _)| at).chain([found.len()]);
        return ends.any(|end| end > 0 && end <= word && text_matches(rest, &found[end..]));
    }
    let (mut expected, mut found) = (expected.chars(), found.chars());
    match (expected.next(), found.next()) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b && text_matches(expected.as_str(), found.as_str()),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// What follows a `<word>` at the front.
fn placeholder(text: &str) -> Option<&str> {
    let (name, rest) = text.strip_prefix('<')?.split_once('>')?;
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    is_word.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, found: &str, fits: bool) {
        let lines: Vec<String> = expected.lines().map(str::to_owned).collect();
        assert_eq!(has_shape(&lines, found), fits, "{expected:?} against {found:?}");
    }

    #[test]
    fn steps_are_commands_with_their_output() {
        let page = Page::read("```console\n$ a b\none\n\n$ c\n```\n```text\n$ d\n```\n");

        let all: Vec<_> = steps(&page).into_iter().map(|s| (s.line, s.command, s.output)).collect();
        let output = vec!["one".to_owned(), String::new()];
        assert_eq!(all, [(2, "a b".to_owned(), output), (5, "c".to_owned(), vec![])]);
    }

    #[test]
    fn the_same_text_fits_and_another_does_not() {
        check("one\ntwo", "one\ntwo\n", true);
        check("a  b", "a b", true);
        check("one\ntwo", "one\n", false);
        check("one", "one\ntwo\n", false);
        check("one", "onex", false);
        check("onex", "one", false);
    }

    #[test]
    fn a_placeholder_is_one_word_and_dots_are_anything() {
        check("id <id>, 3 partitions", "id x-Y_9, 3 partitions", true);
        check("id <id>.", "id abc.", true);
        check("id <id>", "id a b", false);
        check("id <id>", "id ", false);
        check("... ready on <address>", "12:00 INFO ready on [::1]:9092", true);
        check("first\n...\nlast", "first\nx\ny\nlast", true);
        check("first\n...\nlast", "first\nlast", true);
        check("first\n...\nlast", "first\nx", false);
        check("x<10", "x<10", true);
    }
}
