//! The little of Markdown that our pages use.
//!
//! Owns: [`Page`]. Not known, and not used by our pages: indented code, code spans over two lines,
//! reference links.

/// Something on a line of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What follows the opening fence, e.g. `console`.
    pub info: String,
    /// Its lines, without the fences.
    pub lines: Vec<String>,
}

/// A page, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Headings, without their `#`.
    pub headings: Vec<Found>,
    /// Code spans in running text, without their backticks.
    pub spans: Vec<Found>,
    /// Targets of `[text](target)`.
    pub links: Vec<Found>,
    /// First cells of table rows, as they stand.
    pub first_cells: Vec<Found>,
    /// Fenced blocks.
    pub blocks: Vec<Block>,
}

impl Page {
    /// Takes `text` apart.
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut open: Option<Block> = None;
        for (line, text) in (1..).zip(text.lines()) {
            let fence = text.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (Some(block), None) => block.lines.push(text.to_owned()),
                (None, Some(info)) => {
                    let info = info.trim().to_owned();
                    open = Some(Block { line, info, lines: Vec::new() });
                },
                (None, None) => page.read_line(line, text),
            }
        }
        page.blocks.extend(open);
        page
    }

    fn read_line(&mut self, line: usize, text: &str) {
        let found = |text: &str| Found { line, text: text.to_owned() };
        let title = text.trim_start_matches('#');
        if title.len() < text.len() && title.starts_with(' ') {
            self.headings.push(found(title.trim()));
        }
        if let Some((cell, _)) = text.strip_prefix('|').and_then(|row| row.split_once('|')) {
            self.first_cells.push(found(cell.trim()));
        }
        self.spans.extend(text.split('`').skip(1).step_by(2).map(found));
        // Outside code spans only.
        let plain: String = text.split('`').step_by(2).collect();
        let links = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        self.links.extend(links.map(|(target, _)| found(target)));
    }

    /// What links to the page's headings end with, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        self.headings.iter().map(|heading| anchor(&heading.text)).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let kept: String = heading.chars().filter(|c| kept(*c)).collect();
    kept.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# Two words, `one` page

See `a/b` and [there](docs/x.md#part), not `[code](y)`.

| `cell` | other |

```console
$ echo `no span`
```
";

    #[test]
    fn a_page_is_taken_apart_and_code_is_not_running_text() {
        let page = Page::read(PAGE);

        let texts = |found: &[Found]| found.iter().map(|f| f.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&page.spans), ["one", "a/b", "[code](y)", "cell"]);
        assert_eq!(texts(&page.links), ["docs/x.md#part"]);
        assert_eq!(texts(&page.first_cells), ["`cell`"]);
        assert_eq!(page.anchors(), ["two-words-one-page"]);
        let block =
            Block { line: 7, info: "console".into(), lines: vec!["$ echo `no span`".into()] };
        assert_eq!(page.blocks, [block]);
    }
}
