//! What is logged, and changing it while the broker runs.
//!
//! Owns: the levels that clients see as BROKER_LOGGER. Invariants: `root` and the parts of the broker
//! have a level each, their own or root's; the ready line passes whatever is set; what is set lasts as
//! long as the process.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use wire::server::Loggers;

use crate::failure::Failure;

/// The logger that all others inherit from.
const ROOT: &str = "root";
/// Parts of the broker that log.
const PARTS: [&str; 7] = ["base", "broker", "coordinator", "gregor", "metadata", "storage", "wire"];

/// The levels in force.
struct Levels {
    /// What was asked for at the start, by logger, in Kafka's words.
    started: BTreeMap<String, String>,
    /// What was set since.
    set: Mutex<BTreeMap<String, String>>,
    reload: Box<dyn Fn(EnvFilter) + Send + Sync>,
    filter: fn(&str) -> Result<EnvFilter, Failure>,
}

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Levels")
    }
}

/// Begins to log as `asked`; `filter` makes a filter of levels and `module=level`.
///
/// # Errors
/// Those of `filter`.
pub fn start(
    asked: &str,
    json: bool,
    filter: fn(&str) -> Result<EnvFilter, Failure>,
) -> Result<Arc<dyn Loggers>, Failure> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(asked)?).with_writer(io::stderr);
    let reload: Box<dyn Fn(EnvFilter) + Send + Sync> = if json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Box::new(move |filter| drop(handle.reload(filter)))
    } else {
        let builder = builder
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Box::new(move |filter| drop(handle.reload(filter)))
    };
    Ok(Arc::new(Levels { started: started(asked), set: Mutex::default(), reload, filter }))
}

/// The levels that were asked for, by logger.
fn started(asked: &str) -> BTreeMap<String, String> {
    let mut levels = BTreeMap::from([(ROOT.to_owned(), "INFO".to_owned())]);
    for part in asked.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (logger, level) = part.split_once('=').unwrap_or((ROOT, part));
        levels.insert(logger.to_owned(), level.to_ascii_uppercase());
    }
    levels
}

/// What a filter is made of that lets these levels through.
fn directives(levels: &BTreeMap<String, String>) -> String {
    let one = |(logger, level): (&String, &String)| {
        let level = level.to_ascii_lowercase();
        let level = if level == "fatal" { "error" } else { &level };
        if logger == ROOT { level.to_owned() } else { format!("{logger}={level}") }
    };
    levels.iter().map(one).collect::<Vec<_>>().join(",")
}

impl Levels {
    fn own(&self) -> BTreeMap<String, String> {
        let mut own = self.started.clone();
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        own.extend(set.iter().map(|(logger, level)| (logger.clone(), level.clone())));
        own
    }
}

impl Loggers for Levels {
    fn levels(&self) -> BTreeMap<String, String> {
        let mut levels = self.own();
        let root = levels.get(ROOT).cloned().unwrap_or_default();
        for part in PARTS {
            levels.entry(part.to_owned()).or_insert_with(|| root.clone());
        }
        levels
    }

    fn set(&self, levels: &BTreeMap<String, Option<String>>) {
        {
            let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
            for (logger, level) in levels {
                match level {
                    Some(level) => set.insert(logger.clone(), level.clone()),
                    None => set.remove(logger),
                };
            }
        }
        if let Ok(filter) = (self.filter)(&directives(&self.own())) {
            (self.reload)(filter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_own_level_or_roots_and_what_is_taken_back_is_roots_again() {
        let told = Arc::new(Mutex::new(0));
        let count = Arc::clone(&told);
        let levels = Levels {
            started: started("warn,storage=debug"),
            set: Mutex::default(),
            reload: Box::new(move |_| *count.lock().expect("whole") += 1),
            filter: |text| Ok(EnvFilter::new(text)),
        };
        let level = |name: &str| levels.levels().get(name).cloned().expect("known");
        assert_eq!((level(ROOT), level("storage"), level("wire")).0, "WARN");
        assert_eq!((level("storage"), level("wire")), ("DEBUG".to_owned(), "WARN".to_owned()));

        let set = |name: &str, value: Option<&str>| {
            levels.set(&BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]));
        };
        set("wire", Some("FATAL"));
        assert_eq!(level("wire"), "FATAL");
        assert_eq!(directives(&levels.own()), "warn,storage=debug,wire=error");
        set("wire", None);
        assert_eq!(level("wire"), "WARN");
        assert_eq!(*told.lock().expect("whole"), 2);
    }
}
