//! SIGHUP: the properties file is read again, and what may change while the broker runs is put in
//! force.
//!
//! Invariants: the log says of every key that changed whether it is in force, is overridden by what
//! was set while the broker ran, needs a restart or is bad; what is bad is left as it was, and keeps
//! no other change out; a file that cannot be read changes nothing. What needs a restart is told again
//! at the next SIGHUP, until it was restarted or taken back.

use std::collections::{BTreeMap, BTreeSet};

use base::config::{Key, Update, broker_key};
use broker::api::TopicError;
use tracing::{info, warn};

use crate::cli::Serve;
use crate::config::{self, Config, File};
use crate::daemon::{Daemon, Served};

/// What is logged: of all keys, the environment wins over this one.
const LEVEL: &str = "gregor.log.level";
/// Keys that take effect while the broker runs, though no client can change them.
const OURS: &[&str] = &[LEVEL, "gregor.metrics.max.groups", "gregor.metrics.max.partitions"];
/// Keys that clients can change while the broker runs, which is kept and has no effect: it listens
/// where it did when it started, and at a start where the file says.
const AT_START: &[&str] = &["listeners"];

/// Whether a change of a broker key in the file is in force after SIGHUP.
pub fn is_live(key: &Key) -> bool {
    let changes = key.update != Update::ReadOnly && !is_only_kept(key);
    !key.inert && (changes || OURS.contains(&key.name))
}

/// Whether what clients set for a broker key has no effect, though they may set it.
pub fn is_only_kept(key: &Key) -> bool {
    AT_START.contains(&key.name)
}

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
    pub async fn reload(&mut self, daemon: &Daemon) {
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
        let mut changes = judge(&self.in_force, &wished);
        if changes.is_empty() {
            info!("nothing has changed in it");
        }
        let is_level = |change: &&mut Change| change.key == LEVEL && change.is_taken();
        if let Some(level) = changes.iter_mut().find(is_level)
            && daemon.levels().is_fixed()
        {
            let why = format!("{} in the environment wins", crate::logging::VARIABLE);
            level.verdict = Verdict::Bad(why);
        }
        self.carry_out(&changes, daemon).await;
    }

    /// Puts in force together what may change, so that keys that belong together get in; or else, if
    /// two of them clash, one after the other.
    async fn carry_out(&mut self, changes: &[Change], daemon: &Daemon) {
        let taken = || changes.iter().filter(|change| change.is_taken());
        let mut all = self.in_force.clone();
        taken().for_each(|change| change.make(&mut all));
        let together = match taken().next() {
            Some(_) => self.take(all, daemon).await,
            None => Ok(()),
        };
        for change in changes {
            let outcome = if together.is_ok() || !change.is_taken() {
                Ok(())
            } else {
                let mut keys = self.in_force.clone();
                change.make(&mut keys);
                self.take(keys, daemon).await
            };
            match outcome {
                Ok(()) => change.tell(daemon),
                Err(why) => warn!("{}: left as it was: {why}", change.shown()),
            }
        }
    }

    /// Goes by these keys from now on.
    ///
    /// # Errors
    /// Why not; nothing is changed then.
    async fn take(
        &mut self,
        keys: BTreeMap<String, String>,
        daemon: &Daemon,
    ) -> Result<(), String> {
        let config = config::from_keys(keys.clone()).map_err(|failure| failure.to_string())?;
        let Some(Served { broker, .. }) = daemon.served() else {
            return Err("the broker does not serve yet".to_owned());
        };
        match broker.retell(config.broker).await {
            Ok(()) => {},
            Err(error @ TopicError::NotDurable(_)) => warn!("{error}"),
            Err(error) => return Err(error.to_string()),
        }
        // One that was set over HTTP stays until the file says another.
        if keys.get(LEVEL) != self.in_force.get(LEVEL) {
            daemon.levels().set(&config.log_level)?;
        }
        daemon.set_limits(config.limits);
        self.in_force = keys;
        Ok(())
    }
}

impl Change {
    /// Whether it becomes a part of what is in force, if it clashes with nothing.
    fn is_taken(&self) -> bool {
        match self.verdict {
            Verdict::InForce | Verdict::NoEffect | Verdict::Unknown => true,
            Verdict::NeedsRestart | Verdict::Bad(_) => false,
        }
    }

    fn make(&self, keys: &mut BTreeMap<String, String>) {
        match &self.after {
            Some(value) => keys.insert(self.key.clone(), value.clone()),
            None => keys.remove(&self.key),
        };
    }

    fn shown(&self) -> String {
        let [before, after] =
            [&self.before, &self.after].map(|value| value.as_deref().unwrap_or("the default"));
        format!("{} was {before} and is {after}", self.key)
    }

    /// Says what became of it.
    fn tell(&self, daemon: &Daemon) {
        let what = self.shown();
        match &self.verdict {
            Verdict::InForce => match daemon.served().and_then(|served| self.overridden(served)) {
                Some(by) => warn!("{what}: is overridden by the dynamic value of {by}"),
                None => info!("{what}: in force"),
            },
            Verdict::NeedsRestart => warn!("{what}: needs a restart"),
            Verdict::NoEffect => info!("{what}: without effect in this version"),
            Verdict::Bad(why) => {
                let before = self.before.as_deref().unwrap_or("the default");
                warn!("{} is left at {before}: {why}", self.key);
            },
            Verdict::Unknown => warn!("{}; it is ignored", config::unknown_key(&self.key)),
        }
    }

    /// What was set while the broker ran and wins over the file.
    fn overridden(&self, served: &Served) -> Option<String> {
        let (broker, key) = (&served.broker, self.key.as_str());
        let (view, file, node) = (broker.cluster(), broker.file(), broker.config().node_id);
        let layers = view.layers(node, &file);
        let of_one = layers.broker.get(key).map(|value| format!("broker {node}, {value}"));
        of_one.or_else(|| Some(format!("all brokers, {}", layers.cluster.get(key)?)))
    }
}

/// What comes of each key that differs. They are judged together, for some belong together; or else
/// each beside what is in force, so that one that is bad keeps no other out.
pub fn judge(
    in_force: &BTreeMap<String, String>,
    wished: &BTreeMap<String, String>,
) -> Vec<Change> {
    let keys: BTreeSet<&String> = in_force.keys().chain(wished.keys()).collect();
    let differing = keys.into_iter().filter(|key| in_force.get(*key) != wished.get(*key));
    let judged = differing.map(|key| {
        let (before, after) = (in_force.get(key).cloned(), wished.get(key).cloned());
        let verdict = verdict(key, after.as_deref());
        Change { key: key.clone(), before, after, verdict }
    });
    let mut changes: Vec<Change> = judged.collect();
    let mut all = in_force.clone();
    changes.iter().filter(|change| change.is_taken()).for_each(|change| change.make(&mut all));
    if config::from_keys(all).is_ok() {
        return changes;
    }
    for change in changes.iter_mut().filter(|change| change.is_taken()) {
        let mut keys = in_force.clone();
        change.make(&mut keys);
        if let Err(failure) = config::from_keys(keys) {
            change.verdict = Verdict::Bad(failure.to_string());
        }
    }
    changes
}

/// What comes of a key by itself.
fn verdict(key: &str, after: Option<&str>) -> Verdict {
    let Some(known) = broker_key(key) else { return Verdict::Unknown };
    match after.map(|after| known.check(after)) {
        Some(Err(error)) => Verdict::Bad(error.to_string()),
        _ if known.inert => Verdict::NoEffect,
        _ if is_live(known) => Verdict::InForce,
        _ => Verdict::NeedsRestart,
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
            ("log.retention.ms", "1"),
            ("no.such.key", "1"),
        ]);

        let judged = judge(&before, &after);

        let verdicts: Vec<_> =
            judged.iter().map(|change| (change.key.as_str(), &change.verdict)).collect();
        let [level, groups, threads, hours, millis, unknown, partitions] = &verdicts[..] else {
            panic!("{verdicts:?}")
        };
        assert_eq!(*level, ("gregor.log.level", &Verdict::InForce), "back to the default");
        assert_eq!(*groups, ("gregor.metrics.max.groups", &Verdict::InForce));
        assert_eq!(*threads, ("log.cleaner.threads", &Verdict::NoEffect));
        assert_eq!(*hours, ("log.retention.hours", &Verdict::NeedsRestart));
        assert_eq!(*millis, ("log.retention.ms", &Verdict::InForce));
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
    fn keys_that_belong_together_get_in_together_and_one_that_clashes_alone_stays_out() {
        let overrides = ("max.connections.per.ip.overrides", "127.0.0.1:9");
        let none = ("max.connections.per.ip", "0");
        let verdicts = |after: &[(&str, &str)]| {
            let judged = judge(&BTreeMap::new(), &keys(after));
            judged.into_iter().map(|change| change.verdict).collect::<Vec<_>>()
        };

        assert_eq!(verdicts(&[overrides, none]), [Verdict::InForce, Verdict::InForce]);
        let judged = verdicts(&[none, ("message.max.bytes", "9")]);
        assert!(matches!(&judged[0], Verdict::Bad(why) if why.contains("only if")), "{judged:?}");
        assert_eq!(judged[1], Verdict::InForce);
        let judged = verdicts(&[("log.cleaner.threads", "1000")]);
        assert!(matches!(&judged[0], Verdict::Bad(why) if why.contains("1MB")), "{judged:?}");
    }

    #[test]
    fn what_clients_can_change_is_live_if_it_has_an_effect_and_so_are_three_keys_of_ours() {
        let live = |name: &str| is_live(broker_key(name).expect("a key"));

        for key in OURS.iter().chain(&["message.max.bytes", "max.connections", "compression.type"])
        {
            assert!(live(key), "{key}");
        }
        for key in AT_START.iter().chain(&["num.partitions", "log.dirs", "log.cleaner.threads"]) {
            assert!(!live(key), "{key}");
        }
    }
}
