//! The log: what of it is written, and in which form.
//!
//! Invariants: the ready line is written whatever else is wanted; what is wanted may change while
//! the broker runs; a wish that cannot be read changes nothing. `GREGOR_LOG` wins over the key
//! `gregor.log.level`, for whoever sets the environment of one start means that start.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use env::{Lock, Rank};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::reload;

use crate::cli::LogFormat;
use crate::failure::Failure;

/// What is logged, in the environment.
pub const VARIABLE: &str = "GREGOR_LOG";
/// The ready line's target, which every filter lets through.
pub const READY: &str = "gregor::ready";
/// What is logged if nobody says.
const DEFAULT: &str = "info";
/// What must be written for a filter.
const FORM: &str = "write error, warn, info, debug, or module=level, separated by commas";
/// Taken alone.
const LEVEL_RANK: Rank = Rank(1);

/// What `text` asks for.
///
/// # Errors
/// What should be written instead, for anything but levels and `module=level`, separated by commas.
pub fn filter(text: &str) -> Result<EnvFilter, &'static str> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |text: &str| levels.iter().any(|level| level.eq_ignore_ascii_case(text));
    let is_module = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        !text.is_empty() && text.chars().all(known)
    };
    let mut filter = EnvFilter::default();
    let asked = if text.trim().is_empty() { DEFAULT } else { text };
    for part in asked.split(',').map(str::trim) {
        let sound = match part.split_once('=') {
            None => is_level(part),
            Some((module, level)) => is_module(module) && is_level(level),
        };
        let directive = part.parse::<Directive>().ok().filter(|_| sound).ok_or(FORM)?;
        filter = filter.add_directive(directive);
    }
    // Whoever waits for the ready line waits whatever else is wanted.
    let ready = format!("{READY}=info").parse::<Directive>().map_err(|_| FORM)?;
    Ok(filter.add_directive(ready))
}

type Change = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// What of the log is written now. Clones share it.
#[derive(Clone)]
pub struct Levels {
    change: Arc<Change>,
    now: Arc<Lock<String>>,
    /// Whether the environment said it.
    is_fixed: bool,
}

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Levels({})", self.now())
    }
}

impl Levels {
    /// Begins to log to standard error.
    ///
    /// # Errors
    /// [`Failure::Usage`] if `GREGOR_LOG` cannot be read.
    pub fn start(format: LogFormat) -> Result<Self, Failure> {
        let asked = std::env::var_os(VARIABLE).unwrap_or_default();
        let asked = asked.to_string_lossy().trim().to_owned();
        let first =
            filter(&asked).map_err(|form| Failure::Usage(format!("{VARIABLE}={asked}: {form}")))?;
        let builder = tracing_subscriber::fmt().with_env_filter(first).with_writer(io::stderr);
        let change: Change = match format {
            LogFormat::Json => {
                let builder = builder.json().with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| handle.reload(filter))
            },
            LogFormat::Text => {
                let builder = builder.with_target(false).with_ansi(io::stderr().is_terminal());
                let builder = builder.with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| handle.reload(filter))
            },
        };
        let (is_fixed, now) = match asked.as_str() {
            "" => (false, DEFAULT.to_owned()),
            _ => (true, asked),
        };
        Ok(Self { change: Arc::new(change), now: Arc::new(Lock::new(LEVEL_RANK, now)), is_fixed })
    }

    /// What is written now.
    pub fn now(&self) -> String {
        self.now.lock().clone()
    }

    /// Whether the environment said what is written, so that the configuration does not.
    pub fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// From now on this is written.
    ///
    /// # Errors
    /// What should be asked instead; nothing has changed then.
    pub fn set(&self, text: &str) -> Result<(), String> {
        let text = text.trim();
        let text = if text.is_empty() { DEFAULT } else { text };
        let filter = filter(text).map_err(str::to_owned)?;
        (self.change)(filter).map_err(|error| error.to_string())?;
        text.clone_into(&mut self.now.lock());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_is_levels_and_modules_and_anything_else_is_refused() {
        for good in ["", "info", "debug", "warn,storage=debug", "broker::start=error, info"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["bogus", "a=b=c", "=info", "storage=", "info,,warn", "[span]=info"] {
            assert_eq!(filter(bad).err(), Some(FORM), "{bad}");
        }
    }
}
