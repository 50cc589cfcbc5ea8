//! The rules that hold our pages to the tree.
//!
//! Checked on every page, in running text:
//! 1. A code span of one word that begins with a folder of the repository's root and a slash is a
//!    path and exists; so does one without a slash that ends like a file of the root (`.md`,
//!    `.toml`, `.lock`). From the first part with a `*` on nothing is looked up; a part named
//!    `target` is build output and exempt.
//! 2. A relative link leads to a file or folder, and its `#part` to a heading there.
//! 3. A code span `name::item` names a crate of ours in whose source the word `item` occurs, or a
//!    crate that the workspace depends on.
//! 4. In `cargo X` (code span or console block) X is an alias of ours or a command of cargo; what
//!    follows `-p` is a crate of ours, unless it is written in capitals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::console;
use crate::markdown::{Found, Page};

/// Commands that come with cargo, or with a tool that CONTRIBUTING.md says how to install.
const CARGO_COMMANDS: &[&str] = &[
    "bench", "build", "check", "clippy", "doc", "fmt", "fuzz", "install", "run", "test", "tree",
    "update",
];

/// What may stand before a `::` and is no crate of the workspace or its dependencies.
const NAMESPACES: &[&str] =
    &["clippy", "core", "i16", "i32", "i64", "i8", "std", "u16", "u32", "u64", "u8", "usize"];

/// Folders of the root that a build or a broker makes.
const MADE: &[&str] = &[".git", "data", "target"];

/// What the tree has.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    folders: BTreeSet<String>,
    /// Our crates and where they are, relative to the root.
    pub crates: BTreeMap<String, PathBuf>,
    others: BTreeSet<String>,
    aliases: BTreeSet<String>,
}

impl Tree {
    /// Looks at the tree under `root`.
    ///
    /// # Errors
    /// If a file that every version of the repository has cannot be read.
    pub fn look(root: &Path) -> std::io::Result<Self> {
        let mut folders = BTreeSet::new();
        let mut crates = BTreeMap::new();
        for name in folders_in(root)? {
            if !MADE.contains(&name.as_str()) {
                folders.insert(name);
            }
        }
        let inner = folders_in(&root.join("crates"))?.into_iter();
        let mut places: Vec<PathBuf> = inner.map(|name| Path::new("crates").join(name)).collect();
        places.extend(["proto", "sim", "tests", "tests/floor"].map(PathBuf::from));
        for place in places {
            let manifest = std::fs::read_to_string(root.join(&place).join("Cargo.toml"))?;
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = \""));
            let name = name.and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
            crates.insert(name.to_owned(), place);
        }
        let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
        let config = std::fs::read_to_string(root.join(".cargo/config.toml"))?;
        Ok(Self {
            root: root.to_owned(),
            folders,
            crates,
            others: keys(&manifest, "[workspace.dependencies]"),
            aliases: keys(&config, "[alias]"),
        })
    }

    /// README.md, CONTRIBUTING.md, CHANGELOG.md and everything under docs, relative to the root.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn pages(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut pages: Vec<PathBuf> =
            ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).to_vec();
        let mut todo = vec![PathBuf::from("docs")];
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(self.root.join(&folder))? {
                let path = folder.join(entry?.file_name());
                if self.root.join(&path).is_dir() {
                    todo.push(path);
                } else if path.extension().is_some_and(|extension| extension == "md") {
                    pages.push(path);
                }
            }
        }
        pages.sort();
        Ok(pages)
    }

    /// What is wrong on the page at `path` (relative to the root) whose text is `text`, one
    /// sentence each.
    pub fn check(&self, path: &Path, text: &str) -> Vec<String> {
        let page = Page::read(text);
        let mut wrong = Vec::new();
        let mut say = |line: usize, why: String| {
            wrong.push(format!("{}:{line}: {why}", path.display()));
        };
        for Found { line, text } in &page.spans {
            if let Err(why) = self.check_span(text) {
                say(*line, why);
            }
        }
        for Found { line, text } in &page.links {
            if let Err(why) = self.check_link(path, &page, text) {
                say(*line, why);
            }
        }
        for step in console::steps(&page) {
            if let Err(why) = self.check_cargo(&step.command) {
                say(step.line, why);
            }
        }
        wrong
    }

    fn check_span(&self, span: &str) -> Result<(), String> {
        if span.contains(char::is_whitespace) {
            return self.check_cargo(span);
        }
        if let Some((name, item)) = span.split_once("::") {
            return self.check_item(name, item);
        }
        let at_root = ["md", "toml", "lock"];
        let is_path = match span.split_once('/') {
            Some((first, _)) => self.folders.contains(first),
            None => span
                .rsplit_once('.')
                .is_some_and(|(stem, extension)| !stem.is_empty() && at_root.contains(&extension)),
        };
        if is_path { self.check_path(span) } else { Ok(()) }
    }

    fn check_path(&self, path: &str) -> Result<(), String> {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.contains(&"target") {
            return Ok(());
        }
        let known = parts.iter().take_while(|part| !part.contains('*'));
        let at: PathBuf = known.collect();
        if self.root.join(at).exists() { Ok(()) } else { Err(format!("no such path: {path}")) }
    }

    fn check_item(&self, name: &str, item: &str) -> Result<(), String> {
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Ok(()); // A type and its method.
        }
        let known = |name: &str| self.crates.get(name).or(self.crates.get(&name.replace('_', "-")));
        let Some(place) = known(name) else {
            let is_other =
                NAMESPACES.contains(&name) || self.others.contains(&name.replace('_', "-"));
            return if is_other { Ok(()) } else { Err(format!("no such crate: {name}::{item}")) };
        };
        let is_letter = |c: char| c.is_alphanumeric() || c == '_';
        let words = item.split(|c| !is_letter(c)).filter(|word| !word.is_empty());
        let source = source_of(&self.root.join(place).join("src"));
        let has = |word: &str| source.split(|c| !is_letter(c)).any(|found| found == word);
        match words.into_iter().find(|word| !has(word)) {
            Some(word) => Err(format!("{name} has no {word}: {name}::{item}")),
            None => Ok(()),
        }
    }

    fn check_link(&self, from: &Path, page: &Page, target: &str) -> Result<(), String> {
        if target.contains("://") {
            return Ok(());
        }
        let (path, part) = target.split_once('#').unwrap_or((target, ""));
        let folder = self.root.join(from.parent().unwrap_or(Path::new("")));
        let place = folder.join(path);
        let anchors = if path.is_empty() {
            page.anchors()
        } else if !place.exists() {
            return Err(format!("the link leads nowhere: {target}"));
        } else {
            let text = std::fs::read_to_string(&place).unwrap_or_default();
            if part.is_empty() { Vec::new() } else { Page::read(&text).anchors() }
        };
        if part.is_empty() || anchors.iter().any(|anchor| anchor == part) {
            Ok(())
        } else {
            Err(format!("no such heading: {target}"))
        }
    }

    fn check_cargo(&self, command: &str) -> Result<(), String> {
        let mut words = command.split_whitespace().skip_while(|word| word.contains('='));
        if words.next() != Some("cargo") {
            return Ok(());
        }
        let words: Vec<&str> = words.collect();
        if let Some(first) = words.first() {
            let known = self.aliases.contains(*first) || CARGO_COMMANDS.contains(first);
            if !known && !first.starts_with('-') {
                return Err(format!("no such cargo command: {command}"));
            }
        }
        let mut named = words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]);
        let is_ours = |name: &str| {
            self.crates.contains_key(name) || !name.contains(|c: char| c.is_ascii_lowercase())
        };
        match named.find(|name| !is_ours(name)) {
            Some(name) => Err(format!("no such crate: {name} in {command}")),
            None => Ok(()),
        }
    }
}

/// What is wrong with the text of an ADR whose file is called `name`.
pub fn check_adr(name: &str, text: &str) -> Vec<String> {
    let number = name.split('-').next().unwrap_or_default();
    let mut wrong = Vec::new();
    if number.len() != 4 || !text.starts_with(&format!("# {number} ")) {
        wrong.push(format!("{name}: the title does not begin with the file's number"));
    }
    for part in ["**Decision.**", "**Why.**", "**Rejected.**"] {
        let said = text.split_once(part).map(|(_, rest)| rest.trim_start());
        if said.is_none_or(|rest| rest.is_empty() || rest.starts_with("**")) {
            wrong.push(format!("{name}: nothing under {part}"));
        }
    }
    wrong
}

fn folders_in(place: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The keys of one table of a TOML file.
fn keys(text: &str, table: &str) -> BTreeSet<String> {
    let lines = text.lines().skip_while(|line| line.trim() != table).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key.trim().to_owned())
        .filter(|key| !key.starts_with('#'))
        .collect()
}

/// All Rust source under `folder` as one text.
pub fn source_of(folder: &Path) -> String {
    let mut source = String::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(place) = todo.pop() {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                source += &std::fs::read_to_string(&path).unwrap_or_default();
            }
        }
    }
    source
}
