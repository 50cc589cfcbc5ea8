//! What is logged, as clients see and change it: Kafka's BROKER_LOGGER.
//!
//! Invariants: `root` and the parts of the broker have a level each, their own or root's; what is set
//! lasts as long as the process, or until SIGHUP or the side door says something else.

use std::collections::BTreeMap;

use wire::server::Loggers;

use crate::logging::Levels;

/// The logger that all others inherit from.
const ROOT: &str = "root";
/// Parts of the broker that log.
const PARTS: [&str; 7] = ["base", "broker", "coordinator", "gregor", "metadata", "storage", "wire"];

impl Loggers for Levels {
    fn levels(&self) -> BTreeMap<String, String> {
        let mut levels = own(&self.now());
        let root = levels.get(ROOT).cloned().unwrap_or_default();
        for part in PARTS {
            levels.entry(part.to_owned()).or_insert_with(|| root.clone());
        }
        levels
    }

    fn set(&self, levels: &BTreeMap<String, Option<String>>) {
        let wanted = changed(&self.now(), levels);
        if let Err(error) = Self::set(self, &wanted) {
            tracing::warn!(wanted, error, "the log levels stay as they are");
        }
    }
}

/// The levels that `text` names, by logger, in Kafka's words.
fn own(text: &str) -> BTreeMap<String, String> {
    let mut levels = BTreeMap::from([(ROOT.to_owned(), "INFO".to_owned())]);
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (logger, level) = part.split_once('=').unwrap_or((ROOT, part));
        levels.insert(logger.to_owned(), level.to_ascii_uppercase());
    }
    levels
}

/// What `text` becomes with these levels set, and those without one taken back.
fn changed(text: &str, levels: &BTreeMap<String, Option<String>>) -> String {
    let mut own = own(text);
    for (logger, level) in levels {
        match level {
            Some(level) => own.insert(logger.clone(), level.clone()),
            None => own.remove(logger),
        };
    }
    let one = |(logger, level): (&String, &String)| {
        let level = level.to_ascii_lowercase();
        // Nothing here is worse than an error.
        let level = if level == "fatal" { "error" } else { &level };
        if logger == ROOT { level.to_owned() } else { format!("{logger}={level}") }
    };
    own.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_own_level_and_what_is_taken_back_is_roots_again() {
        let set = |text: &str, logger: &str, level: Option<&str>| {
            changed(text, &BTreeMap::from([(logger.to_owned(), level.map(str::to_owned))]))
        };
        let first = "warn,storage=debug";
        assert_eq!(own(first)[ROOT], "WARN");
        let second = set(first, "wire", Some("FATAL"));
        assert_eq!(second, "warn,storage=debug,wire=error");
        assert_eq!(set(&second, "storage", None), "warn,wire=error");
        assert_eq!(set("", "root", Some("TRACE")), "trace");
    }
}
