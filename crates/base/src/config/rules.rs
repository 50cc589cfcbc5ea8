//! What values must satisfy beyond their own type and bounds, in Kafka's words.
//!
//! Owns: the rules between keys, and which keys may change while a broker runs. Invariant: nothing here
//! depends on more than the values it is given.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Configs, Layers, Update, broker_key, client_metrics_key, group_key, topic_key};

/// Keys of TLS that may change for a listener, and not for the broker.
const OF_LISTENERS: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];
/// Numbers of threads that Kafka changes while it runs, but for those of its log cleaner.
const THREADS: [&str; 5] = [
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];
/// What a subscription to client metrics may match by.
const MATCHED: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// What is wrong with a topic that has these values of its own, each sound by itself.
pub fn topic_fault(own: &Configs, layers: &Layers<'_>) -> Option<String> {
    let number = |name: &str| {
        let value = layers.effective(topic_key(name)?, own)?;
        value.trim().parse::<i64>().ok()
    };
    let (min, max) = (number("min.compaction.lag.ms")?, number("max.compaction.lag.ms")?);
    if min > max {
        return Some(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    let is_remote =
        own.get("remote.storage.enable").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    is_remote.then(|| {
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
            .to_owned()
    })
}

/// What is wrong with these values of broker keys that were set while brokers run, for one broker or
/// for all of them, which make `layers` of what was set `before`.
pub fn dynamic_fault(
    values: &Configs,
    for_one: bool,
    layers: &Layers<'_>,
    before: &Layers<'_>,
) -> Option<String> {
    let keys = || values.keys().filter_map(|name| broker_key(name));
    let named = |names: Vec<&str>| (!names.is_empty()).then(|| format!("[{}]", names.join(", ")));
    let fixed = keys().filter(|key| key.update == Update::ReadOnly).map(|key| key.name);
    if let Some(names) = named(fixed.collect()) {
        return Some(format!("Cannot update these configs dynamically: {names}"));
    }
    let of_listeners = keys().filter(|key| OF_LISTENERS.contains(&key.name)).map(|key| key.name);
    if let Some(names) = named(of_listeners.collect()) {
        return Some(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: {names}"
        ));
    }
    for (name, value) in values {
        if let Some(Err(error)) = broker_key(name).map(|key| key.check(value)) {
            return Some(error.to_string());
        }
    }
    let of_one = keys().filter(|key| key.update == Update::PerBroker).map(|key| key.name);
    if !for_one && let Some(names) = named(of_one.collect()) {
        return Some(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: {names}"
        ));
    }
    layers_fault(layers).or_else(|| threads_fault(layers, before)).or_else(|| locks_out(layers))
}

/// Kafka's bound on how far a number of threads changes at once. Most of these keys have no effect here;
/// a tool that changes them is told what Kafka tells it.
fn threads_fault(layers: &Layers<'_>, before: &Layers<'_>) -> Option<String> {
    let number = |layers: &Layers<'_>, name| layers.value(name)?.trim().parse::<i64>().ok();
    let change = |name| Some((number(before, name)?, number(layers, name)?));
    for name in THREADS {
        let Some((old, new)) = change(name).filter(|(old, new)| old != new) else { continue };
        let refused = |why: String| {
            Some(format!("Dynamic thread count update validation failed for {name}={new}, {why}"))
        };
        if new < old / 2 {
            return refused(format!("value should be at least half the current value {old}"));
        }
        if new > old.saturating_mul(2) {
            return refused(format!(
                "value should not be greater than double the current value {old}"
            ));
        }
    }
    let (old, new) = change("log.cleaner.threads").filter(|(old, new)| old != new)?;
    if new < 1 {
        return Some("Log cleaner threads should be at least 1".to_owned());
    }
    if new < old / 2 {
        return Some(format!(
            "Log cleaner threads cannot be reduced to less than half the current value {old}"
        ));
    }
    // A file may say 0, from which Kafka's rule would let nobody get away.
    (new > old.max(1).saturating_mul(2)).then(|| {
        format!(
            "Log cleaner threads cannot be increased to more than double the current value {old}"
        )
    })
}

/// What was set while brokers run and leaves nobody a connection to take it back: it stays over a restart,
/// and wins over the file. Ours; Kafka takes it.
fn locks_out(layers: &Layers<'_>) -> Option<String> {
    const ALL: &str = "max.connections";
    const OF_ADDRESS: &str = "max.connections.per.ip";
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let dynamic = |name| layers.broker.contains_key(name) || layers.cluster.contains_key(name);
    let is_none = |name| layers.value(name).is_some_and(|value| value.trim().parse() == Ok(0_i64));
    let why = "Nobody could connect to take it back. To serve nobody, stop the broker, or set it in its file.";
    if dynamic(ALL) && is_none(ALL) {
        return Some(format!("{ALL} must be at least 1 if it is set dynamically. {why}"));
    }
    let overrides = connections_per_ip(layers.value(OVERRIDES).unwrap_or_default()).ok()?;
    let serves_one = overrides.values().any(|limit| *limit > 0);
    ((dynamic(OF_ADDRESS) || dynamic(OVERRIDES)) && is_none(OF_ADDRESS) && !serves_one)
        .then(|| format!("{OF_ADDRESS} can be zero only if {OVERRIDES} lets an address in. {why}"))
}

/// What is wrong between the values in force of a broker's keys, each sound by itself, wherever they
/// are set.
pub fn layers_fault(layers: &Layers<'_>) -> Option<String> {
    file_fault(|name| layers.value(name).map(str::to_owned)).or_else(|| local_fault(layers))
}

/// What is wrong between the values of a broker's keys, each sound by itself.
pub fn file_fault(value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let number = |name: &str| value(name).and_then(|value| value.trim().parse::<i64>().ok());
    let required = |what: &str| Some(format!("requirement failed: {what}"));
    if number("log.roll.ms").is_some_and(|millis| millis < 1) {
        return required("log.roll.ms must be greater than or equal to 1");
    }
    for unit in ["ms", "minutes", "hours"] {
        if number(&format!("log.retention.{unit}")) == Some(0) {
            return required(&format!(
                "log.retention.{unit} must be unlimited (-1) or, greater than or equal to 1"
            ));
        }
    }
    let (map, threads) = (number("log.cleaner.dedupe.buffer.size"), number("log.cleaner.threads"));
    // Kafka does not start with 0 threads; here one log is compacted at a time whatever is set.
    if let (Some(map), Some(threads)) = (map, threads)
        && map / threads.max(1) <= 1024 * 1024
    {
        return required("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
    }
    let overrides = value("max.connections.per.ip.overrides").unwrap_or_default();
    if number("max.connections.per.ip") == Some(0) && overrides.trim().is_empty() {
        return required(
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        );
    }
    connections_per_ip(&overrides).err()
}

fn local_fault(layers: &Layers<'_>) -> Option<String> {
    let retention = layers.inherited(topic_key("retention.ms")?);
    let retention = retention.as_deref().unwrap_or("604800000").parse::<i64>().ok()?;
    let local = layers.value("log.local.retention.ms")?.trim().parse::<i64>().ok()?;
    let too_long = local != -2 && retention != -1 && (local == -1 || local > retention);
    too_long.then(|| {
        format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: Invalid value {local} for configuration log.local.retention.ms: Value must not be more than log.retention.ms property value: {retention} for configuration Invalid dynamic configuration"
        )
    })
}

/// `max.connections.per.ip.overrides` as addresses and limits. A name that is no address is passed
/// over: there is nobody to ask for it.
///
/// # Errors
/// What Kafka says of a list that does not parse.
pub fn connections_per_ip(list: &str) -> Result<BTreeMap<IpAddr, usize>, String> {
    let mut limits = BTreeMap::new();
    for one in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let Some((address, count)) = one.rsplit_once(':') else {
            return Err(format!(
                "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length {}",
                one.len()
            ));
        };
        let count =
            count.trim().parse::<i32>().map_err(|_| format!("For input string: \"{count}\""))?;
        let address = match address.trim() {
            "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
            address => address.trim_matches(['[', ']']).parse::<IpAddr>(),
        };
        if let Ok(address) = address {
            limits.insert(address, usize::try_from(count).unwrap_or(0));
        }
    }
    Ok(limits)
}

/// What is wrong with these values of a group, each key of which is known.
pub fn group_fault(values: &Configs, layers: &Layers<'_>) -> Option<String> {
    for (name, value) in values {
        match group_key(name).map(|key| key.check(value)) {
            None => return Some(format!("Unknown group config name: {name}")),
            Some(Err(error)) => return Some(error.to_string()),
            Some(Ok(())) => {},
        }
    }
    for (name, value) in values {
        let Some((kind, what)) = name.split_once('.') else { continue };
        let Ok(number) = value.trim().parse::<i64>() else { continue };
        let limit = |end: &str| {
            layers.value(&format!("group.{kind}.{end}.{what}")).and_then(|v| v.parse::<i64>().ok())
        };
        match (limit("min"), limit("max")) {
            (Some(min), Some(max)) if !(min..=max).contains(&number) => {
                return Some(format!("{name} must be in the range {min} to {max} inclusive."));
            },
            _ => {},
        }
        if &**name == "streams.num.standby.replicas" {
            let max =
                layers.value("group.streams.max.standby.replicas").and_then(|v| v.parse().ok());
            if let Some(max) = max.filter(|max: &i64| number > *max) {
                return Some(format!("{name} must be less than or equal to {max}"));
            }
        }
    }
    None
}

/// What is wrong with a subscription to client metrics, and whether it is the value of a known key that
/// has the wrong type or form.
pub fn metrics_fault(values: &Configs) -> Option<(bool, String)> {
    for name in values.keys() {
        if client_metrics_key(name).is_none() {
            return Some((false, format!("Unknown client metrics configuration: {name}")));
        }
    }
    if let Some(value) = values.get("interval.ms") {
        if let Some(Err(error)) = client_metrics_key("interval.ms").map(|key| key.check(value)) {
            return Some((true, error.to_string()));
        }
        let millis = value.trim().parse::<i64>().unwrap_or(0);
        if !(100..=3_600_000).contains(&millis) {
            return Some((
                false,
                format!(
                    "Invalid value {millis} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                ),
            ));
        }
    }
    let patterns = values.get("match").map(|patterns| patterns.trim()).unwrap_or_default();
    for pattern in patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
        let sound = pattern.split_once('=').is_some_and(|(name, _)| MATCHED.contains(&name.trim()));
        if !sound {
            return Some((true, format!("Illegal client matching pattern: {pattern}")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
    }

    fn dynamic(for_one: bool, name: &str, value: &str) -> String {
        let (values, nothing, file) = (configs(&[(name, value)]), configs(&[]), BTreeMap::new());
        let layers = if for_one {
            Layers { broker: &values, cluster: &nothing, file: &file }
        } else {
            Layers { broker: &nothing, cluster: &values, file: &file }
        };
        let before = Layers { broker: &nothing, cluster: &nothing, file: &file };
        dynamic_fault(&values, for_one, &layers, &before).unwrap_or_default()
    }

    #[test]
    fn threads_change_by_half_or_double_at_once_in_kafkas_words() {
        let of = |key: &str, value: &str| dynamic(false, key, value);
        let prefix = "Dynamic thread count update validation failed for";
        for (key, now) in [
            ("background.threads", 10),
            ("num.io.threads", 8),
            ("num.network.threads", 3),
            ("num.recovery.threads.per.data.dir", 2),
            ("num.replica.fetchers", 1),
        ] {
            assert_eq!(of(key, &(now * 2).to_string()), "");
            assert_eq!(of(key, &(now / 2).max(1).to_string()), "");
            let many = now * 2 + 1;
            assert_eq!(
                of(key, &many.to_string()),
                format!(
                    "{prefix} {key}={many}, value should not be greater than double the current value {now}"
                )
            );
            assert!(of(key, "0").ends_with("Value must be at least 1"), "{}", of(key, "0"));
        }
        assert_eq!(
            of("num.io.threads", "3"),
            format!("{prefix} num.io.threads=3, value should be at least half the current value 8")
        );
        assert_eq!(of("log.cleaner.threads", "2"), "");
        assert_eq!(of("log.cleaner.threads", "0"), "Log cleaner threads should be at least 1");
        assert_eq!(
            of("log.cleaner.threads", "3"),
            "Log cleaner threads cannot be increased to more than double the current value 1"
        );
    }

    #[test]
    fn threads_are_judged_by_what_is_in_force_and_not_by_what_is_hidden() {
        let (broker, nothing) = (configs(&[("num.io.threads", "100")]), configs(&[]));
        let file = BTreeMap::from([("num.io.threads".to_owned(), "60".to_owned())]);
        let hidden = configs(&[("num.io.threads", "1")]);
        let before = Layers { broker: &broker, cluster: &nothing, file: &file };
        let after = Layers { cluster: &hidden, ..before };
        assert_eq!(dynamic_fault(&hidden, false, &after, &before), None);
        let uncovered = Layers { broker: &nothing, ..after };
        let said = dynamic_fault(&nothing, true, &uncovered, &after);
        assert!(said.is_some_and(|said| said.contains("at least half the current value 100")));
        let of_file = Layers { broker: &nothing, ..before };
        assert_eq!(dynamic_fault(&nothing, true, &of_file, &before), None);
    }

    #[test]
    fn nothing_that_is_set_while_brokers_run_locks_everybody_out() {
        let said = dynamic(false, "max.connections", "0");
        assert!(said.starts_with("max.connections must be at least 1 if it is set dynamically"));
        assert_eq!(dynamic(true, "max.connections", "1"), "");

        let (nothing, file) = (configs(&[]), BTreeMap::new());
        let before = Layers { broker: &nothing, cluster: &nothing, file: &file };
        for (overrides, is_refused) in
            [("10.0.0.1:0", true), ("nobody.example:5", true), ("10.0.0.1:5", false)]
        {
            let values = configs(&[
                ("max.connections.per.ip", "0"),
                ("max.connections.per.ip.overrides", overrides),
            ]);
            let layers = Layers { cluster: &values, ..before };
            let said = dynamic_fault(&values, false, &layers, &before);
            assert_eq!(said.is_some(), is_refused, "{overrides}: {said:?}");
        }
        let file = BTreeMap::from([("max.connections".to_owned(), "0".to_owned())]);
        let of_file = Layers { file: &file, ..before };
        assert_eq!(dynamic_fault(&nothing, false, &of_file, &of_file), None, "the file may");
    }

    #[test]
    fn the_cleaners_map_has_its_bound_whatever_the_number_of_threads() {
        for (map, threads, is_sound) in
            [("0", "0", false), ("-5", "0", false), ("2000000", "0", true), ("2000000", "2", false)]
        {
            let value = |name: &str| match name {
                "log.cleaner.dedupe.buffer.size" => Some(map.to_owned()),
                "log.cleaner.threads" => Some(threads.to_owned()),
                _ => None,
            };
            assert_eq!(file_fault(value).is_none(), is_sound, "{map} of {threads}");
        }
    }

    #[test]
    fn a_broker_key_changes_while_it_runs_or_is_refused_in_kafkas_words() {
        for (key, value, said) in [
            ("foo", "bar", ""),
            ("log.retention.ms", "-5", ""),
            ("log.cleanup.policy", "compact", ""),
            ("node.id", "2", "Cannot update these configs dynamically: [node.id]"),
            (
                "log.retention.hours",
                "5",
                "Cannot update these configs dynamically: [log.retention.hours]",
            ),
            (
                "log.retention.ms",
                "abc",
                "Invalid value abc for configuration log.retention.ms: Not a number of type LONG",
            ),
            (
                "log.retention.ms",
                "0",
                "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
            ),
            (
                "log.roll.ms",
                "0",
                "requirement failed: log.roll.ms must be greater than or equal to 1",
            ),
            (
                "log.cleaner.dedupe.buffer.size",
                "100",
                "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
            ),
            (
                "max.connections.per.ip",
                "0",
                "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
            ),
            ("max.connections.per.ip.overrides", "127.0.0.1:5", ""),
            (
                "max.connections.per.ip.overrides",
                "bogus",
                "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 5",
            ),
            ("max.connections.per.ip.overrides", "127.0.0.1:x", "For input string: \"x\""),
            (
                "ssl.keystore.location",
                "/x",
                "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]",
            ),
        ] {
            assert_eq!(dynamic(false, key, value), said, "{key}={value}");
            assert_eq!(dynamic(true, key, value), said, "{key}={value} of one broker");
        }
        assert_eq!(
            dynamic(false, "sasl.jaas.config", "x"),
            "Cannot update these configs at default cluster level, broker id must be specified: [sasl.jaas.config]"
        );
        assert_eq!(dynamic(true, "sasl.jaas.config", "x"), "");
    }

    #[test]
    fn a_topic_is_judged_with_what_it_inherits() {
        let (nothing, file) = (configs(&[]), BTreeMap::new());
        let cluster = configs(&[("log.cleaner.max.compaction.lag.ms", "20")]);
        let layers = Layers { broker: &nothing, cluster: &cluster, file: &file };

        assert_eq!(topic_fault(&nothing, &layers), None);
        let own = configs(&[("min.compaction.lag.ms", "50")]);
        assert_eq!(
            topic_fault(&own, &layers).as_deref(),
            Some(
                "conflict topic config setting min.compaction.lag.ms (50) > max.compaction.lag.ms (20)"
            )
        );
    }

    #[test]
    fn groups_and_subscriptions_are_judged_in_kafkas_words() {
        let (nothing, file) = (configs(&[]), BTreeMap::new());
        let layers = Layers { broker: &nothing, cluster: &nothing, file: &file };
        let group = |key: &str, value: &str| {
            group_fault(&configs(&[(key, value)]), &layers).unwrap_or_default()
        };
        assert_eq!(group("consumer.session.timeout.ms", "50000"), "");
        assert_eq!(
            group("consumer.session.timeout.ms", "1"),
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."
        );
        assert_eq!(group("foo", "1"), "Unknown group config name: foo");
        assert_eq!(
            group("streams.num.standby.replicas", "9"),
            "streams.num.standby.replicas must be less than or equal to 2"
        );
        let metrics = |key: &str, value: &str| metrics_fault(&configs(&[(key, value)]));
        assert_eq!(metrics("match", "client_id=a"), None);
        assert_eq!(
            metrics("match", "bogus"),
            Some((true, "Illegal client matching pattern: bogus".to_owned()))
        );
        assert_eq!(
            metrics("interval.ms", "1"),
            Some((false, "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)".to_owned()))
        );
    }
}
