//! SIGHUP: the properties file is read again, and what may change while the broker runs is put in
//! force.
//!
//! Invariants: the log says of every key that changed whether it is in force, needs a restart or is
//! bad; what is bad is left as it was; a file that cannot be read changes nothing. What needs a
//! restart is told again at the next SIGHUP, until it was restarted or taken back.

use std::collections::{BTreeMap, BTreeSet};

use base::config::broker_key;
use tracing::{info, warn};

use crate::cli::Serve;
use crate::config::{self, Config, File};
use crate::daemon::Daemon;

/// Keys that take effect while the broker runs.
const LIVE: &[&str] =
    &["gregor.log.level", "gregor.metrics.max.groups", "gregor.metrics.max.partitions"];

/// The configuration in force.
#[derive(Debug)]
pub struct Reloader {
    arguments: Serve,
    in_force: BTreeMap<String, String>,
}

/// What comes of a change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is put in force.
    InForce,
    /// It will be, after a restart.
    NeedsRestart,
    /// It has no effect in this version.
    NoEffect,
    /// The value is bad, and that is why.
    Bad(String),
    /// Nobody knows the key.
    Unknown,
}

/// A key whose value is another than the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: String,
    /// The value in force; `None` is the default.
    pub before: Option<String>,
    /// The value wished; `None` is the default.
    pub after: Option<String>,
    /// What comes of it.
    pub verdict: Verdict,
}

impl Reloader {
    /// For a daemon that was started with these arguments and this configuration.
    pub fn new(arguments: Serve, config: &Config) -> Self {
        Self { arguments, in_force: config.given.clone() }
    }

    /// Whether there is a file to read again.
    pub fn has_file(&self) -> bool {
        self.arguments.config.is_some()
    }

    /// Reads the file again and puts in force what may change.
    pub fn reload(&mut self, daemon: &Daemon) {
        let Some(path) = &self.arguments.config else { return };
        let file = match File::read(path) {
            Ok(file) => file,
            Err(failure) => {
                warn!("SIGHUP: {failure}; everything is left as it was");
                return;
            },
        };
        info!("SIGHUP: reading {} again", file.shown);
        let wished = config::with_arguments(file.keys(), &self.arguments);
        let changes = judge(&self.in_force, &wished);
        if changes.is_empty() {
            info!("nothing has changed in it");
        }
        for change in &changes {
            self.carry_out(change, daemon);
        }
    }

    fn carry_out(&mut self, change: &Change, daemon: &Daemon) {
        let shown = |value: &Option<String>| value.clone().unwrap_or("the default".to_owned());
        let Change { key, before, after, verdict } = change;
        let what = format!("{key} was {} and is {}", shown(before), shown(after));
        match verdict {
            Verdict::InForce => {
                let mut keys = self.in_force.clone();
                put(&mut keys, key, after.as_deref());
                match apply(key, &keys, daemon) {
                    Ok(()) => {
                        self.in_force = keys;
                        info!("{what}: in force");
                    },
                    Err(why) => warn!("{what}: left as it was: {why}"),
                }
            },
            Verdict::NeedsRestart => warn!("{what}: needs a restart"),
            Verdict::NoEffect => {
                put(&mut self.in_force, key, after.as_deref());
                info!("{what}: without effect in this version");
            },
            Verdict::Bad(why) => warn!("{key} is left at {}: {why}", shown(before)),
            Verdict::Unknown => {
                put(&mut self.in_force, key, after.as_deref());
                warn!("{}; it is ignored", config::unknown_key(key));
            },
        }
    }
}

fn put(keys: &mut BTreeMap<String, String>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => keys.insert(key.to_owned(), value.to_owned()),
        None => keys.remove(key),
    };
}

/// What comes of each key that differs.
pub fn judge(
    in_force: &BTreeMap<String, String>,
    wished: &BTreeMap<String, String>,
) -> Vec<Change> {
    let keys: BTreeSet<&String> = in_force.keys().chain(wished.keys()).collect();
    let differing = keys.into_iter().filter(|key| in_force.get(*key) != wished.get(*key));
    let judged = differing.map(|key| {
        let (before, after) = (in_force.get(key).cloned(), wished.get(key).cloned());
        let verdict = verdict(in_force, key, after.as_deref());
        Change { key: key.clone(), before, after, verdict }
    });
    judged.collect()
}

fn verdict(in_force: &BTreeMap<String, String>, key: &str, after: Option<&str>) -> Verdict {
    let Some(known) = broker_key(key) else { return Verdict::Unknown };
    if let Some(after) = after
        && let Err(error) = known.check(after)
    {
        return Verdict::Bad(error.to_string());
    }
    if known.inert {
        return Verdict::NoEffect;
    }
    if !LIVE.contains(&key) {
        return Verdict::NeedsRestart;
    }
    // Beside what is in force: another bad line must not keep this one out.
    let mut keys = in_force.clone();
    put(&mut keys, key, after);
    match config::from_keys(keys) {
        Ok(_) => Verdict::InForce,
        Err(failure) => Verdict::Bad(failure.to_string()),
    }
}

/// Puts one of [`LIVE`] in force, as these keys have it.
fn apply(key: &str, keys: &BTreeMap<String, String>, daemon: &Daemon) -> Result<(), String> {
    let config = config::from_keys(keys.clone()).map_err(|failure| failure.to_string())?;
    match key {
        "gregor.log.level" if daemon.levels().is_fixed() => {
            Err(format!("{} in the environment wins", crate::logging::VARIABLE))
        },
        "gregor.log.level" => daemon.levels().set(&config.log_level),
        _ => {
            daemon.set_limits(config.limits);
            Ok(())
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_changed_key_is_judged_by_itself() {
        let before = keys(&[
            ("broker.rack", "a"),
            ("gregor.log.level", "debug"),
            ("num.partitions", "2"),
            ("log.cleaner.threads", "1"),
        ]);
        let after = keys(&[
            ("broker.rack", "a"),
            ("gregor.metrics.max.groups", "7"),
            ("num.partitions", "many"),
            ("log.cleaner.threads", "2"),
            ("log.retention.hours", "1"),
            ("no.such.key", "1"),
        ]);

        let judged = judge(&before, &after);

        let verdicts: Vec<_> =
            judged.iter().map(|change| (change.key.as_str(), &change.verdict)).collect();
        let [level, groups, threads, retention, unknown, partitions] = &verdicts[..] else {
            panic!("{verdicts:?}")
        };
        assert_eq!(*level, ("gregor.log.level", &Verdict::InForce), "back to the default");
        assert_eq!(*groups, ("gregor.metrics.max.groups", &Verdict::InForce));
        assert_eq!(*threads, ("log.cleaner.threads", &Verdict::NoEffect));
        assert_eq!(*retention, ("log.retention.hours", &Verdict::NeedsRestart));
        assert_eq!(*unknown, ("no.such.key", &Verdict::Unknown));
        assert!(matches!(partitions, ("num.partitions", Verdict::Bad(_))), "{partitions:?}");
    }

    #[test]
    fn a_level_that_is_none_is_bad_and_another_bad_line_does_not_keep_a_good_one_out() {
        let after = keys(&[
            ("gregor.log.level", "loud"),
            ("gregor.metrics.max.partitions", "5"),
            ("queued.max.request.bytes", "7"),
        ]);

        let judged = judge(&BTreeMap::new(), &after);

        assert!(matches!(&judged[0].verdict, Verdict::Bad(why) if why.contains("loud")));
        assert_eq!(judged[1].verdict, Verdict::InForce);
        assert_eq!(judged[2].verdict, Verdict::NeedsRestart, "judged as a whole by the restart");
    }

    #[test]
    fn live_keys_are_keys() {
        for key in LIVE {
            assert!(broker_key(key).is_some_and(|key| !key.inert), "{key}");
        }
    }
}
